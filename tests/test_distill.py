"""The gradients of both stages' losses; no weight is without effect."""

import numpy as np
import pytest

from spikebert_np.checking.gradcheck import directional_derivative, relative_error
from spikebert_np.data.batches import Batch
from spikebert_np.layers.lif import LIFNeuron
from spikebert_np.layers.losses import cross_entropy_backward, cross_entropy_forward
from spikebert_np.models.spikebert import SpikeBertConfig, SpikeBertOutput, init_spikebert
from spikebert_np.training.distill import (
    LossWeights,
    Targets,
    distillation_backward,
    distillation_forward,
)
from spikebert_np.training.step import training_step

WEIGHTS = LossWeights(ce=0.7, kl=1.3, feat=0.4, emb=0.9, temperature=2.5)
STAGE1 = LossWeights(feat=0.8, emb=0.6)


def problem(rng):
    ids = np.array([3, 1, 3, 0, 4])
    output = SpikeBertOutput(
        rng.standard_normal((2, 3)), [rng.standard_normal((5, 4)) for _ in "ab"]
    )
    embedding = rng.standard_normal((6, 2))
    targets = Targets(
        labels=np.array([2, 0]),
        logits=rng.standard_normal((2, 3)),
        hidden={1: rng.standard_normal((5, 4))},
        word_rows=rng.standard_normal((6, 2)),
    )
    return ids, output, embedding, targets


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("weights", [STAGE1, WEIGHTS], ids=["stage1", "stage2"])
def test_the_whole_model_with_each_stage_directionally(rng, backend, weights):
    neuron = LIFNeuron(tau=1.7, v_th=0.8, spiking=False, detach_reset=False)
    config = SpikeBertConfig(
        vocab_size=7, width=8, heads=2, steps=3, classes=3, embedding_width=5, teacher_width=4,
        max_tokens=6, dropout=0.0, neuron=neuron,
    )  # fmt: skip
    params = {
        key: value + 0.2 * rng.standard_normal(value.shape)
        for key, value in init_spikebert(config, rng).items()
    }
    batch = Batch(rng.integers(0, 7, 9), np.array([0, 4, 9]), np.array([2, 0]), np.arange(2))
    targets = Targets(
        labels=batch.labels,
        logits=rng.standard_normal((2, 3)),
        hidden={0: rng.standard_normal((9, 4)), 1: rng.standard_normal((9, 4))},
        word_rows=rng.standard_normal((7, 5)),
    )

    def step(params, weights=weights):
        return training_step(params, config, batch, targets, weights, rng=None, backend=backend)

    gradients = step(params).grads
    gradients["embedding.weight"] = gradients["embedding.weight"].dense(7)
    direction = {key: rng.standard_normal(value.shape) for key, value in params.items()}
    numeric = directional_derivative(lambda p: step(p).loss, params, direction)
    analytic = sum(np.sum(gradients[key] * direction[key]) for key in gradients)
    assert relative_error(np.array(analytic), np.array(numeric)) < 1e-5
    assert (params.keys() - gradients.keys()) == (
        {key for key in params if key.startswith("head.")} if weights is STAGE1 else set()
    )


@pytest.mark.parametrize("name", ["ce", "kl", "feat", "emb"])
def test_zeroing_a_weight_changes_the_gradient(rng, name):
    ids, output, embedding, targets = problem(rng)

    def gradients(weights):
        offsets = np.array([0, 2, 5])
        cache = distillation_forward(output, ids, offsets, embedding, targets, weights)[2]
        dlogits, dtaps, dembedding = distillation_backward(cache)
        assert dtaps[0] is None, "block 0 is mapped to no layer"
        return dlogits, dtaps[1], dembedding and dembedding.rows

    moved = {"ce": 0, "kl": 0, "feat": 1, "emb": 2}[name]
    for i, (a, b) in enumerate(
        zip(gradients(WEIGHTS), gradients(WEIGHTS._replace(**{name: 0.0})), strict=True)
    ):
        same = b is not None and np.array_equal(a, b)
        assert same == (i != moved)


def test_a_sentence_without_a_label_adds_nothing_to_the_cross_entropy(rng):
    logits = rng.standard_normal((3, 4))
    loss, cache = cross_entropy_forward(logits, np.array([2, -1, 0]))
    alone, alone_cache = cross_entropy_forward(logits[[0, 2]], np.array([2, 0]))
    assert loss == pytest.approx(alone * 2 / 3)
    dlogits = cross_entropy_backward(1.0, cache)
    assert not dlogits[1].any()
    np.testing.assert_allclose(dlogits[[0, 2]], cross_entropy_backward(2 / 3, alone_cache))
