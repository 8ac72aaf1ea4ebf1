"""BERT's whole backward pass: against transformers and torch (stored, every parameter), and against
centred differences with dropout, both poolings and both backends."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from spikebert_np.checking.gradcheck import (
    directional_derivative,
    relative_error,
)
from spikebert_np.layers.losses import cross_entropy_backward, cross_entropy_forward
from spikebert_np.models.bert import BertConfig, bert_backward, bert_forward
from spikebert_np.models.bert_checkpoint import load_bert, tensor_names

REFERENCE = np.load(Path(__file__).parent / "references" / "bert_tiny.npz", allow_pickle=False)


def dense(grads, vocab_size):
    """The words' RowGradient as a whole matrix."""
    return grads | {"embeddings.word": grads["embeddings.word"].dense(vocab_size)}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_every_gradient_is_that_of_transformers(tmp_path, backend):
    (tmp_path / "config.json").write_text(str(REFERENCE["config"]))
    tensors = {n[7:]: REFERENCE[n] for n in REFERENCE if n.startswith("tensor:")}
    save_file(tensors, tmp_path / "model.safetensors")
    config, params = load_bert(tmp_path, dtype=np.float64)
    output, cache = bert_forward(
        REFERENCE["ids"], REFERENCE["offsets"], params, config, backend=backend, keep_cache=True
    )
    loss, loss_cache = cross_entropy_forward(output.logits, REFERENCE["labels"])
    assert abs(loss - REFERENCE["loss"]) < 1e-10
    grads = dense(bert_backward(cross_entropy_backward(1.0, loss_cache), cache), config.vocab_size)
    assert grads.keys() == params.keys()
    names = {key: f"bert.{name}" for key, (name, _) in tensor_names(config).items()}
    for part in ("weight", "bias"):
        names[f"pooler.{part}"] = f"bert.pooler.dense.{part}"
        names[f"classifier.{part}"] = f"classifier.{part}"
    assert len(names) == len([name for name in REFERENCE if name.startswith("grad:")])
    for key, name in names.items():
        expected = REFERENCE[f"grad:{name}"]
        expected = expected.T if key.endswith(".weight") else expected
        if key.endswith(".k.bias"):
            # It adds one number to all scores of a row, which softmax does not see.
            assert np.abs(grads[key]).max() < 1e-12 > np.abs(expected).max()
        else:
            assert np.abs(expected).max() > 1e-4, key
            assert relative_error(grads[key], expected) < 1e-9, key


CONFIG = {
    "vocab_size": 11,
    "width": 12,
    "depth": 2,
    "heads": 3,
    "mlp_width": 20,
    "max_positions": 7,
    "token_types": 2,
    "norm_eps": 1e-3,
    "classes": 3,
}
IDS = np.array([4, 1, 4, 0, 9, 4, 1, 2, 2, 10])
OFFSETS = np.array([0, 3, 4, 10])
LABELS = np.array([2, 0, 1])


def random_params(config, dtype=np.float64):
    """Sizes that leave no part flat: attention with contrast, gains and biases not 1 and 0."""
    rng = np.random.default_rng(3)
    d, c = config.width, config.classes
    shapes = {key: shape for key, (_, shape) in tensor_names(config).items()}
    shapes |= {"pooler.weight": (d, d), "pooler.bias": (d,)}
    shapes |= {"classifier.weight": (d, c), "classifier.bias": (c,)}
    return {
        key: rng.normal(
            key.endswith("gain"), 0.5 if len(shape) == 1 else shape[0] ** -0.5, shape
        ).astype(dtype)
        for key, shape in shapes.items()
    }


def run(params, config, backend="numpy"):
    """Logits and cache; the same dropout each time."""
    rng = np.random.default_rng(5)
    output, cache = bert_forward(
        IDS, OFFSETS, params, config, backend=backend, rng=rng, keep_cache=True
    )
    return output.logits, cache


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_differences_along_a_direction(rng, pooling, backend):
    """The whole model's loss, all parameters moved at once, with dropout everywhere."""
    config = BertConfig(**CONFIG, pooling=pooling, dropout=0.3, attention_dropout=0.2)
    params = random_params(config)

    def loss(params):
        return cross_entropy_forward(run(params, config, backend)[0], LABELS)[0]

    logits, cache = run(params, config, backend)
    dlogits = cross_entropy_backward(1.0, cross_entropy_forward(logits, LABELS)[1])
    grads = dense(bert_backward(dlogits, cache), config.vocab_size)
    for _ in range(5):
        direction = {key: rng.standard_normal(value.shape) for key, value in params.items()}
        along = sum((grads[key] * direction[key]).sum() for key in params)
        numeric = directional_derivative(loss, params, direction)
        assert abs(numeric) > 1e-2
        assert abs(along - numeric) < 1e-5 * abs(numeric)


def test_dropout_is_drawn_at_every_place():
    """Embedding; twice a block beside its attention maps; and before the classifier."""
    config = BertConfig(**CONFIG, dropout=0.5, attention_dropout=0.5)
    _, cache = run(random_params(config), config)
    masks = [cache.embeddings.dropout.mask, cache.head.dropout.mask]
    for block in range(config.depth):
        masks += [cache.attentions[block].dropout.mask, cache.feed_forwards[block].dropout.mask]
        masks += [s.dropout.mask for s in cache.attentions[block].sentences if s.q.shape[1] > 1]
    assert all(set(np.unique(mask)) == {0, 2} for mask in masks)
    # No two places share their draws.
    same_shape = [m for m in masks if m.shape == (len(IDS), config.width)]
    assert len({m.tobytes() for m in same_shape}) == len(same_shape) == 5


def test_without_a_generator_nothing_is_dropped_and_without_keeping_no_cache_is_held():
    config = BertConfig(**CONFIG, dropout=0.5, attention_dropout=0.5)
    params = random_params(config, np.float32)
    output, cache = bert_forward(IDS, OFFSETS, params, config)
    again, kept = bert_forward(IDS, OFFSETS, params, config, keep_cache=True)
    assert cache is None
    assert kept.head.dropout.mask is None
    np.testing.assert_array_equal(output.logits, again.logits)
    grads = bert_backward(output.logits, kept)
    assert {g.dtype for g in dense(grads, config.vocab_size).values()} == {np.dtype(np.float32)}


def test_json_of_the_reference_is_read_with_its_dropout(tmp_path):
    raw = json.loads(str(REFERENCE["config"]))
    tensors = {n[7:]: REFERENCE[n] for n in REFERENCE if n.startswith("tensor:")}
    save_file(tensors, tmp_path / "model.safetensors")
    rates = {"hidden_dropout_prob": 0.25, "attention_probs_dropout_prob": 0.0}
    (tmp_path / "config.json").write_text(json.dumps(raw | rates))
    config, _ = load_bert(tmp_path)
    assert (config.dropout, config.attention_dropout) == (0.25, 0.0)
