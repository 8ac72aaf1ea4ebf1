"""Dropout: what share it drops, what it does to the mean, and where in the model it acts."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_offsets

from spikebert_np.blocks import classifier_head, spike_input
from spikebert_np.layers.dropout import dropout_backward, dropout_forward
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_what_is_kept_is_scaled_so_that_the_mean_stays(rng, rate):
    x = np.full((200, 300), 3.0)
    y, cache = dropout_forward(x, rate=rate, rng=rng)
    assert (y != 0).mean() == pytest.approx(1 - rate, abs=0.01)
    assert np.unique(y) == pytest.approx([0, 3 / (1 - rate)], rel=1e-6)
    assert y.mean() == pytest.approx(3, rel=0.01)
    # Each row and each column of its own draw.
    assert (y != 0).mean(axis=0) == pytest.approx(1 - rate, abs=0.2)
    assert (y != 0).mean(axis=1) == pytest.approx(1 - rate, abs=0.2)
    np.testing.assert_array_equal(dropout_backward(x, cache), y)  # the same mask


@pytest.mark.parametrize(("rate", "seed"), [(0.4, None), (0.0, 5)])
def test_nothing_is_dropped_outside_training(rate, seed):
    x = np.arange(6.0)
    rng = None if seed is None else np.random.default_rng(seed)
    y, cache = dropout_forward(x, rate=rate, rng=rng)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dropout_backward(x, cache), x)


@pytest.mark.parametrize(("here", "elsewhere"), [
    (spike_input, classifier_head),  # the encoder's current
    (classifier_head, spike_input),  # the pooled sentence
])  # fmt: skip
def test_each_place_of_the_model_changes_its_output_in_training_alone(
    rng, monkeypatch, here, elsewhere
):
    config = SpikeBertConfig(vocab_size=11, width=16, heads=2, embedding_width=6, dropout=0.5)
    params = init_spikebert(config, rng)
    ids, offsets = random_offsets(rng, [5, 1, 8])

    def logits(config, seed):
        rng = None if seed is None else np.random.default_rng(seed)
        output, _ = spikebert_forward(ids, offsets, params, config, backend="numpy", rng=rng)
        return output.logits

    monkeypatch.setattr(elsewhere, "dropout_forward", lambda x, **_: (x, None))
    without = logits(replace(config, dropout=0.0), 1)
    np.testing.assert_array_equal(logits(config, None), without)
    assert np.abs(logits(config, 1) - without).max() > 1e-3
    assert np.abs(logits(config, 1) - logits(config, 2)).max() > 1e-3
    np.testing.assert_array_equal(logits(config, 1), logits(config, 1))
