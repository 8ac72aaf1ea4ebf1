"""Softmax over the last axis."""

from typing import NamedTuple

import numpy as np


class SoftmaxCache(NamedTuple):
    """The output is enough: softmax's Jacobian is diag(y) - y yᵀ."""

    y: np.ndarray  # (..., K)


def softmax_forward(x):
    """y = exp(x) / sum(exp(x)) over the last axis: (..., K) -> (..., K), and the cache."""
    # 1. Shift so that the largest exponent is 0: the quotient stays, and nothing overflows.
    y = np.exp(x - x.max(axis=-1, keepdims=True))  # (..., K)
    # 2. Share out 1.
    y /= y.sum(axis=-1, keepdims=True)
    return y, SoftmaxCache(y)


def softmax_backward(dy, cache):
    """dx = y (dy - sum(dy y)): raising one x takes from all the others. Shapes: (..., K)."""
    y = cache.y
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
