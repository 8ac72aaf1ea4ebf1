"""The surrogates: each is the slope of its primitive, has area 1, and keeps the dtype."""

import numpy as np
import pytest

from spikebert_np.checking.gradcheck import check_gradients
from spikebert_np.layers.surrogate import SURROGATES


@pytest.mark.parametrize("alpha", [0.7, 2.0, 4.0])
@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_is_the_slope_of_its_primitive_and_has_area_1(name, alpha):
    primitive, derivative = SURROGATES[name]
    u = np.linspace(-2.9, 3.1, 401)
    report = check_gradients(
        lambda u: (primitive(u, alpha), u), lambda ds, u: ds * derivative(u, alpha), u, bound=1e-7
    )
    assert report.passed, report
    assert report.rows[0].kinks <= 3
    # u = tan θ maps the whole line onto (-π/2, π/2): nothing of a heavy tail is cut off.
    theta = (np.arange(100_000) + 0.5) / 100_000 * np.pi - np.pi / 2
    area = (derivative(np.tan(theta), alpha) / np.cos(theta) ** 2).mean() * np.pi
    assert area == pytest.approx(1, abs=1e-3)
    assert primitive(np.array([-1e12, 0, 1e12]), alpha) == pytest.approx([0, 0.5, 1], abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_keeps_the_dtype_and_stays_finite(name, dtype):
    u = np.array([-1e4, -1.0, 0, 1.0, 1e4], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for function in SURROGATES[name]:
            assert function(u, 2.0).dtype == dtype
            assert np.isfinite(function(u, 2.0)).all()
