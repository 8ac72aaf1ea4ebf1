"""Linear layer: y = x W + b.

Letters: T spike steps, N packed tokens, D_in and D_out widths; `...` is any leading shape.
"""

from typing import NamedTuple

import numpy as np


class LinearCache(NamedTuple):
    """Kept because dW = xᵀ dy needs the input and dx = dy Wᵀ needs the weight."""

    x: np.ndarray  # (..., D_in)
    weight: np.ndarray  # (D_in, D_out)
    events: tuple | None  # the non-zeros of x, where the event-driven twin was taken


def linear_forward(x, weight, bias, *, backend="numpy"):
    """y = x W + b.

    x: (..., D_in), weight: (D_in, D_out), bias: (D_out,). Returns y (..., D_out) and the cache.
    backend: "numpy"; "numba", for x that may be spikes: event-driven where few enough of them fire
    (see `linear_numba.py`); "events" and "dense": the same, always and never event-driven.
    """
    # The leading axes are flattened so that BLAS sees one tall product and not T small ones.
    rows = x.reshape(-1, x.shape[-1])  # (T*N, D_in)
    events = None
    if backend != "numpy":
        from . import linear_numba

        events = linear_numba.find_events(rows, backend)
    if events is not None:
        y = linear_numba.linear_forward(events, weight, bias)  # (T*N, D_out)
    else:
        y = rows @ weight  # (T*N, D_out)
        y += bias
    y = y.reshape(*x.shape[:-1], weight.shape[1])  # (..., D_out)
    return y, LinearCache(x, weight, events)


def linear_backward(dy, cache):
    """dx = dy Wᵀ, dW = xᵀ dy, db = the sum of dy over all leading axes.

    dy: (..., D_out). Returns dx (..., D_in), dweight (D_in, D_out), dbias (D_out,).
    """
    x, weight, events = cache
    dy_rows = dy.reshape(-1, dy.shape[-1])  # (T*N, D_out)
    # y += bias
    dbias = dy_rows.sum(axis=0)  # (D_out,)
    # y = rows @ weight; a weight shared by all time steps collects the gradient of each of them.
    if events is not None:
        from . import linear_numba

        dweight = linear_numba.weight_gradient(dy_rows, events)  # (D_in, D_out)
    else:
        dweight = x.reshape(-1, x.shape[-1]).T @ dy_rows  # (D_in, D_out)
    dx = dy_rows @ weight.T  # (T*N, D_in)
    return dx.reshape(x.shape), dweight, dbias
