"""GELU: known values, and the Numba twin."""

import math

import numpy as np
import pytest

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.layers.activations import (
    gelu_backward,
    gelu_forward,
)

BACKENDS = ["numpy", "numba"]


@pytest.fixture
def x(rng):
    return 2 * rng.standard_normal((5, 7))


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gelu_is_x_times_the_normal_distribution_function(backend):
    x = np.array([-40.0, -1.0, 0.0, 0.5, 40.0])
    y, _ = gelu_forward(x, backend=backend)
    expected = [v * math.erfc(-v / math.sqrt(2)) / 2 for v in x]
    np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gelu_twins_agree_and_keep_the_dtype(x, rng, dtype):
    x = x.astype(dtype).T  # not contiguous
    reference, cache = gelu_forward(x)
    y, twin_cache = gelu_forward(x, backend="numba")
    dx = gelu_backward(rng.standard_normal(x.shape).astype(dtype), twin_cache)
    assert y.dtype == reference.dtype == dx.dtype == cache.cdf.dtype == dtype
    assert relative_error(y, reference) < 4 * np.finfo(dtype).eps
