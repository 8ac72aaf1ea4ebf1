"""The LIF neuron against SpikingJelly's, from a stored file.

The file is made by tests/oracles/make_lif_reference.py, which describes it.
"""

from pathlib import Path

import numpy as np
import pytest

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.layers.lif import LIFNeuron, lif_backward, lif_forward, membrane_after_reset

FILE = Path(__file__).parent / "references" / "lif_spikingjelly.npz"


@pytest.fixture(scope="module")
def reference():
    with np.load(FILE, allow_pickle=False) as arrays:
        return dict(arrays)


def lif_neuron(reference, tau, decay_input, variant, surrogate, alpha):
    v_reset = float(reference["v_resets"][variant])
    return LIFNeuron(
        tau=float(tau),
        v_th=float(reference["v_th"]),
        reset=str(reference["resets"][variant]),
        v_reset=0.0 if np.isnan(v_reset) else v_reset,
        decay_input=bool(decay_input),
        detach_reset=bool(reference["detach_resets"][variant]),
        surrogate=surrogate,
        alpha=float(alpha),
    )


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("steps", [1, 4, 9])
def test_every_time_constant_and_reset(reference, steps, backend):
    of = {key: reference[f"t{steps}/{key}"] for key in ("x", "ds", "scale", "spikes", "dx")}
    for index in np.ndindex(of["scale"].shape):
        tau, decay_input, variant = index
        neuron = lif_neuron(
            reference,
            reference["taus"][tau],
            reference["decay_inputs"][decay_input],
            variant,
            "atan",
            reference["atan_alpha"],
        )
        s, cache = lif_forward(of["scale"][index] * of["x"], neuron=neuron, backend=backend)
        np.testing.assert_array_equal(s, of["spikes"][index], err_msg=str(neuron))
        dx = lif_backward(of["ds"], cache)
        assert relative_error(dx, of["dx"][index]) < 1e-12, neuron
        if steps == 4:
            assert relative_error(cache.h, reference["t4/h"][index]) < 1e-12, neuron
            v = membrane_after_reset(cache)
            assert relative_error(v, reference["t4/v"][index]) < 1e-12, neuron


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("surrogate", ["atan", "sigmoid", "fast_sigmoid", "triangle", "rectangle"])
def test_every_surrogate(reference, surrogate, backend):
    i = reference["surrogates"].tolist().index(surrogate)
    tau = reference["taus"].tolist().index(3.0)
    decay_input = reference["decay_inputs"].tolist().index(True)
    for variant in range(len(reference["resets"])):
        neuron = lif_neuron(reference, 3.0, True, variant, surrogate, reference["alphas"][i])
        x = reference["t4/scale"][tau, decay_input, variant] * reference["t4/x"]  # (T, 40)
        _, cache = lif_forward(x, neuron=neuron, backend=backend)
        dx = lif_backward(reference["t4/ds"], cache)
        assert relative_error(dx, reference["t4/dx_surrogates"][i, variant]) < 1e-12, neuron
