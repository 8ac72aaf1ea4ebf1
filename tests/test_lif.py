"""The LIF neuron itself: a table worked by hand, its firing floor, and its bit-equal twin."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from spikebert_np.layers.lif import (
    LIFNeuron,
    firing_floor,
    lif_backward,
    lif_forward,
    lif_step_forward,
    membrane_after_reset,
)
from spikebert_np.layers.surrogate import SURROGATES

BACKENDS = ["numpy", "numba"]

# Worked by hand for tau = 4, v_th = 1; every number is exact in binary.
#   H = V + (X - (V - v_reset)) / 4, or without decay_input H = V - (V - v_reset) / 4 + X.
BY_HAND = [
    # reset, v_reset, decay_input, X, H, S, V
    (
        ("hard", 0.0, True),
        [6.0, 2.0, -1.0, 3.5],  # X
        [1.5, 0.5, 0.125, 0.96875],  # H
        [1, 0, 0, 0],  # S
        [0.0, 0.5, 0.125, 0.96875],  # V
    ),
    (
        ("hard", -0.5, True),
        [4.0, 6.0, 2.0, 0.0],
        [0.5, 1.75, 0.0, -0.125],
        [0, 1, 0, 0],
        [0.5, -0.5, 0.0, -0.125],
    ),
    (
        ("soft", 0.0, True),
        [6.0, 2.0, 0.5, 4.0],
        [1.5, 0.875, 0.78125, 1.5859375],
        [1, 0, 0, 1],
        [0.5, 0.875, 0.78125, 0.5859375],
    ),
    (
        ("none", 0.0, True),
        [6.0, 2.0, -1.0, 0.0],
        [1.5, 1.625, 0.96875, 0.7265625],
        [1, 1, 0, 0],
        [1.5, 1.625, 0.96875, 0.7265625],
    ),
    (
        ("hard", 0.0, False),
        [0.5, 0.5, 0.5, 0.875],
        [0.5, 0.875, 1.15625, 0.875],
        [0, 0, 1, 0],
        [0.5, 0.875, 0.0, 0.875],
    ),
    (
        ("soft", -1.0, False),
        [2.5, 0.25, 0.25, 0.0],
        [1.5, 0.375, 0.28125, -0.0390625],
        [1, 0, 0, 0],
        [0.5, 0.375, 0.28125, -0.0390625],
    ),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("settings", "x", "h", "s", "v"), BY_HAND)
def test_four_steps_by_hand(settings, x, h, s, v, backend):
    reset, v_reset, decay_input = settings
    neuron = LIFNeuron(tau=4.0, reset=reset, v_reset=v_reset, decay_input=decay_input)
    spikes, cache = lif_forward(np.array(x)[:, None], neuron=neuron, backend=backend)
    np.testing.assert_array_equal(cache.h[:, 0], h)
    np.testing.assert_array_equal(spikes[:, 0], s)
    np.testing.assert_array_equal(membrane_after_reset(cache)[:, 0], v)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tie_fires(backend, dtype):
    x = np.array([[4.0, np.nextafter(dtype(4), dtype(0))]], dtype)  # H = 1 and the number below
    s, _ = lif_forward(x, neuron=LIFNeuron(tau=4.0), backend=backend)
    np.testing.assert_array_equal(s, [[1, 0]])


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("v_reset", [0.0, -0.4])
def test_the_firing_floor_is_the_simulations(v_reset, decay_input):
    taus = (1.0, 1.5, 3.0, 10.0) if decay_input else (1.0, 1.5, 3.0, 10.0, np.inf)
    for tau, steps in product(taus, (1, 4, 9)):
        neuron = LIFNeuron(tau=tau, v_th=0.7, v_reset=v_reset, decay_input=decay_input)
        x = firing_floor(neuron, steps) * np.array([1 - 1e-9, 1 + 1e-9])  # below, above
        s, _ = lif_forward(np.tile(x, (steps, 1)), neuron=neuron)
        assert not s[:, 0].any()
        assert s[-1, 1] == 1
        if tau > 1:  # at tau = 1 nothing is carried over, and every step is a first one
            assert not s[:-1, 1].any()


def test_the_recorded_membrane_is_where_the_next_step_starts(rng):
    for reset, v_reset in product(("hard", "soft", "none"), (0.0, -0.4)):
        neuron = LIFNeuron(tau=1.5, reset=reset, v_reset=v_reset)
        x = 2 * rng.standard_normal((5, 7))
        s, cache = lif_forward(x, neuron=neuron)
        assert 0.02 < s.mean() < 0.98
        v = np.full(7, v_reset)
        for t, recorded in enumerate(membrane_after_reset(cache)):
            s_now, h_now, v = lif_step_forward(x[t], v, neuron)
            np.testing.assert_array_equal(cache.h[t], h_now)
            np.testing.assert_array_equal(s[t], s_now)
            np.testing.assert_array_equal(recorded, v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
def test_the_numba_twin_is_bit_equal(rng, reset, dtype):
    shape = (4, 43, 51)  # more neurons than a kernel's chunk of 1,024, and no multiple of it
    ds = rng.standard_normal(shape).astype(dtype)
    ties = 0
    for tau, decay_input, detach_reset in product((1.5, 4.0, 10.0), (True, False), (True, False)):
        x = rng.standard_normal(shape)
        x[:, :20] = np.round(4 * x[:, :20]) / 4  # exact numbers meet the threshold exactly
        x = (x * (tau if decay_input else 1)).astype(dtype)
        neuron = LIFNeuron(
            tau=tau,
            v_th=0.75,
            v_reset=-0.25,
            reset=reset,
            decay_input=decay_input,
            detach_reset=detach_reset,
        )
        s, cache = lif_forward(x, neuron=neuron)
        numba_s, numba_cache = lif_forward(x, neuron=neuron, backend="numba")
        assert 0.02 < s.mean() < 0.98
        assert numba_s.dtype == numba_cache.h.dtype == s.dtype == cache.h.dtype == dtype
        np.testing.assert_array_equal(s, numba_s)
        np.testing.assert_array_equal(cache.h, numba_cache.h)
        dx, numba_dx = lif_backward(ds, cache), lif_backward(ds, numba_cache)
        assert dx.dtype == numba_dx.dtype == dtype
        np.testing.assert_array_equal(dx, numba_dx)
        ties += np.sum(cache.h == neuron.v_th)
    assert ties > 100


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_every_surrogate_of_the_numba_twin(rng, surrogate, dtype):
    x = 3 * rng.standard_normal((4, 200)).astype(dtype)
    x[:, 0], x[:, 1] = 1e4, -1e4
    ds = rng.standard_normal(x.shape).astype(dtype)
    for spiking, alpha in product((True, False), (0.7, 4.0)):
        neuron = LIFNeuron(tau=1.5, surrogate=surrogate, alpha=alpha, detach_reset=False)
        neuron = replace(neuron, spiking=spiking)
        _, cache = lif_forward(x, neuron=neuron)
        _, numba_cache = lif_forward(x, neuron=neuron, backend="numba")
        dx, numba_dx = lif_backward(ds, cache), lif_backward(ds, numba_cache)
        assert np.isfinite(numba_dx).all()
        if spiking and surrogate != "sigmoid":
            np.testing.assert_array_equal(dx, numba_dx)
        else:
            # exp and arctan of the two libraries may differ in the last digits.
            rounding = 100 * np.finfo(dtype).eps
            np.testing.assert_allclose(cache.s, numba_cache.s, rtol=0, atol=rounding)
            np.testing.assert_allclose(dx, numba_dx, rtol=0, atol=rounding * np.abs(dx).max())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau": 0.9}, "tau = 0.9"),
        ({"tau": float("nan")}, "tau = nan"),
        ({"v_th": 0.0}, "above v_reset"),
        ({"reset": "zero"}, 'reset = "zero"'),
        ({"surrogate": "arctan"}, 'surrogate = "arctan"'),
        ({"alpha": 0.0}, "alpha = 0.0"),
    ],
)
def test_a_neuron_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(LIFNeuron(), **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau": np.inf}, "tau = inf: with decay_input no input"),
        ({"tau": np.nan}, "tau = nan"),
        ({"v_th": np.inf}, "v_th = inf must lie above"),
        ({"v_th": np.nan}, "v_th = nan must lie above"),
        ({"v_reset": -np.inf}, "v_reset = -inf, both finite"),
        ({"alpha": np.inf}, "alpha = inf: it must be positive and finite"),
        ({"alpha": np.nan}, "alpha = nan"),
    ],
)
def test_a_neuron_refuses_what_is_not_finite(wrong, message):
    with pytest.raises(ValueError, match=message):
        LIFNeuron(**wrong)
    assert LIFNeuron(tau=np.inf, decay_input=False).tau == np.inf  # integrate and fire
