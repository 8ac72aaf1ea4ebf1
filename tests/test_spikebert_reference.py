"""The published model against a PyTorch and SpikingJelly one, from stored files.

The files are made by tests/oracles/make_spikebert_reference.py; tests/test_oracle_live.py runs the
oracle itself.
"""

from pathlib import Path

import numpy as np
import pytest

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.layers.lif import LIFNeuron
from spikebert_np.layers.parameters import select
from spikebert_np.models.spikebert import SpikeBertConfig, spikebert_backward, spikebert_forward

REFERENCES = Path(__file__).parent / "references"


def run_numpy_model(ids, offsets, params, upstream_logits, upstream_taps, settings, backend):
    """The `original` model in float64: its output, cache and gradients, the embedding's dense."""
    params = {name: value.astype(np.float64) for name, value in params.items()}
    vocab, width = params["embedding.weight"].shape
    config = SpikeBertConfig.original(
        vocab_size=vocab,
        width=width,
        heads=int(settings["heads"]),
        blocks=len(upstream_taps),
        steps=int(settings["steps"]),
        classes=upstream_logits.shape[1],
        teacher_width=upstream_taps[0].shape[1],
        scale=float(settings["scale"]),
        neuron=LIFNeuron(tau=float(settings["tau"]), v_th=float(settings["v_th"])),
    )
    out, cache = spikebert_forward(ids, offsets, params, config, backend=backend)
    grads = spikebert_backward(upstream_logits, upstream_taps, cache)
    grads["embedding.weight"] = grads["embedding.weight"].dense(vocab)
    return out, cache, grads


def layer_spikes(cache):
    """Layer -> spikes (T, N, D of the layer), under the oracle's names."""
    spikes = {"encoder": cache.blocks[0].ssa.q.linear.x}
    for i, block in enumerate(cache.blocks):
        spikes[f"blocks.{i}.ssa.attn"] = block.ssa.attention_lif.s
        for name in ("q", "k", "v", "out"):
            spikes[f"blocks.{i}.ssa.{name}"] = getattr(block.ssa, name).lif.s
        for name in ("up", "down"):
            spikes[f"blocks.{i}.mlp.{name}"] = getattr(block.mlp, name).lif.s
    return spikes


def assert_same_arrays(ours, oracle, tolerance=1e-10):
    """Two dicts of arrays agree norm-wise, array by array."""
    assert ours.keys() == oracle.keys()
    for name, expected in oracle.items():
        assert ours[name].shape == expected.shape, name
        assert np.isfinite(ours[name]).all(), name
        assert expected.any(), f"{name}: all zero, which proves nothing"
        assert relative_error(ours[name], expected) < tolerance, name


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("name", ["spikebert_original", "spikebert_original_tau1.5"])
def test_stored_model(name, backend):
    with np.load(REFERENCES / f"{name}.npz", allow_pickle=False) as file:
        reference = dict(file)
    upstream_taps = list(select(reference, "upstream/taps/").values())
    taps = select(reference, "taps/")
    out, cache, grads = run_numpy_model(
        reference["ids"],
        reference["offsets"],
        select(reference, "params/"),
        reference["upstream/logits"],
        upstream_taps,
        select(reference, "settings/"),
        backend,
    )
    spikes = layer_spikes(cache)
    expected_spikes = select(reference, "spikes/")
    assert spikes.keys() == expected_spikes.keys()
    for layer, expected in expected_spikes.items():
        np.testing.assert_array_equal(spikes[layer], expected, err_msg=layer)
    assert_same_arrays({"logits": out.logits}, {"logits": reference["logits"]})
    assert_same_arrays({str(i): tap for i, tap in enumerate(out.taps)}, taps)
    assert_same_arrays(grads, select(reference, "grads/"))
