"""Batch norm: the batch's own statistics in training, those that training kept in evaluation."""

import numpy as np
import pytest

from spikebert_np.blocks.spiking_linear import init_spiking_linear, spiking_linear_forward
from spikebert_np.layers.batchnorm import batchnorm_forward
from spikebert_np.layers.lif import LIFNeuron
from spikebert_np.models.kinds import KINDS
from spikebert_np.models.spikebert import (
    SpikeBertConfig,
    batch_statistics,
    init_spikebert,
    parameter_shapes,
    spikebert_forward,
)
from spikebert_np.training.loop import MOMENTUM, TrainingSettings, train

CONFIG = SpikeBertConfig(
    vocab_size=9, width=8, heads=2, steps=3, embedding_width=5, max_tokens=8, norm="batch"
)


def test_each_channel_has_mean_0_and_variance_1_over_all_rows(rng):
    x = 3 * rng.standard_normal((4, 6, 5)) + 2
    y, cache = batchnorm_forward(x, np.ones(5), np.zeros(5))
    np.testing.assert_allclose(y.mean(axis=(0, 1)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 1)), 1, rtol=1e-4)
    again, _ = batchnorm_forward(x, np.ones(5), np.zeros(5), running=(cache.mean, cache.variance))
    assert np.array_equal(y, again)


def test_evaluation_does_not_look_at_the_rest_of_the_batch(rng):
    params = init_spiking_linear(rng, 4, 5, norm="batch")
    x = rng.integers(0, 2, (3, 6, 4)).astype(np.float32)
    settings = {"neuron": LIFNeuron(v_th=0.3)}
    whole, _ = spiking_linear_forward(x, params, norm="running", **settings)
    part, _ = spiking_linear_forward(x[:, :2], params, norm="running", **settings)
    assert np.array_equal(whole[:, :2], part)
    alone, _ = spiking_linear_forward(x[:, :2], params, norm="batch", **settings)
    assert not np.array_equal(part, alone)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_model_evaluates_by_what_it_kept(rng, backend):
    params = init_spikebert(CONFIG, rng)
    assert {key: value.shape for key, value in params.items()} == dict(parameter_shapes(CONFIG))
    ids, offsets = rng.integers(0, 9, 7), np.array([0, 3, 7])
    _, cache = spikebert_forward(ids, offsets, params, CONFIG, backend=backend, rng=rng)
    seen = batch_statistics(cache)
    assert seen.keys() == {key for key in params if key.endswith(("norm.mean", "norm.variance"))}
    _, cache = spikebert_forward(ids, offsets, params, CONFIG, backend=backend)
    assert not batch_statistics(cache)
    assert np.array_equal(cache.blocks[0].mlp.up.norm.mean, params["blocks.0.mlp.up.norm.mean"])


def test_training_keeps_a_running_mean_and_the_optimizer_leaves_it_alone(rng, monkeypatch):
    from spikebert_np.data.corpus import Corpus

    seen = []

    def remembered(cache):
        seen.append(batch_statistics(cache))
        return seen[-1]

    kind = KINDS["spikebert"]._replace(statistics=remembered)
    monkeypatch.setitem(KINDS, "spikebert", kind)
    params = init_spikebert(CONFIG, rng)
    corpus = Corpus(rng.integers(0, 9, 7), np.array([0, 3, 7]), np.array([0, 1]))
    settings = TrainingSettings(epochs=2, w_ce=1.0, w_kl=0.0, w_feat=0.0, w_emb=0.0)
    trained = train(params, CONFIG, settings, corpus, log=lambda record: None, quiet=True)
    assert len(seen) == 2
    for key, start in (("mean", 0.0), ("variance", 1.0)):
        key = f"blocks.1.mlp.down.norm.{key}"
        expected = start
        for statistics in seen:
            expected = expected + MOMENTUM * (statistics[key] - expected)
        np.testing.assert_allclose(trained[key], expected, rtol=1e-5)
