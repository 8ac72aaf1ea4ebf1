"""Numba twin of the attention over packed sentences.

Without softmax (q kᵀ) v = q (kᵀ v), and spikes are rare: the E x E sum m = kᵀ v adds one row of v
for each spike of k, and q m adds one row of m for each spike of q. A zero costs one comparison. On
spikes the sums are of integers, so where scale is a power of two the two orders agree exactly;
elsewhere to rounding.

Letters: T spike steps, N packed tokens, D width, H heads, E = D // H.
"""

import numpy as np

from ..layers.kernel import kernel


@kernel()
def _outer_sum(left, right, t, first, last, lane, m):
    """m (E, E) = the sum over the sentence's words of left ⊗ right, in the head at column lane."""
    m[:] = 0
    for n in range(first, last):
        for e in range(len(m)):
            value = left[t, n, lane + e]
            if value != 0:
                for f in range(len(m)):
                    m[e, f] += value * right[t, n, lane + f]


@kernel()
def _add_rows(left, m, t, n, lane, y):
    """y[n] (E,) = left[n] m, a row of m for each non-zero of left."""
    for f in range(len(m)):
        y[t, n, lane + f] = 0
    for e in range(len(m)):
        value = left[t, n, lane + e]
        if value != 0:
            for f in range(len(m)):
                y[t, n, lane + f] += value * m[e, f]


@kernel()
def _forward(q, k, v, offsets, heads, scale, y):
    steps, _, width = q.shape
    head_width = width // heads
    m = np.empty((head_width, head_width), q.dtype)
    for b in range(len(offsets) - 1):
        for t in range(steps):
            for lane in range(0, width, head_width):
                _outer_sum(k, v, t, offsets[b], offsets[b + 1], lane, m)
                m *= scale
                for n in range(offsets[b], offsets[b + 1]):
                    _add_rows(q, m, t, n, lane, y)


@kernel()
def _backward(dy, q, k, v, offsets, heads, scale, dq, dk, dv):
    # With m = kᵀ v scale and y = q m:   dq = dy mᵀ,   dm = qᵀ dy scale,   dk = v dmᵀ,   dv = k dm.
    steps, _, width = q.shape
    head_width = width // heads
    m = np.empty((head_width, head_width), q.dtype)
    dm = np.empty((head_width, head_width), q.dtype)
    transposed = np.empty((head_width, head_width), q.dtype)
    for b in range(len(offsets) - 1):
        first, last = offsets[b], offsets[b + 1]
        for t in range(steps):
            for lane in range(0, width, head_width):
                _outer_sum(v, k, t, first, last, lane, m)
                m *= scale
                _outer_sum(q, dy, t, first, last, lane, dm)
                dm *= scale
                transposed[:] = dm.T
                for n in range(first, last):
                    _add_rows(dy, m, t, n, lane, dq)
                    _add_rows(v, transposed, t, n, lane, dk)
                    _add_rows(k, dm, t, n, lane, dv)


def attention_forward(cache):
    """y (T, N, D) of an `AttentionCache`."""
    q, k, v, offsets, heads, scale, _ = cache
    y = np.empty_like(q)
    _forward(q, k, v, offsets, heads, q.dtype.type(scale), y)
    return y


def attention_backward(dy, cache):
    """dq, dk, dv (T, N, D) from dy (T, N, D)."""
    q, k, v, offsets, heads, scale, _ = cache
    dq, dk, dv = np.empty_like(q), np.empty_like(q), np.empty_like(q)
    _backward(np.ascontiguousarray(dy), q, k, v, offsets, heads, q.dtype.type(scale), dq, dk, dv)
    return dq, dk, dv
