"""The LIF neuron against SpikingJelly's and snnTorch's, and its smooth twin against PyTorch's
autograd, from stored files.

The files are made by tests/oracles/make_lif_reference.py, make_lif_snntorch_reference.py and
make_smooth_reference.py, which describe them; tests/test_oracle_libraries.py makes them anew.
"""

from pathlib import Path

import numpy as np
import pytest

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.layers.lif import LIFNeuron, lif_backward, lif_forward, membrane_after_reset

REFERENCES = Path(__file__).parent / "references"
BACKENDS = ["numpy", "numba"]
SURROGATES = ["atan", "sigmoid", "fast_sigmoid", "triangle", "rectangle"]


def load(name):
    with np.load(REFERENCES / name, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def spikingjelly():
    return load("lif_spikingjelly.npz")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("steps", [1, 4, 9])
def test_spikingjelly(spikingjelly, steps, surrogate, backend):
    of = {key: spikingjelly[f"t{steps}/{key}"] for key in ("x", "ds", "scale", "spikes", "dx")}
    i = spikingjelly["surrogates"].tolist().index(surrogate)
    for index in np.ndindex(of["scale"].shape):
        tau, decay_input, variant = index
        v_reset = float(spikingjelly["v_resets"][variant])
        neuron = LIFNeuron(
            tau=float(spikingjelly["taus"][tau]),
            v_th=float(spikingjelly["v_th"]),
            reset=str(spikingjelly["resets"][variant]),
            v_reset=0.0 if np.isnan(v_reset) else v_reset,
            decay_input=bool(spikingjelly["decay_inputs"][decay_input]),
            detach_reset=bool(spikingjelly["detach_resets"][variant]),
            surrogate=surrogate,
            alpha=float(spikingjelly["alphas"][i]),
        )
        s, cache = lif_forward(of["scale"][index] * of["x"], neuron=neuron, backend=backend)
        np.testing.assert_array_equal(s, of["spikes"][index], err_msg=str(neuron))
        assert 0.02 < s.mean() < 0.98, neuron
        dx = lif_backward(of["ds"], cache)
        assert dx.any(), f"{neuron}: all zero, which proves nothing"
        assert relative_error(dx, of["dx"][i, *index]) < 1e-12, neuron
        if steps == 4:
            assert relative_error(cache.h, spikingjelly["t4/h"][index]) < 1e-12, neuron
            v = membrane_after_reset(cache)
            assert relative_error(v, spikingjelly["t4/v"][index]) < 1e-12, neuron


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("steps", [1, 4, 9])
def test_snntorch(steps, decay_input, backend):
    reference = load("lif_snntorch.npz")
    of = {
        key: reference[f"t{steps}/{key}"] for key in ("x", "ds", "scale", "spikes", "dx", "trace")
    }
    for index in np.ndindex(of["scale"].shape):
        tau, variant = float(reference["taus"][index[0]]), index[1]
        mechanism = str(reference["reset_mechanisms"][variant])
        delayed = bool(reference["reset_delays"][variant])
        neuron = LIFNeuron(
            tau=tau,
            v_th=float(reference["v_th"]),
            reset={"zero": "hard", "subtract": "soft", "none": "none"}[mechanism],
            decay_input=decay_input,
            detach_reset=delayed,
            alpha=float(reference["alpha"]),
        )
        # snnTorch never divides its input by tau.
        gain = tau if decay_input else 1.0
        x = gain * of["scale"][index] * of["x"]  # (T, M)
        s, cache = lif_forward(x, neuron=neuron, backend=backend)
        np.testing.assert_array_equal(s, of["spikes"][index], err_msg=str(neuron))
        assert 0.02 < s.mean() < 0.98, neuron
        # Its membrane is H, and V where the reset is not delayed.
        trace = cache.h if delayed else membrane_after_reset(cache)
        assert relative_error(trace, of["trace"][index]) < 1e-12, neuron
        dx = gain * lif_backward(of["ds"], cache)
        # Its spikes are float32, and so is the gradient that arrives at them.
        assert relative_error(dx, of["dx"][index]) < 1e-6, neuron


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_smooth_twin_against_autograd(surrogate, backend):
    reference = load("lif_smooth.npz")
    i = reference["surrogates"].tolist().index(surrogate)
    for variant, reset in enumerate(reference["resets"]):
        neuron = LIFNeuron(
            tau=float(reference["tau"]),
            v_th=float(reference["v_th"]),
            reset=str(reset),
            v_reset=float(reference["v_resets"][variant]),
            detach_reset=bool(reference["detach_resets"][variant]),
            surrogate=surrogate,
            alpha=float(reference["alphas"][i]),
            spiking=False,
        )
        s, cache = lif_forward(reference["x"], neuron=neuron, backend=backend)
        assert relative_error(s, reference["s"][i, variant]) < 1e-12, neuron
        dx = lif_backward(reference["ds"], cache)
        assert dx.any(), f"{neuron}: all zero, which proves nothing"
        assert relative_error(dx, reference["dx"][i, variant]) < 1e-12, neuron


def test_gradcheck_fails_a_detached_reset_and_nothing_else():
    """torch.autograd.gradcheck's verdict on the twin: the detached reset's gradient is not the
    network's, and is right once the reset's spikes are constants."""
    reference = load("lif_smooth.npz")
    verdicts, frozen = reference["verdicts"], reference["frozen"]  # (surrogates, variants)
    assert verdicts.shape == frozen.shape == (len(SURROGATES), len(reference["resets"]))
    assert frozen.all()
    np.testing.assert_array_equal(verdicts, np.tile(~reference["detach_resets"], (5, 1)))
