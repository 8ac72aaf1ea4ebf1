"""Spikes are found under the right names, and counted."""

import numpy as np
import pytest

from spikebert_np.analysis.firing import (
    count_spikes,
    firing_rates,
    mean_firing_rate,
    spike_layers,
)
from spikebert_np.layers.lif import LIFNeuron
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward

IDS, OFFSETS = np.array([3, 1, 4, 1, 5, 9, 2]), np.array([0, 3, 7])


def forward(**settings):
    # A low threshold and a high scale, so that no layer is silent: zero would equal zero.
    settings = {"neuron": LIFNeuron(v_th=0.3), "scale": 5.0, **settings}
    config = SpikeBertConfig(vocab_size=10, embedding_width=16, width=16, heads=2, **settings)
    params = init_spikebert(config, np.random.default_rng(0))
    return params, spikebert_forward(IDS, OFFSETS, params, config, backend="numpy")[1]


@pytest.mark.parametrize("encoder", ["lif", "heaviside"])
def test_every_layer_is_what_the_next_one_reads(encoder):
    _, cache = forward(encoder=encoder)
    layers = spike_layers(cache)
    block = [f"blocks.{i}." for i in range(2)]
    names = ["ssa.q", "ssa.k", "ssa.v", "ssa.attn", "ssa.out", "mlp.up", "mlp.down"]
    assert list(layers) == ["encoder", *(b + name for b in block for name in names)]
    x = layers["encoder"]
    for b, (ssa, mlp) in zip(block, cache.blocks, strict=True):
        np.testing.assert_array_equal(x, ssa.q.linear.x)
        for name in "qkv":
            np.testing.assert_array_equal(layers[b + f"ssa.{name}"], getattr(ssa.attention, name))
        np.testing.assert_array_equal(layers[b + "ssa.attn"], ssa.out.linear.x)
        x = x + layers[b + "ssa.out"]
        np.testing.assert_array_equal(x, mlp.up.linear.x)
        np.testing.assert_array_equal(layers[b + "mlp.up"], mlp.down.linear.x)
        x = x + layers[b + "mlp.down"]
    assert all(0 < s.mean() < 1 for s in layers.values())


def test_without_attention():
    _, cache = forward(attention=False, blocks=1)
    assert list(spike_layers(cache)) == ["encoder", "blocks.0.mlp.up", "blocks.0.mlp.down"]


def test_rates():
    params, cache = forward(encoder="heaviside", projection=False, positions=False, blocks=1)
    rates = firing_rates(cache)
    assert rates["encoder"] == np.mean(params["embedding.weight"][IDS] >= 0)
    spikes = {name: s.sum(dtype=np.float64) for name, s in spike_layers(cache).items()}
    assert rates["blocks.0.mlp.up"] == spikes["blocks.0.mlp.up"] / (4 * 7 * 64)
    # encoder, q, k, v, attn, out, down: 7 layers of 16 neurons, and up, of 64.
    expected = sum(spikes.values()) / (4 * 7 * (7 * 16 + 64))
    assert mean_firing_rate(cache) == pytest.approx(expected, rel=1e-12)
    assert abs(expected - np.mean(list(rates.values()))) > 0.001


def test_the_count_is_exact_in_float32():
    s = (np.random.default_rng(0).random((4, 700, 1024)) < 0.5).astype(np.float32)
    assert count_spikes(s) == np.count_nonzero(s)
