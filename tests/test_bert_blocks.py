"""BERT's blocks: finite differences of the input and every parameter, and no leak between
sentences. Three heads, so that E = 4 is not a power of H; lengths that differ."""

import numpy as np
import pytest
from conftest import assert_gradients

from spikebert_np.blocks.bert_embeddings import bert_embeddings_backward, bert_embeddings_forward
from spikebert_np.blocks.feed_forward import feed_forward_backward, feed_forward_forward
from spikebert_np.blocks.pooler_head import pooler_head_backward, pooler_head_forward
from spikebert_np.blocks.self_attention import (
    attention_sentence_backward,
    attention_sentence_forward,
    self_attention_backward,
    self_attention_forward,
)
from spikebert_np.checking.gradcheck import numerical_vjp, relative_error

D, F, HEADS, EPS = 12, 20, 3, 1e-3
OFFSETS = np.array([0, 3, 4, 9])


def random_params(rng, shapes):
    """Sizes that give attention contrast and keep GELU away from its straight parts."""
    return {
        key: rng.normal(0, shape[0] ** -0.5 if len(shape) == 2 else 0.5, shape)
        for key, shape in shapes.items()
    }


def self_attention():
    rng = np.random.default_rng(5)
    shapes = {f"{name}.weight": (D, D) for name in ("q", "k", "v", "output")}
    shapes |= {f"{name}.bias": (D,) for name in ("q", "k", "v", "output")}
    params = random_params(rng, shapes | {"norm.gain": (D,), "norm.bias": (D,)})
    params["q.weight"] *= 2

    def forward(x, params):
        return self_attention_forward(x, OFFSETS, params, heads=HEADS, eps=EPS)

    return forward, self_attention_backward, params


def feed_forward(backend="numpy"):
    rng = np.random.default_rng(6)
    shapes = {"up.weight": (D, F), "up.bias": (F,), "down.weight": (F, D), "down.bias": (D,)}
    params = random_params(rng, shapes | {"norm.gain": (D,), "norm.bias": (D,)})

    def forward(x, params):
        return feed_forward_forward(x, params, eps=EPS, backend=backend)

    return forward, feed_forward_backward, params


BLOCKS = [self_attention(), feed_forward(), feed_forward("numba")]


@pytest.mark.parametrize(("forward", "backward", "params"), BLOCKS)
def test_gradients_of_input_and_every_parameter(forward, backward, params):
    rng = np.random.default_rng(7)
    x, dy = rng.standard_normal((2, OFFSETS[-1], D))
    dx, grads = backward(dy, forward(x, params)[1])
    assert relative_error(dx, numerical_vjp(lambda x: forward(x, params)[0], x, dy)) < 1e-6
    assert grads.keys() == params.keys()
    for key, value in params.items():

        def moved(new, key=key):
            return forward(x, params | {key: new})[0]

        expected = numerical_vjp(moved, value, dy)
        if key == "k.bias":
            # It adds the same number to all scores of a row, which softmax does not see.
            assert np.abs(grads[key]).max() < 1e-12
            assert np.abs(expected).max() < 1e-8
        else:
            assert np.abs(expected).max() > 1e-3
            assert relative_error(grads[key], expected) < 1e-6, key


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_gradients_of_the_embeddings(rng, backend):
    ids = np.array([4, 1, 4, 0, 5, 4, 1, 2, 2])
    shapes = {"word": (7, D), "position": (6, D), "type": (2, D)}
    params = random_params(rng, shapes | {"norm.gain": (D,), "norm.bias": (D,)})

    def forward(params):
        draws = {"dropout": 0.3, "rng": np.random.default_rng(4)}
        return bert_embeddings_forward(ids, OFFSETS, params, eps=EPS, backend=backend, **draws)

    def backward(dy, cache):
        grads = bert_embeddings_backward(dy, cache)
        return grads | {"word": grads["word"].dense(7)}

    assert_gradients(forward, backward, params, rng, 1e-6)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_gradients_of_the_classifier(rng, pooling):
    shapes = {"x": (9, D), "pooler.weight": (D, D), "pooler.bias": (D,)}
    arrays = random_params(rng, shapes | {"classifier.weight": (D, 3), "classifier.bias": (3,)})
    arrays["x"] = rng.standard_normal((9, D))

    def forward(arrays):
        draws = {"dropout": 0.3, "rng": np.random.default_rng(4)}
        return pooler_head_forward(arrays["x"], OFFSETS, arrays, pooling=pooling, **draws)

    def backward(dlogits, cache):
        dx, grads = pooler_head_backward(dlogits, cache)
        return {"x": dx, **grads}

    assert_gradients(forward, backward, arrays, rng, 1e-6)


def test_attention_of_one_sentence():
    rng = np.random.default_rng(10)
    qkv, dy = rng.standard_normal((3, HEADS, 4, 5)), rng.standard_normal((HEADS, 4, 5))
    grads = attention_sentence_backward(dy, attention_sentence_forward(*qkv)[1])
    for i, grad in enumerate(grads):

        def moved(new, i=i):
            return attention_sentence_forward(*qkv[:i], new, *qkv[i + 1 :])[0]

        assert relative_error(grad, numerical_vjp(moved, qkv[i], dy)) < 1e-6


def test_a_word_sees_its_own_sentence_only():
    forward, backward, params = self_attention()
    rng = np.random.default_rng(8)
    x = rng.standard_normal((OFFSETS[-1], D))
    changed = x.copy()
    changed[OFFSETS[1]] += 1  # the one word of the second sentence
    moved = np.abs(forward(changed, params)[0] - forward(x, params)[0]).max(axis=1) > 0
    assert moved.tolist() == [False] * 3 + [True] + [False] * 5
    dy = np.zeros_like(x)
    dy[OFFSETS[2] :] = rng.standard_normal((5, D))
    reached = np.abs(backward(dy, forward(x, params)[1])[0]).max(axis=1) > 0
    assert reached.tolist() == [False] * 4 + [True] * 5


@pytest.mark.parametrize(("forward", "backward", "params"), BLOCKS)
def test_blocks_keep_float32(forward, backward, params):
    params = {key: value.astype(np.float32) for key, value in params.items()}
    x = np.random.default_rng(9).standard_normal((OFFSETS[-1], D), dtype=np.float32)
    y, cache = forward(x, params)
    dx, grads = backward(y, cache)
    assert {a.dtype for a in (y, dx, *grads.values())} == {np.dtype(np.float32)}
