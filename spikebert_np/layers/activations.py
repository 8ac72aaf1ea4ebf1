"""ReLU, GELU and tanh, elementwise. All functions keep the dtype of x."""

import math
from typing import NamedTuple

import numpy as np

# NumPy has no erf of its own; this one is exact, and slow: it calls the C library once a number.
_erf = np.vectorize(math.erf, otypes=[np.float64])


class ReluCache(NamedTuple):
    """The output is enough: y > 0 just where x > 0."""

    y: np.ndarray  # of any shape


def relu_forward(x):
    """y = max(x, 0), and the cache."""
    y = np.maximum(x, 0)
    return y, ReluCache(y)


def relu_backward(dy, cache):
    """dx = dy where x > 0, else 0; at x = 0, where ReLU has a corner, 0 by convention."""
    # y = max(x, 0)
    return dy * (cache.y > 0)


class GeluCache(NamedTuple):
    """Φ(x) is kept because erf is by far the dearest part of the forward pass."""

    x: np.ndarray  # of any shape
    cdf: np.ndarray  # Φ(x)


def gelu_forward(x, *, backend="numpy"):
    """y = x Φ(x), Φ(x) = (1 + erf(x / √2)) / 2   (Hendrycks and Gimpel 2016, arXiv 1606.08415).

    Φ is the standard normal's distribution function, without the tanh approximation of it.
    x: any shape. Returns y of that shape and the cache.
    """
    if backend == "numba":
        from . import activations_numba

        cdf = activations_numba.normal_cdf(x)
    else:
        # 1. The share of a standard normal that lies below x.
        cdf = ((1 + _erf(x * math.sqrt(1 / 2))) / 2).astype(x.dtype)
    # 2. A soft gate: x passes as far as it is large.
    return x * cdf, GeluCache(x, cdf)


def gelu_backward(dy, cache):
    """dx = dy (Φ(x) + x φ(x)), φ(x) = exp(-x²/2) / √(2π) the normal density, which is Φ'."""
    x, cdf = cache
    density = np.exp(x * x / -2) * (1 / math.sqrt(2 * math.pi))
    # y = x * cdf
    return dy * (cdf + x * density)


class TanhCache(NamedTuple):
    """The output is enough: tanh' = 1 - tanh²."""

    y: np.ndarray  # of any shape


def tanh_forward(x):
    """y = tanh(x), and the cache."""
    y = np.tanh(x)
    return y, TanhCache(y)


def tanh_backward(dy, cache):
    """dx = dy (1 - y²)."""
    return dy * (1 - cache.y * cache.y)
