"""Numba twin of GELU's slow part.

Every scalar is passed in the dtype of x: a Python float would promote float32 to float64.
"""

import math

import numpy as np

from .kernel import kernel


@kernel()
def _normal_cdf(x, half, sqrt_half, cdf):
    for i in range(x.size):
        cdf[i] = half + half * math.erf(x[i] * sqrt_half)


def normal_cdf(x):
    """Φ(x) = (1 + erf(x / √2)) / 2, of the shape and dtype of x."""
    cdf = np.empty(x.shape, x.dtype)
    half, sqrt_half = x.dtype.type(0.5), x.dtype.type(math.sqrt(1 / 2))
    _normal_cdf(np.ascontiguousarray(x).reshape(-1), half, sqrt_half, cdf.reshape(-1))
    return cdf
