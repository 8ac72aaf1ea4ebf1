"""1-D convolution over the tokens of each sentence: a window of K tokens, and a linear layer on it.

    y[n] = b + sum over j of x[n + j - left] W[j],   j = 0 .. K-1,   left = (K - 1) // 2

A neighbour that the sentence does not have is zero: the padding is "same", as in PyTorch's Conv1d,
where of an even K's K - 1 zeros the odd one stands at the end. Each token thus gives one output, so
that x's offsets hold for all widths K, and no sentence is too short: without padding one of fewer
than K tokens would have no output at all. No window reaches into another sentence.

Letters: T spike steps, N packed tokens, B sentences, D_in and D_out widths, K tokens of a window;
`...` is none or T.
"""

from typing import NamedTuple

import numpy as np

from .embedding import token_positions
from .linear import LinearCache, linear_backward, linear_forward


class WindowsCache(NamedTuple):
    """Windows copy rows: the gradient needs to know where from, and no number of x."""

    offsets: np.ndarray  # (B + 1,)
    width: int  # K


def neighbours(offsets, shift):
    """The tokens n that have a neighbour n + shift in their own sentence, and these neighbours.

    offsets: (B + 1,). Returns two arrays of indices into the N tokens, of one length, each
    ascending and without repetition.
    """
    lengths = np.diff(offsets)  # (B,)
    position = token_positions(offsets) + shift  # (N,) of the neighbour in the sentence
    tokens = np.flatnonzero((position >= 0) & (position < np.repeat(lengths, lengths)))
    return tokens, tokens + shift


def windows_forward(x, offsets, *, width):
    """y[n] = x[n - left], ..., x[n - left + K - 1] end to end, left = (K - 1) // 2.

    x: (..., N, D), offsets: (B + 1,), width: K. Zeros stand where the sentence has no such token.
    Returns y (..., N, K*D) and the cache.
    """
    *leading, N, D = x.shape
    y = np.zeros((*leading, N, width, D), x.dtype)  # (..., N, K, D)
    for j in range(width):
        tokens, sources = neighbours(offsets, j - (width - 1) // 2)
        y[..., tokens, j, :] = x[..., sources, :]
    return y.reshape(*leading, N, width * D), WindowsCache(offsets, width)  # (..., N, K*D)


def windows_backward(dy, cache):
    """dx[m] = the sum of dy[n] over all places in all windows n where x[m] stands.

    dy: (..., N, K*D). Returns dx (..., N, D).
    """
    offsets, width = cache
    dy = dy.reshape(*dy.shape[:-1], width, -1)  # (..., N, K, D)
    dx = np.zeros((*dy.shape[:-2], dy.shape[-1]), dy.dtype)  # (..., N, D)
    for j in range(width):
        tokens, sources = neighbours(offsets, j - (width - 1) // 2)
        # y[tokens, j] = x[sources]; a token stands in up to K windows, once for each j.
        dx[..., sources, :] += dy[..., tokens, j, :]
    return dx


class Conv1dCache(NamedTuple):
    windows: WindowsCache
    linear: LinearCache


def conv1d_forward(x, weight, bias, offsets):
    """y[n] = b + sum over j of x[n + j - left] W[j], within each sentence.

    x: (..., N, D_in), weight: (K*D_in, D_out), whose rows j*D_in to (j+1)*D_in are W[j] (PyTorch's
    weight, (D_out, D_in, K), holds W[j].T at [:, :, j]); bias: (D_out,), offsets: (B + 1,).
    Returns y (..., N, D_out) and the cache.
    """
    # 1. Each token with its neighbours.
    windows, windows_cache = windows_forward(
        x, offsets, width=len(weight) // x.shape[-1]
    )  # (..., N, K*D_in)
    # 2. One product for all K taps.
    y, linear_cache = linear_forward(windows, weight, bias)  # (..., N, D_out)
    return y, Conv1dCache(windows_cache, linear_cache)


def conv1d_backward(dy, cache):
    """dx (..., N, D_in), dweight (K*D_in, D_out), dbias (D_out,) from dy (..., N, D_out)."""
    # y = windows W + b
    dwindows, dweight, dbias = linear_backward(dy, cache.linear)  # (..., N, K*D_in)
    # windows = neighbours of x
    dx = windows_backward(dwindows, cache.windows)  # (..., N, D_in)
    return dx, dweight, dbias
