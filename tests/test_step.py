"""A batch shared by workers: the loss and gradients of the whole, the same bits on any cores."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_offsets

from spikebert_np.analysis.firing import mean_firing_rate
from spikebert_np.blocks.encoder_block import encoder_block_backward
from spikebert_np.blocks.spike_input import spike_input_backward
from spikebert_np.checking.differences import directional_derivative
from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.data.batches import Batch
from spikebert_np.layers.lif import LIFNeuron
from spikebert_np.models.spikebert import (
    SpikeBertConfig,
    SpikeBertOutput,
    init_spikebert,
    spikebert_backward,
)
from spikebert_np.models.spiking_textcnn import SpikingTextCNNConfig, init_spiking_textcnn
from spikebert_np.models.textcnn import TextCNNConfig, init_textcnn
from spikebert_np.training import step as step_module
from spikebert_np.training.distill import (
    FEATURE_LOSSES,
    LossWeights,
    Targets,
    distillation_backward,
    distillation_forward,
)
from spikebert_np.training.step import training_step
from spikebert_np.training.workers import workers

CONFIG = SpikeBertConfig(
    vocab_size=11, width=8, heads=2, steps=3, classes=3, embedding_width=5, teacher_width=4,
    max_tokens=9, dropout=0.0, neuron=LIFNeuron(tau=1.7, v_th=0.8),
)  # fmt: skip
ALL = LossWeights(ce=0.7, kl=1.3, feat=0.4, emb=0.9, temperature=2.5)
WEIGHTS = {
    "stage1": LossWeights(feat=0.8, emb=0.6),
    "labels": LossWeights(ce=1.0),
    "rate": LossWeights(ce=0.7, feat=0.4, rate=30.0),
    **{name: ALL._replace(feature_loss=name) for name in FEATURE_LOSSES},
}


def problem(rng, init=init_spikebert, config=CONFIG):
    """A model in float64, three sentences of unlike lengths, one of no label, and its targets."""
    params = {
        key: value + 0.2 * rng.standard_normal(value.shape)
        for key, value in init(config, rng).items()
    }
    ids, offsets = random_offsets(rng, [2, 9, 4])
    batch = Batch(ids, offsets, np.array([2, -1, 1]), np.arange(3))
    targets = Targets(
        labels=batch.labels,
        logits=rng.standard_normal((3, 3)),
        hidden={1: rng.standard_normal((15, 4))},
        word_rows=rng.standard_normal((11, 5)),
    )
    return params, config, batch, targets


def assert_same(ours, whole):
    assert ours.loss == pytest.approx(whole.loss, rel=1e-12)
    assert ours.losses == pytest.approx(whole.losses, rel=1e-12)
    np.testing.assert_allclose(ours.logits, whole.logits, atol=1e-12)
    assert ours.firing_rate() == pytest.approx(whole.firing_rate(), rel=1e-12)
    assert ours.grads.keys() == whole.grads.keys()
    for key, grad in whole.grads.items():
        values, expected = (getattr(g, "rows", g) for g in (ours.grads[key], grad))
        # A bias before a layer norm may have next to no gradient: compared with its weight's.
        assert relative_error(values, expected) < 1e-9 or np.abs(values - expected).max() < 1e-15


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_parts_add_up(rng, name):
    args = *problem(rng), WEIGHTS[name]
    whole = training_step(*args, rng=None, parts=1, watched=True)
    assert len(whole.caches) == 1
    assert whole.firing_rate() == mean_firing_rate(whole.caches[0])
    for parts in (2, 3):
        ours = training_step(*args, rng=None, parts=parts, watched=True)
        assert len(ours.caches) == 2  # the second sentence is more than a third
        assert ours.spike_gradients.keys() == whole.spike_gradients.keys()
        for layer, norms in whole.spike_gradients.items():
            np.testing.assert_allclose(ours.spike_gradients[layer], norms, rtol=1e-9)
        assert sum(ours.tokens) == 15
        assert_same(ours, whole)


def test_the_parts_of_a_model_without_taps_add_up(rng):
    config = SpikingTextCNNConfig(
        vocab_size=11, embedding_width=5, filters=4, steps=3, classes=3, dropout=0.0
    )
    args = *problem(rng, init_spiking_textcnn, config), LossWeights(ce=0.7, kl=1.3, rate=20.0)
    whole = training_step(*args, rng=None, parts=1)
    assert_same(training_step(*args, rng=None), whole)


def test_the_watched_gradients_are_those_that_flow_on(rng):
    """What is watched behind a block, led through the block, is what is watched before it."""
    params, config, batch, targets = problem(rng)
    weights = LossWeights(ce=1.0)
    step = training_step(params, config, batch, targets, weights, rng=None, parts=1, watched=True)
    watched = {}
    (cache,) = step.caches
    _, _, loss_cache = distillation_forward(
        SpikeBertOutput(step.logits, []), batch.ids, batch.offsets, None, targets, weights
    )
    dlogits = distillation_backward(loss_cache)[0]
    spikebert_backward(dlogits, [], cache, watch=watched.__setitem__)
    assert list(watched) == list(step.spike_gradients) == ["blocks.1", "blocks.0", "encoder"]
    for name, dx in watched.items():
        expected = np.linalg.norm(dx.reshape(len(dx), -1), axis=1)  # (T,)
        np.testing.assert_allclose(step.spike_gradients[name], expected, rtol=1e-12)
        assert (expected > 0).all()
    for i, (after, before) in ((1, ("blocks.1", "blocks.0")), (0, ("blocks.0", "encoder"))):
        dx, _ = encoder_block_backward(watched[after], cache.blocks[i])
        np.testing.assert_array_equal(dx, watched[before])
    dinput = spike_input_backward(watched["encoder"], cache.input)
    np.testing.assert_array_equal(dinput["positions"], step.grads["embedding.positions"])


def test_two_workers_and_one_thread_give_the_same_bits(rng):
    params, config, batch, targets = problem(rng)
    config = replace(config, dropout=0.5)

    def step(seed, **how):
        draw = np.random.default_rng(seed)
        return training_step(params, config, batch, targets, ALL, rng=draw, **how)

    alone = step(0)
    with workers(2) as run:
        shared = step(0, run=run)
    assert shared.loss == alone.loss != step(1).loss
    for key, grad in alone.grads.items():
        values, expected = (getattr(g, "rows", g) for g in (shared.grads[key], grad))
        np.testing.assert_array_equal(values, expected)
    # Each part has dropout of its own, another at each step.
    draw = np.random.default_rng(0)
    losses = [training_step(params, config, batch, targets, ALL, rng=draw).loss for _ in range(2)]
    assert losses[0] != losses[1]


def test_the_firing_of_a_model_without_spikes_is_refused(rng):
    config = TextCNNConfig(vocab_size=11, embedding_width=5, filters=4, classes=3)
    args = problem(rng, init_textcnn, config)
    with pytest.raises(ValueError, match="no spikes to penalise"):
        training_step(*args, LossWeights(ce=1.0, rate=1.0), rng=None)


def test_a_batch_norm_sees_the_whole_batch(rng):
    config = replace(CONFIG, norm="batch")
    args = *problem(rng, config=config), ALL
    shared = training_step(*args, rng=np.random.default_rng(0))
    assert len(shared.caches) == 1
    assert_same(shared, training_step(*args, rng=np.random.default_rng(0), parts=1))


def test_a_wrong_sum_over_the_parts_is_seen(rng, monkeypatch):
    """The comparison above can fail: here the second part's gradient is left out."""
    args = *problem(rng), WEIGHTS["labels"]
    whole = training_step(*args, rng=None, parts=1)
    monkeypatch.setattr(step_module, "sum_gradients", lambda parts: parts[0])
    with pytest.raises(AssertionError):
        assert_same(training_step(*args, rng=None), whole)


@pytest.mark.parametrize(
    "settings",
    [{}, {"encoder": "heaviside"}, {"attention": False}, {"norm": "batch"}],
    ids=["lif", "heaviside", "without attention", "batch norm"],
)
def test_the_firing_rate_is_part_of_the_loss_and_of_its_gradient(rng, settings):
    """Of the whole batch, cut in two, down to the block that no other loss reads: smooth spikes
    against finite differences of the loss itself."""
    neuron = LIFNeuron(tau=1.7, v_th=0.8, detach_reset=False, spiking=False)
    params, config, batch, targets = problem(rng, config=replace(CONFIG, neuron=neuron, **settings))
    targets = targets._replace(hidden={0: targets.hidden[1]})
    weights = LossWeights(feat=0.8, rate=40.0)

    def step(params, weights=weights):
        draw = np.random.default_rng(0)  # batch norm by the batch; the dropout's rate is 0
        return training_step(params, config, batch, targets, weights, rng=draw, backend="numpy")

    found = step(params)
    assert len(found.caches) == 1 + (config.norm == "layer")
    assert found.losses["rate"] == found.firing_rate()
    assert found.loss == pytest.approx(0.8 * found.losses["feat"] + 40 * found.losses["rate"])
    bare = step(params, weights._replace(rate=0.0))
    assert "rate" not in bare.losses
    last = {key for key in found.grads if key.startswith("blocks.1.")}
    assert last
    assert found.grads.keys() - bare.grads.keys() == last

    for keys in (last, found.grads.keys() - last):
        direction = {
            key: rng.standard_normal(value.shape) if key in keys else np.zeros_like(value)
            for key, value in params.items()
        }
        numeric = directional_derivative(lambda moved: step(moved).loss, params, direction)
        ours = sum(np.sum(_dense(found.grads[key], params[key]) * direction[key]) for key in keys)
        assert ours == pytest.approx(numeric, rel=1e-6)


def _dense(grad, like):
    return grad.dense(len(like)) if hasattr(grad, "dense") else grad
