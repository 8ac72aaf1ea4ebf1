"""Theoretical energy: published figures, and a network small enough to count on paper."""

import numpy as np
import pytest

from spikebert_np.analysis.energy import (
    bert_energy,
    energy_millijoules,
    energy_table,
    student_energy,
)
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
    report = student_energy(known_spikes())
    # The four tokens enter with 2, 1, 0 and 2 spikes, at each of 3 steps: 15 in two sentences.
    # Operations: 2 tokens a sentence on average, but (1² + 3²) / 2 = 5 pairs of tokens.
    expected = {
        "blocks.0.ssa.q": ("AC", 2 * 4, 15 * 2 / 2),
        "blocks.0.ssa.k": ("AC", 2 * 4, 15 * 2 / 2),
        "blocks.0.ssa.v": ("AC", 2 * 4, 15 * 2 / 2),
        # One neuron of q and two of v, at 3 steps, each meeting 1 token once and 3 tokens thrice.
        "blocks.0.ssa.qk": ("AC", 5 * 2, 1 * 3 * (1 + 9) / 2),
        "blocks.0.ssa.qkv": ("AC", 5 * 2, 2 * 3 * (1 + 9) / 2),
        # The attention is at least 4, far over its threshold: both neurons always fire.
        "blocks.0.ssa.out": ("AC", 2 * 4, 2 * 4 * 3 * 2 / 2),
        # Behind the residual sum: the 15 spikes, and one of `out` for each of 4 tokens and 3 steps.
        "blocks.0.mlp.up": ("AC", 2 * 8, (15 + 12) * 4 / 2),
        "blocks.0.mlp.down": ("AC", 2 * 8, 3 * 4 * 3 * 2 / 2),
        "head": ("MAC", 2 * 3, 2 * 3),
    }
    assert {row.name: (row.kind, row.operations, row.count) for row in report.rows} == expected
    for row in report.rows[:-1]:
        assert row.spike_count * 3 * row.operations == pytest.approx(row.count, rel=1e-12)
    counts = {row.name: row.spike_count for row in report.rows}
    assert counts["blocks.0.ssa.q"] == 15 / 24
    assert counts["blocks.0.mlp.up"] == 27 / 24
    acs = 45 + 15 + 30 + 24 + 54 + 36
    assert (report.total("MAC"), report.total("AC")) == (6, acs)
    assert report.millijoules == pytest.approx((6 * 4.6 + acs * 0.9) * 1e-9, rel=1e-12)
    table = energy_table(report)
    assert table.startswith("Theoretical energy")
    assert f"{report.millijoules:.4g} mJ" in table.splitlines()[-1]
    assert "theoretical" in table.splitlines()[-1]


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
    report = student_energy(cache)
    # Windows of two tokens hold 1 spike in the sentence of one token, 2 + 2 + 1 in that of three.
    expected = {
        "embedding.projection": ("MAC", 2 * 4 * 2, 2 * 4 * 2),
        "convs.2": ("AC", 2 * 2 * 2 * 5, (1 + 5) * 3 * 5 / 2),
        "convs.1": ("AC", 2 * 2 * 5, (1 + 3) * 3 * 5 / 2),
        "head": ("MAC", 2 * 5 * 3, 2 * 5 * 3),
    }
    assert {row.name: (row.kind, row.operations, row.count) for row in report.rows} == expected


def test_the_projection_is_paid_once_and_the_taps_never():
    config = SpikeBertConfig(
        vocab_size=9, embedding_width=12, width=8, heads=2, blocks=1, teacher_width=5, steps=4
    )
    params = init_spikebert(config, np.random.default_rng(0))
    ids, offsets = np.array([1, 2, 3, 4, 5]), np.array([0, 2, 5])
    _, cache = spikebert_forward(ids, offsets, params, config, backend="numpy")
    rows = {row.name: row for row in student_energy(cache).rows}
    # In windows of 3, 2 words stand in 4 places and 3 words in 7.
    assert rows["embedding.projection"][1:] == ("MAC", 5.5 * 12 * 8, None, 5.5 * 12 * 8)
    assert [name for name in rows if rows[name].kind == "MAC"] == ["embedding.projection", "head"]


def test_without_attention():
    config = SpikeBertConfig(vocab_size=9, width=8, heads=2, blocks=1, attention=False)
    params = init_spikebert(config, np.random.default_rng(0))
    _, cache = spikebert_forward(
        np.array([1, 2]), np.array([0, 2]), params, config, backend="numpy"
    )
    names = [row.name for row in student_energy(cache).rows]
    assert names == ["embedding.projection", "blocks.0.mlp.up", "blocks.0.mlp.down", "head"]


def test_bert_by_hand():
    offsets = np.array([0, 1, 4])  # 2 tokens and 5 pairs a sentence, as above
    report = bert_energy(offsets, depth=2, width=4, mlp_width=8, classes=3)
    block = 2 * (4 * 4 * 4 + 2 * 4 * 8) + 2 * 5 * 4
    assert report.total("MAC") == 2 * block + 4 * 4 + 4 * 3
    assert report.total("AC") == 0
    encoder = bert_energy(offsets, depth=2, width=4, mlp_width=8)
    assert encoder.millijoules == pytest.approx(2 * block * 4.6e-9, rel=1e-12)
