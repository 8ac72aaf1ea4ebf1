"""Theoretical energy: published figures, and a network small enough to count on paper."""

import numpy as np
import pytest

from spikebert_np.analysis.energy import (
    bytes_moved,
    energy_millijoules,
    layer_millijoules,
    millijoules,
)
from spikebert_np.analysis.energy_table import comparison_table, layer_table, left_out, shares_of
from spikebert_np.analysis.operations import (
    count_bert,
    count_student,
    mean_counts,
    without_spikes,
)
from spikebert_np.blocks.ssa import attention_map
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward
from spikebert_np.models.spiking_textcnn import (
    SpikingTextCNNConfig,
    init_spiking_textcnn,
    spiking_textcnn_forward,
)


@pytest.mark.parametrize(
    ("giga_macs", "giga_acs", "millijoules"),
    [(0.347329512, 6.51754094, 7.4635), (0.005312266, 0.24585125, 0.245703)],
)
def test_published_figures(giga_macs, giga_acs, millijoules):
    assert energy_millijoules(giga_macs * 1e9, giga_acs * 1e9) == pytest.approx(
        millijoules, rel=1e-5
    )


# Which neurons of each layer fire, always and in every word: its layer norm is all bias.
FIRING = {
    "ssa.q": [1, 0],
    "ssa.k": [1, 0],
    "ssa.v": [1, 1],
    "ssa.out": [0, 1],
    "mlp.up": [1, 1, 0, 1],
    "mlp.down": [0, 0],
}


def known_spikes():
    """T = 3, D = 2, F = 4, C = 3, and sentences of 1 and 3 tokens."""
    config = SpikeBertConfig.original(
        vocab_size=3, width=2, heads=1, blocks=1, mlp_width=4, steps=3, classes=3, scale=4.0
    )
    params = init_spikebert(config, np.random.default_rng(0))
    params["embedding.weight"] = np.array([[1, -1], [-1, -1], [1, 1]], np.float32)
    for name, fires in FIRING.items():
        bias = params[f"blocks.0.{name}.norm.bias"]
        params[f"blocks.0.{name}.norm.gain"] = np.zeros_like(bias)
        params[f"blocks.0.{name}.norm.bias"] = np.where(fires, 10, -10).astype(bias.dtype)
    ids, offsets = np.array([2, 0, 1, 2]), np.array([0, 1, 4])
    return spikebert_forward(ids, offsets, params, config, backend="numpy")[1]


def test_student_by_hand():
    layers = count_student(known_spikes())
    # The four tokens enter with 2, 1, 0 and 2 spikes, at each of 3 steps: 15 in two sentences.
    # Operations: 2 tokens a sentence on average, but (1² + 3²) / 2 = 5 pairs of tokens.
    # Columns: operations, SOPs, ACs, MACs, weights read, biases read, membranes updated.
    tokens = 4 * 3 / 2  # of a sentence, at all steps
    expected = {
        "blocks.0.ssa.q": (2 * 4, 15, 15, 0, 15, 2 * tokens, 2 * tokens),
        "blocks.0.ssa.k": (2 * 4, 15, 15, 0, 15, 2 * tokens, 2 * tokens),
        "blocks.0.ssa.v": (2 * 4, 15, 15, 0, 15, 2 * tokens, 2 * tokens),
        # One neuron of q and two of v, at 3 steps, each meeting 1 token once and 3 tokens thrice.
        # k fires wherever q does, so that each of q's meetings is an accumulate.
        "blocks.0.ssa.qk": (5 * 2, 3 * 10 / 2, 3 * 10 / 2, 0, 0, 0, 0),
        "blocks.0.ssa.qkv": (5 * 2, 2 * 3 * 10 / 2, 2 * 3 * 10 / 2, 0, 0, 0, 2 * tokens),
        # The attention is at least 4, far over its threshold: both neurons always fire.
        "blocks.0.ssa.out": (2 * 4, 24, 24, 0, 24, 2 * tokens, 2 * tokens),
        # Behind the residual sum: the 15 spikes, and one of `out` for each of 4 tokens and 3 steps.
        # The first and the last token have it on top of a spike: a 2 at 3 steps, 6 in all.
        "blocks.0.mlp.up": (2 * 8, 27 * 2, (27 - 12) * 2, 6 * 2, 21 * 2, 4 * tokens, 4 * tokens),
        "blocks.0.mlp.down": (2 * 8, 36, 36, 0, 36, 2 * tokens, 2 * tokens),
    }
    *spiking, head = layers
    assert {layer.name: layer[3:] for layer in spiking} == expected
    assert all(layer[1:3] == ("spikes", 3) for layer in spiking)
    assert head == ("head", "numbers", 1, 6, 0, 0, 6, 6, 3, 0)
    for layer in spiking:
        assert layer.spike_count * 3 * layer.operations == pytest.approx(layer.sops, rel=1e-12)
    assert spiking[0].spike_count == 15 / 24
    assert head.spike_count is None


def test_the_three_rules_by_hand():
    layers = {layer.name: layer for layer in count_student(known_spikes())}
    up = layers["blocks.0.mlp.up"]
    assert bytes_moved(up) == 4 * (42 + 24 + 2 * 24)
    assert layer_millijoules(up) == pytest.approx(
        {
            "literature": 54 * 0.9e-9,
            "strict": (30 * 0.9 + 12 * 4.6) * 1e-9,
            "with_memory": (30 * 0.9 + 12 * 4.6 + 4 * 114 * 24.96) * 1e-9,
        },
        rel=1e-12,
    )
    energies = millijoules(layers.values())
    acs = 45 + 15 + 30 + 24 + 54 + 36
    assert energies["literature"] == pytest.approx((6 * 4.6 + acs * 0.9) * 1e-9, rel=1e-12)
    assert energies["literature"] < energies["strict"] < energies["with_memory"]


def test_q_and_k_add_up_only_where_both_fire(rng):
    config = SpikeBertConfig(vocab_size=9, embedding_width=12, width=8, heads=2, blocks=1, steps=4)
    params = init_spikebert(config, rng)
    for part in "qk":
        params[f"blocks.0.ssa.{part}.norm.bias"] += np.float32(0.8)
    ids, offsets = rng.integers(0, 9, 7), np.array([0, 2, 7])
    _, cache = spikebert_forward(ids, offsets, params, config, backend="numpy")
    attention = cache.blocks[0].ssa.attention
    both = sum(
        attention_map(attention.q[:, a:b], attention.k[:, a:b], 2).sum()
        for a, b in ((0, 2), (2, 7))
    )
    layer = next(layer for layer in count_student(cache) if layer.name == "blocks.0.ssa.qk")
    assert layer.acs == both / 2
    assert 0 < layer.acs < layer.sops
    energies = layer_millijoules(layer)
    assert energies["strict"] < energies["literature"]


def test_spiking_textcnn_by_hand():
    config = SpikingTextCNNConfig(
        vocab_size=3,
        embedding_width=4,
        width=2,
        kernel_widths=(2, 1),
        filters=5,
        steps=3,
        classes=3,
    )
    params = init_spiking_textcnn(config, np.random.default_rng(0))
    # Of the encoder's two neurons the first fires always, the second never.
    params["embedding.norm.gain"] = np.zeros(2, np.float32)
    params["embedding.norm.bias"] = np.array([10, -10], np.float32)
    ids, offsets = np.array([2, 0, 1, 2]), np.array([0, 1, 4])
    _, cache = spiking_textcnn_forward(ids, offsets, params, config, backend="numpy")
    # Windows of two hold 1 token in the sentence of one, and 2 + 2 + 1 in that of three. Each token
    # has one spike a step.
    expected = {
        "embedding.projection": (2 * 4 * 2, 0),
        "encoder": (0, 0),
        "convs.2": ((1 + 5) / 2 * 2 * 5, (1 + 5) * 3 * 5 / 2),
        "convs.1": (2 * 2 * 5, (1 + 3) * 3 * 5 / 2),
        "head": (2 * 5 * 3, 0),
    }
    layers = count_student(cache)
    assert {layer.name: (layer.operations, layer.sops) for layer in layers} == expected
    assert all(layer.acs == layer.sops for layer in layers)
    assert [layer.neurons for layer in layers] == [0, 2 * 6, 5 * 6, 5 * 6, 0]


def test_the_projection_is_paid_once_and_the_taps_never():
    config = SpikeBertConfig(
        vocab_size=9, embedding_width=12, width=8, heads=2, blocks=1, teacher_width=5, steps=4
    )
    params = init_spikebert(config, np.random.default_rng(0))
    ids, offsets = np.array([1, 2, 3, 4, 5]), np.array([0, 2, 5])
    _, cache = spikebert_forward(ids, offsets, params, config, backend="numpy")
    layers = {layer.name: layer for layer in count_student(cache)}
    # In windows of 3, 2 words stand in 4 places and 3 words in 7.
    products = 5.5 * 12 * 8
    expected = ("numbers", 1, products, 0, 0, products, products, 2.5 * 8, 0)
    assert layers["embedding.projection"][1:] == expected
    reading = [name for name, layer in layers.items() if layer.reads == "numbers"]
    assert reading == ["embedding.projection", "encoder", "head"]
    # The encoder's neurons read the same current at every step, and multiply no weight.
    assert layers["encoder"][2:] == (4, 0, 0, 0, 0, 0, 0, 4 * 2.5 * 8)


def test_without_attention():
    config = SpikeBertConfig(vocab_size=9, width=8, heads=2, blocks=1, attention=False)
    params = init_spikebert(config, np.random.default_rng(0))
    _, cache = spikebert_forward(
        np.array([1, 2]), np.array([0, 2]), params, config, backend="numpy"
    )
    names = [layer.name for layer in count_student(cache)]
    assert names == [
        "embedding.projection", "encoder", "blocks.0.mlp.up", "blocks.0.mlp.down", "head"
    ]  # fmt: skip


def test_bert_by_hand():
    offsets = np.array([0, 1, 4])  # 2 tokens and 5 pairs a sentence, as above
    layers = count_bert(offsets, depth=2, width=4, mlp_width=8, classes=3)
    linear, attention = 2 * (4 * 4 * 4 + 2 * 4 * 8), 2 * 5 * 4
    head = 4 * 4 + 4 * 3
    assert sum(layer.macs for layer in layers) == 2 * (linear + attention) + head
    assert sum(layer.weights for layer in layers) == 2 * linear + head
    assert sum(layer.biases for layer in layers) == 2 * 2 * (4 * 4 + 8 + 4) + 4 + 3
    assert not any(layer.sops or layer.acs or layer.neurons for layer in layers)
    encoder = count_bert(offsets, depth=2, width=4, mlp_width=8)
    macs = 2 * (linear + attention) * 4.6e-9
    energies = millijoules(encoder)
    assert energies["literature"] == energies["strict"] == pytest.approx(macs, rel=1e-12)


def test_the_same_network_without_spikes():
    dense = without_spikes(count_student(known_spikes()))
    block = 4 * 2 * 4 + 2 * 5 * 2 + 2 * 2 * 8
    assert sum(layer.macs for layer in dense) == block + 6
    assert sum(layer.weights for layer in dense) == block - 20 + 6  # attention reads none
    assert sum(layer.biases for layer in dense) == 2 * (4 * 2 + 4 + 2) + 3  # in one step
    assert {layer.steps for layer in dense} == {1}
    assert not any(layer.neurons for layer in dense)


def test_batches_together_count_what_one_batch_of_all_counts():
    config = SpikeBertConfig(vocab_size=9, embedding_width=12, width=8, heads=2, blocks=1)
    params = init_spikebert(config, np.random.default_rng(0))

    def count(ids, offsets):
        _, cache = spikebert_forward(ids, offsets, params, config, backend="numpy")
        return count_student(cache)

    ids = np.array([1, 2, 3, 4, 5, 6, 7])
    whole = count(ids, np.array([0, 2, 5, 7]))
    parts = [count(ids[:5], np.array([0, 2, 5])), count(ids[5:], np.array([0, 2]))]
    together = mean_counts(parts, [2, 1])
    assert [layer[:3] for layer in together] == [layer[:3] for layer in whole]
    np.testing.assert_allclose(
        [layer[3:] for layer in together], [layer[3:] for layer in whole], rtol=1e-12
    )


def test_tables_say_theoretical_and_hold_the_figures():
    layers = count_student(known_spikes())
    dense = without_spikes(layers)
    energies, others = millijoules(layers), millijoules(dense)
    table = layer_table(layers)
    assert table.startswith("theoretical energy")
    assert table.splitlines()[-1].startswith("total, theoretical")
    assert f"{1e3 * energies['with_memory']:.4f}" in table.splitlines()[-1]
    table = comparison_table(layers, {"dense": dense})
    assert table.startswith("theoretical energy")
    share = energies["strict"] / others["strict"]
    assert shares_of(energies, others)["strict"] == share
    assert f"{share:.1%}" in table
    assert "27.8%" in table
    text = left_out(layers)
    assert "literature" in text
    assert "with memory" in text
    # 2 (q, k, v, out, the attention's own) + 4 + 2 neurons, for 6 tokens and steps.
    assert f"{16 * 6:,} updates" in text
