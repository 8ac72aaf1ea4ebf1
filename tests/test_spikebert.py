"""The whole student: gradients of both stages' losses, a batch against its sentences one by one,
word order, the two backends, dtypes, and what a configuration refuses."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import assert_fires, away_from_init, random_offsets
from hypothesis import given, settings
from hypothesis import strategies as st

from spikebert_np.blocks.spiking_linear import spiking_linear_forward
from spikebert_np.checking.gradcheck import directional_derivative, relative_error
from spikebert_np.checking.passes import nodes
from spikebert_np.layers.embedding import RowGradient
from spikebert_np.layers.lif import LIFCache, LIFNeuron
from spikebert_np.models.spikebert import (
    SpikeBertConfig,
    init_spikebert,
    parameter_shapes,
    spikebert_backward,
    spikebert_forward,
)
from spikebert_np.training.distill import (
    LossWeights,
    Targets,
    add_row_gradients,
    distillation_backward,
    distillation_forward,
)

VOCAB, TEACHER_WIDTH, CLASSES = 11, 5, 3
LENGTHS = [4, 1, 6]
NEURON = LIFNeuron(tau=1.5, v_th=0.4, alpha=1.3)
SHAPE = {
    "vocab_size": VOCAB,
    "width": 6,
    "heads": 2,
    "blocks": 2,
    "mlp_width": 7,
    "steps": 3,
    "classes": CLASSES,
    "teacher_width": TEACHER_WIDTH,
    "scale": 1.0,
    "dropout": 0.2,
    "neuron": NEURON,
}
DEFAULT = SpikeBertConfig(**SHAPE, embedding_width=4, max_tokens=7)
ORIGINAL = SpikeBertConfig.original(**SHAPE)
STAGE_1 = LossWeights(feat=0.7, emb=0.3)
STAGE_2 = LossWeights(ce=0.4, kl=0.9, feat=0.7, emb=0.3, temperature=2.5)

modes = pytest.mark.parametrize("config", [DEFAULT, ORIGINAL], ids=["default", "original"])
backends = pytest.mark.parametrize("backend", ["numpy", "numba"])
stages = pytest.mark.parametrize("weights", [STAGE_1, STAGE_2], ids=["stage 1", "stage 2"])


def random_params(config, seed=13):
    rng = np.random.default_rng(seed)
    return away_from_init(init_spikebert(config, rng), rng)


def random_targets(rng, config, tokens):
    return Targets(
        labels=rng.integers(0, CLASSES, len(LENGTHS)),
        logits=rng.standard_normal((len(LENGTHS), CLASSES)),
        hidden={i: rng.standard_normal((tokens, TEACHER_WIDTH)) for i in range(config.blocks)},
        word_rows=rng.standard_normal((VOCAB, config.embedding_width)),
    )


def loss_and_gradients(ids, offsets, params, config, targets, weights, backend, frozen=None):
    """The loss, the gradients (the embedding's a RowGradient) and the caches of both passes."""
    dropout = np.random.default_rng(3)
    output, cache = spikebert_forward(
        ids, offsets, params, config, backend=backend, rng=dropout, frozen=frozen
    )
    loss, _, loss_cache = distillation_forward(
        output, ids, params["embedding.weight"], targets, weights
    )
    dlogits, dtaps, dembedding = distillation_backward(loss_cache)
    grads = spikebert_backward(dlogits, dtaps, cache)
    if dembedding is not None:
        grads["embedding.weight"] = add_row_gradients(grads["embedding.weight"], dembedding)
    return loss, grads, (cache, loss_cache)


def uphill(rng, gradient):
    """A random direction along which no two entries of the gradient cancel."""
    return rng.random(gradient.shape) * np.sign(gradient)


@backends
@stages
@pytest.mark.parametrize("detach_reset", [False, True], ids=["attached", "detached"])
@modes
def test_gradients_of_both_stages(rng, config, detach_reset, weights, backend):
    ids, offsets = random_offsets(rng, LENGTHS)
    params = random_params(config)
    assert_fires(spikebert_forward(ids, offsets, params, config, backend=backend)[1])
    targets = random_targets(rng, config, len(ids))
    config = replace(config, neuron=replace(NEURON, spiking=False, detach_reset=detach_reset))

    def run(params, frozen=None):
        return loss_and_gradients(ids, offsets, params, config, targets, weights, backend, frozen)

    _, grads, (cache, _) = run(params)
    trace = cache if detach_reset else None
    grads["embedding.weight"] = grads["embedding.weight"].dense(VOCAB)
    unread = {key for key in params if key.startswith("head.")} if weights is STAGE_1 else set()
    assert grads.keys() == params.keys() - unread
    read = {key: params[key] for key in grads}
    # Each parameter by itself: a small array's mistake would drown in a sum over all of them.
    for key, gradient in grads.items():
        assert gradient.shape == params[key].shape, key
        assert np.isfinite(gradient).all(), key
        assert gradient.any(), f"{key}: all zero, which proves nothing"
        direction = uphill(rng, gradient)
        numeric = directional_derivative(
            lambda moved: run(params | moved, trace)[0], {key: params[key]}, {key: direction}
        )
        assert relative_error(np.sum(gradient * direction), numeric) < 1e-5, key
    # And all of them at once.
    directions = {key: uphill(rng, gradient) for key, gradient in grads.items()}
    numeric = directional_derivative(lambda moved: run(params | moved, trace)[0], read, directions)
    expected = sum(np.sum(grads[key] * directions[key]) for key in grads)
    assert relative_error(expected, numeric) < 1e-5


@pytest.mark.parametrize("name", ["ce", "kl", "feat", "emb"])
def test_every_loss_weight_changes_the_gradient(rng, name):
    ids, offsets = random_offsets(rng, LENGTHS)
    params = random_params(DEFAULT)
    targets = random_targets(rng, DEFAULT, len(ids))
    _, grads, _ = loss_and_gradients(ids, offsets, params, DEFAULT, targets, STAGE_2, "numpy")
    without = STAGE_2._replace(**{name: 0.0})
    _, others, _ = loss_and_gradients(ids, offsets, params, DEFAULT, targets, without, "numpy")
    change = relative_error(grads["embedding.weight"].rows, others["embedding.weight"].rows)
    assert change > 1e-3


sentences = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=7)


@backends
@modes
@settings(deadline=None, max_examples=60)
@given(batch=st.lists(sentences, min_size=1, max_size=5))
def test_a_batch_is_its_sentences_one_by_one(config, backend, batch):
    params = random_params(config)

    def run(sentences):
        offsets = np.concatenate([[0], np.cumsum([len(s) for s in sentences])]).astype(np.int64)
        ids = np.concatenate(sentences).astype(np.int32)
        output, cache = spikebert_forward(ids, offsets, params, config, backend=backend)
        # Upstream gradients that a sentence brings along, whatever batch it stands in.
        dlogits = np.sin(output.logits)
        grads = spikebert_backward(dlogits, [np.cos(tap) for tap in output.taps], cache)
        grads["embedding.weight"] = grads["embedding.weight"].dense(VOCAB)
        return offsets, output, grads

    offsets, output, grads = run(batch)
    singles = [run([sentence]) for sentence in batch]
    for b, (first, last) in enumerate(pairwise(offsets)):
        _, single, _ = singles[b]
        np.testing.assert_allclose(output.logits[b], single.logits[0], rtol=0, atol=1e-12)
        for tap, single_tap in zip(output.taps, single.taps, strict=True):
            np.testing.assert_allclose(tap[first:last], single_tap, rtol=0, atol=1e-12)
    for key, gradient in grads.items():
        assert relative_error(gradient, sum(single[2][key] for single in singles)) < 1e-10, key


@backends
def test_word_order_counts_by_windows_and_positions_alone(rng, backend):
    ids, offsets = np.arange(7, dtype=np.int32), np.array([0, 7])
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    each_word = replace(DEFAULT, kernel_width=1)
    unordered = (replace(each_word, positions=False), ORIGINAL)
    for config in (replace(DEFAULT, positions=False), each_word, *unordered):
        params = random_params(config)
        output, cache = spikebert_forward(ids, offsets, params, config, backend=backend)
        assert_fires(cache)
        moved, _ = spikebert_forward(ids[order], offsets, params, config, backend=backend)
        change = np.abs(output.logits - moved.logits).max()
        if config not in unordered:
            assert change > 1e-3
        else:
            assert change < 1e-12
            np.testing.assert_allclose(moved.taps[-1], output.taps[-1][order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("spiking", [True, False], ids=["spiking", "smooth twin"])
@modes
def test_numpy_and_numba_agree(rng, config, spiking):
    ids, offsets = random_offsets(rng, LENGTHS)
    config = replace(config, neuron=replace(NEURON, spiking=spiking))
    params = random_params(config)
    targets = random_targets(rng, config, len(ids))
    runs = [
        loss_and_gradients(ids, offsets, params, config, targets, STAGE_2, backend)
        for backend in ("numpy", "numba")
    ]
    (loss, grads, caches), (numba_loss, numba_grads, numba_caches) = runs
    layers = list(zip(nodes(caches, LIFCache), nodes(numba_caches, LIFCache), strict=True))
    assert len(layers) == 7 * config.blocks + (config.encoder == "lif")
    for ours, theirs in layers:
        assert theirs.backend == "numba"
        if spiking:
            # On a tie within rounding either may fire; no such tie stands in this batch.
            assert np.abs(ours.h - ours.neuron.v_th).min() > 1e-9
            np.testing.assert_array_equal(ours.s, theirs.s)
        assert relative_error(ours.h, theirs.h) < 1e-10
    assert relative_error(loss, numba_loss) < 1e-10
    for key, gradient in grads.items():
        if isinstance(gradient, RowGradient):
            np.testing.assert_array_equal(gradient.ids, numba_grads[key].ids)
            gradient, numba_grads[key] = gradient.rows, numba_grads[key].rows
        assert relative_error(gradient, numba_grads[key]) < 1e-10, key


@pytest.mark.parametrize(("dtype", "rounding"), [(np.float32, 1e-4), (np.float64, 1e-12)])
def test_fused_norm_and_lif_fires_as_the_reference_does(rng, dtype, rounding):
    params = away_from_init(
        {"weight": np.zeros((9, 33)), "bias": np.zeros(33), "norm.gain": np.ones(33)}, rng
    )
    params["norm.bias"] = rng.random(33)
    params = {key: value.astype(dtype) for key, value in params.items()}
    x = rng.integers(0, 3, (4, 50, 9)).astype(dtype)
    runs = [
        spiking_linear_forward(x, params, neuron=LIFNeuron(tau=3.0), backend=backend)
        for backend in ("numpy", "numba")
    ]
    (s, cache), (numba_s, numba_cache) = runs
    assert_fires(cache)
    # A neuron whose membrane came within rounding of the threshold may differ from then on.
    near = np.abs(cache.lif.h - 1) < rounding
    clear = ~np.logical_or.accumulate(near, axis=0)
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(s[clear], numba_s[clear])
    assert np.abs(cache.lif.h - numba_cache.lif.h)[clear].max() < rounding


@backends
@modes
def test_float32_stays_float32(rng, config, backend):
    ids, offsets = random_offsets(rng, LENGTHS)
    params = init_spikebert(config, rng)
    targets = random_targets(rng, config, len(ids))
    single = {"labels": targets.labels, "logits": targets.logits.astype(np.float32)}
    single["hidden"] = {i: value.astype(np.float32) for i, value in targets.hidden.items()}
    single["word_rows"] = targets.word_rows.astype(np.float32)
    loss, grads, caches = loss_and_gradients(
        ids, offsets, params, config, Targets(**single), STAGE_2, backend
    )
    arrays = list(nodes([params, grads, caches, np.asarray(loss)], np.ndarray))
    assert len(arrays) > 200
    wide = [a.shape for a in arrays if a.dtype.kind == "f" and a.dtype != np.float32]
    assert not wide


def test_without_attention(rng):
    config = replace(DEFAULT, attention=False)
    ids, offsets = random_offsets(rng, LENGTHS)
    params = random_params(config)
    assert not [key for key in params if "ssa" in key]
    targets = random_targets(rng, config, len(ids))
    _, grads, _ = loss_and_gradients(ids, offsets, params, config, targets, STAGE_2, "numpy")
    assert grads.keys() == params.keys()
    # Words meet in the window alone: a tap knows its own place, word and neighbours.
    changed = ids.copy()
    changed[0] = (ids[0] + 1) % VOCAB
    output, _ = spikebert_forward(ids, offsets, params, config, backend="numpy")
    other, _ = spikebert_forward(changed, offsets, params, config, backend="numpy")
    np.testing.assert_allclose(output.taps[-1][2:], other.taps[-1][2:], rtol=0, atol=1e-12)
    for word in (0, 1):
        assert not np.allclose(output.taps[-1][word], other.taps[-1][word])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 7}, "not a multiple of heads"),
        ({"projection": False}, "embedding_width must equal width"),
        ({"encoder": "poisson"}, 'encoder = "poisson"'),
        *[
            ({name: value}, f"{name} = {value}: it must be at least 1")
            for value in (0, -1)
            for name in ("width", "heads", "blocks", "steps", "classes", "max_tokens")
        ],
        ({"mlp_width": -1}, "mlp_width = -1: it must be at least 1"),
        ({"teacher_width": -1}, "teacher_width = -1"),
        *[({"dropout": value}, f"dropout = {value}") for value in (-0.1, 1.0, np.nan)],
        *[({"scale": value}, f"scale = {value}") for value in (0.0, np.inf, np.nan)],
        *[({"position_std": value}, f"position_std = {value}") for value in (-1.0, np.inf, np.nan)],
    ],
)
def test_a_config_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(DEFAULT, **wrong)


def test_a_sentence_longer_than_max_tokens_is_refused(rng):
    ids, offsets = random_offsets(rng, [8])
    with pytest.raises(ValueError, match="8 tokens, but only 7 positions"):
        spikebert_forward(ids, offsets, random_params(DEFAULT), DEFAULT, backend="numpy")


@pytest.mark.parametrize("config", [DEFAULT, ORIGINAL, replace(DEFAULT, attention=False)])
@pytest.mark.parametrize("teacher_width", [0, 5])
def test_shapes_are_those_that_are_drawn(rng, config, teacher_width):
    config = replace(config, teacher_width=teacher_width)
    drawn = {key: value.shape for key, value in init_spikebert(config, rng).items()}
    assert dict(parameter_shapes(config)) == drawn
