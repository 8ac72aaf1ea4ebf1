"""Finite, of the dtype that came in, and bounded as theory says: every surrogate and every neuron,
at inputs up to 1e4 and gains of exactly zero, in float32 and float64, on both backends."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikebert_np.blocks.spiking_linear import spiking_linear_backward, spiking_linear_forward
from spikebert_np.layers.layernorm import layernorm_backward, layernorm_forward
from spikebert_np.layers.lif import (
    LIFNeuron,
    lif_backward,
    lif_forward,
    membrane_after_reset,
)
from spikebert_np.layers.surrogate import SURROGATES

BACKENDS = ["numpy", "numba"]
SIZES = [0.0, 1e-4, 1.0, 1e4]
T = 5
RESETS = list(product(("hard", "soft", "none"), (True, False), (True, False)))

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
backends = pytest.mark.parametrize("backend", BACKENDS)
surrogates = pytest.mark.parametrize("surrogate", SURROGATES)


def neurons(surrogate):
    """Every reset, detached or not, with the input divided or not, sharp and blunt, short and long
    memories, hard spikes and smooth."""
    for reset, detach, decay in RESETS:
        for tau, alpha, spiking in product((1.0, 1.5, 10.0), (0.5, 25.0), (True, False)):
            yield LIFNeuron(
                tau=tau, v_th=0.8, v_reset=-0.3, reset=reset, detach_reset=detach,
                decay_input=decay, surrogate=surrogate, alpha=alpha, spiking=spiking,
            )  # fmt: skip


def currents(dtype):
    """(T, 4 sizes, 16): constant, alternating and random currents up to 1e4."""
    rng = np.random.default_rng(1)
    x = rng.choice([-1.0, 1.0], (T, len(SIZES), 16)) * rng.random((T, len(SIZES), 16))
    x[:, :, 0], x[:, :, 1] = 1, -1
    x[:, :, 2] = (-1.0) ** np.arange(T)[:, None]
    return (x * np.array(SIZES)[:, None]).astype(dtype)


def membrane_bound(neuron, drive, steps):
    """max|H - v_reset| over `steps` steps of |X - v_reset| (or, undivided, |X|) <= drive.

    With W = V - v_reset, L = 1 - 1/tau and P = 1/tau (or 1, the input undivided):
    H[t] - v_reset = L W[t-1] + P x[t], |x| <= drive. A hard reset gives
    |W[t]| = (1 - S) |H[t] - v_reset| and no reset |W[t]| = |H[t] - v_reset|: so
    |H - v_reset| <= P drive (1 + L + L² + ...) = P drive (1 - L^T) / (1 - L), at most drive where
    P = 1/tau. A soft reset takes v_th away at each spike: |W[t]| <= |H[t] - v_reset| + v_th, and
    each earlier step adds its share of that: at most v_th (L + L² + ...) on top.
    """
    leak = 1 - 1 / neuron.tau
    share = 1 / neuron.tau if neuron.decay_input else 1.0
    powers = sum(leak**k for k in range(steps))
    bound = share * drive * powers
    return bound + (powers - 1) * abs(neuron.v_th) if neuron.reset == "soft" else bound


@dtypes
@backends
@surrogates
def test_every_neuron_stays_finite_and_bounded(surrogate, backend, dtype):
    x = currents(dtype)
    ds = np.random.default_rng(2).standard_normal(x.shape).astype(dtype)
    for neuron in neurons(surrogate):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            s, cache = lif_forward(x, neuron=neuron, backend=backend)
            dx = lif_backward(ds, cache)
        for array in (s, cache.h, dx, membrane_after_reset(cache)):
            assert array.dtype == dtype, neuron
            assert np.isfinite(array).all(), neuron
        assert s.min() >= 0
        assert s.max() <= 1
        if neuron.spiking:
            assert set(np.unique(s)) <= {0, 1}
        # Row by row of sizes; with decay_input X is compared with v_reset before it is divided.
        for row, size in enumerate(SIZES):
            drive = size + (abs(neuron.v_reset) if neuron.decay_input else 0)
            rounding = 1 + 8 * np.finfo(dtype).eps * T
            bound = membrane_bound(neuron, drive, T) * rounding + 8 * np.finfo(dtype).eps
            assert np.abs(cache.h[:, row] - neuron.v_reset).max() <= bound, neuron


def test_the_bound_is_reached():
    """By a constant current without a reset: the theory's bound is not merely large."""
    for tau, decay in product((1.5, 10.0), (True, False)):
        neuron = LIFNeuron(tau=tau, reset="none", decay_input=decay)
        _, cache = lif_forward(np.full((T, 1), 7.0), neuron=neuron)
        assert cache.h[-1, 0] == pytest.approx(membrane_bound(neuron, 7.0, T), rel=1e-12)


@backends
def test_a_hard_reset_keeps_the_membrane_below_the_threshold(backend):
    """V[t] = v_reset after a spike, else H[t] < v_th: the next step never starts above v_th."""
    neuron = LIFNeuron(tau=3.0, v_th=0.8, v_reset=-0.3)
    _, cache = lif_forward(currents(np.float64), neuron=neuron, backend=backend)
    assert membrane_after_reset(cache).max() < neuron.v_th


@dtypes
@backends
@surrogates
def test_the_backward_pass_is_bounded_too(surrogate, backend, dtype):
    """Detached, |dH[t]| <= L |dH[t+1]| + max|dS| max σ': so |dX| <= P max σ' max|dS| / (1 - L),
    and P / (1 - L) = 1 with decay_input."""
    x = currents(dtype)
    peak = {"atan": 0.5, "sigmoid": 0.25, "fast_sigmoid": 0.5, "triangle": 1, "rectangle": 1}
    for reset, alpha, tau in product(("hard", "soft", "none"), (0.5, 25.0), (1.5, 10.0)):
        neuron = LIFNeuron(tau=tau, reset=reset, surrogate=surrogate, alpha=alpha)
        _, cache = lif_forward(x, neuron=neuron, backend=backend)
        dx = lif_backward(np.ones_like(x), cache)
        assert np.abs(dx).max() <= alpha * peak[surrogate] * (1 + 1e-5)


@dtypes
@backends
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_gains_of_exactly_zero(size, backend, dtype):
    """Of all, of one column, and a column that never varies: nothing is divided by a gain."""
    rng = np.random.default_rng(3)
    x = (size * rng.standard_normal((T, 6, 4))).astype(dtype)
    weight = rng.standard_normal((4, 5)).astype(dtype)
    ds = rng.standard_normal((T, 6, 5)).astype(dtype)
    for gain, reset, spiking in product(
        ([0, 0, 0, 0, 0], [0, 1, -2, 3, 0]), ("hard", "soft", "none"), (True, False)
    ):
        params = {
            "weight": weight,
            "bias": np.zeros(5, dtype),
            "norm.gain": np.array(gain, dtype),
            "norm.bias": np.array([0, 0.5, 2, -1e4, 1e4], dtype),
        }
        neuron = LIFNeuron(tau=1.5, reset=reset, spiking=spiking, detach_reset=False)
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            s, cache = spiking_linear_forward(x, params, neuron=neuron, backend=backend)
            dx, dparams = spiking_linear_backward(ds, cache)
        for array in (s, cache.lif.h, dx, *dparams.values()):
            assert array.dtype == dtype
            assert np.isfinite(array).all()
        if not any(gain):
            assert not dx.any()  # nothing of x reaches the neuron, so no gradient comes back
            assert not dparams["weight"].any()
            # x_hat is there all the same, and so is the gradient of the gain that would let it by.
            assert dparams["norm.gain"].any() == (size > 0)


@dtypes
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_layer_norm_of_constant_and_of_huge_rows(size, dtype):
    rng = np.random.default_rng(4)
    x = (size * rng.standard_normal((6, 8))).astype(dtype)
    x[0], x[1] = size, 0  # variance zero: only eps is left
    gain = np.array([0, 1, -1, 1e4, 1e-4, 2, 0, 1], dtype)
    y, cache = layernorm_forward(x, gain, np.zeros(8, dtype))
    dx, dgain, dbias = layernorm_backward(np.ones_like(x), cache)
    for array in (y, dx, dgain, dbias):
        assert array.dtype == dtype
        assert np.isfinite(array).all()
    # |x_hat| <= √D: one entry can hold all of a row's variance, and no more.
    assert np.abs(cache.x_hat).max() <= np.sqrt(8) * (1 + 1e-5)


@dtypes
@surrogates
def test_a_surrogate_at_extreme_numbers(surrogate, dtype):
    """At |u| up to 1e4 and past where exp and squares overflow: finite, in [0, 1], of the dtype."""
    u = np.array([0, 1e-30, 1e-4, 1, 88, 89, 710, 1e4], dtype)
    u = np.concatenate([-u[::-1], u])
    primitive, derivative = SURROGATES[surrogate]
    for alpha in (1e-3, 0.5, 2.0, 25.0, 1e3):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            s, slope = primitive(u, alpha), derivative(u, alpha)
        assert s.dtype == slope.dtype == dtype
        assert np.isfinite([s, slope]).all()
        assert s.min() >= 0
        assert s.max() <= 1
        assert (np.diff(s) >= 0).all()  # it rises
        assert slope.min() >= 0
        np.testing.assert_array_equal(slope, slope[::-1])  # every bump is even
        peak = derivative(np.zeros(1, dtype), alpha)[0]
        assert slope.max() <= peak * (1 + 2 * np.finfo(dtype).eps)  # with its peak at 0


@settings(max_examples=50, deadline=None)
@given(
    data=st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=24),
    tau=st.floats(1, 50),
    reset=st.sampled_from(["hard", "soft", "none"]),
    decay=st.booleans(),
    spiking=st.booleans(),
)
def test_the_bound_holds_whatever_is_drawn(data, tau, reset, decay, spiking):
    neuron = LIFNeuron(tau=tau, reset=reset, decay_input=decay, v_reset=-0.25, spiking=spiking)
    x = np.array(data)[:, None]
    for backend in BACKENDS:
        _, cache = lif_forward(x, neuron=neuron, backend=backend)
        drive = np.abs(x).max() + (0.25 if decay else 0)
        bound = membrane_bound(neuron, drive, len(x))
        assert np.abs(cache.h - neuron.v_reset).max() <= bound * (1 + 1e-12) + 1e-12
