"""Linear layer: y = x W + b.

Letters: T spike steps, N packed tokens, D_in and D_out widths; `...` is any leading shape.
"""

from typing import NamedTuple

import numpy as np


class LinearCache(NamedTuple):
    """Kept because dW = xᵀ dy needs the input and dx = dy Wᵀ needs the weight."""

    x: np.ndarray  # (..., D_in)
    weight: np.ndarray  # (D_in, D_out)


def linear_forward(x, weight, bias):
    """y = x W + b.

    x: (..., D_in), weight: (D_in, D_out), bias: (D_out,). Returns y (..., D_out) and the cache.
    """
    # The leading axes are flattened so that BLAS sees one tall product and not T small ones.
    rows = x.reshape(-1, x.shape[-1])  # (T*N, D_in)
    y = rows @ weight  # (T*N, D_out)
    y += bias
    return y.reshape(*x.shape[:-1], weight.shape[1]), LinearCache(x, weight)  # (..., D_out)


def linear_backward(dy, cache):
    """dx = dy Wᵀ, dW = xᵀ dy, db = the sum of dy over all leading axes.

    dy: (..., D_out). Returns dx (..., D_in), dweight (D_in, D_out), dbias (D_out,).
    """
    x, weight = cache
    dy_rows = dy.reshape(-1, dy.shape[-1])  # (T*N, D_out)
    # y += bias
    dbias = dy_rows.sum(axis=0)  # (D_out,)
    # y = rows @ weight; a weight shared by all time steps collects the gradient of each of them.
    dweight = x.reshape(-1, x.shape[-1]).T @ dy_rows  # (D_in, D_out)
    dx = dy_rows @ weight.T  # (T*N, D_in)
    return dx.reshape(x.shape), dweight, dbias
