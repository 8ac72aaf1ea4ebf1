"""TextCNN and spiking TextCNN as wholes. Their gradients are checked in test_cases.py."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import assert_fires, away_from_init, random_offsets

from spikebert_np.analysis.firing import firing_rates, mean_firing_rate, spike_layers
from spikebert_np.checking.passes import nodes
from spikebert_np.layers.embedding import RowGradient
from spikebert_np.layers.lif import LIFCache, LIFNeuron
from spikebert_np.models.kinds import KINDS, kind_of
from spikebert_np.models.spiking_textcnn import SpikingTextCNNConfig
from spikebert_np.models.textcnn import TextCNNConfig

LENGTHS = [1, 5, 3, 9]
SHAPE = {"vocab_size": 11, "classes": 3, "embedding_width": 6, "kernel_widths": (3, 2, 5)}
PLAIN = TextCNNConfig(**SHAPE, filters=7)
SPIKING = SpikingTextCNNConfig(
    **SHAPE, width=8, filters=16, steps=3, neuron=LIFNeuron(tau=1.5, v_th=0.5)
)
models = pytest.mark.parametrize("config", [PLAIN, SPIKING], ids=["plain", "spiking"])
backends = pytest.mark.parametrize("backend", ["numpy", "numba"])


def random_params(config, rng):
    return away_from_init(kind_of(config).init(config, rng), rng)


@models
@backends
def test_a_batch_gives_what_its_sentences_give_one_by_one(rng, config, backend):
    kind, (ids, offsets) = kind_of(config), random_offsets(rng, LENGTHS)
    params = random_params(config, rng)
    output, cache = kind.forward(ids, offsets, params, config, backend=backend)
    dlogits = rng.standard_normal(output.logits.shape)
    grads = kind.backward(dlogits, output.taps, cache)
    assert_fires(cache)
    assert grads.keys() == params.keys()
    total = {key: np.zeros(value.shape) for key, value in params.items()}
    for b, (start, end) in enumerate(pairwise(offsets)):
        one, one_cache = kind.forward(
            ids[start:end], np.array([0, end - start]), params, config, backend=backend
        )
        np.testing.assert_allclose(output.logits[[b]], one.logits, rtol=0, atol=1e-12)
        for key, grad in kind.backward(dlogits[[b]], [], one_cache).items():
            total[key] += grad.dense(11) if isinstance(grad, RowGradient) else grad
    for key, grad in grads.items():
        grad = grad.dense(11) if isinstance(grad, RowGradient) else grad
        np.testing.assert_allclose(grad, total[key], rtol=0, atol=1e-11, err_msg=key)


@models
def test_the_order_of_words_counts(rng, config):
    kind, (ids, offsets) = kind_of(config), random_offsets(rng, [8])
    params = random_params(config, rng)
    logits = kind.forward(ids, offsets, params, config)[0].logits
    moved = kind.forward(ids[::-1].copy(), offsets, params, config)[0].logits
    assert np.abs(logits - moved).max() > 1e-3


def test_numpy_and_numba_agree_on_hard_spikes(rng):
    kind, (ids, offsets) = kind_of(SPIKING), random_offsets(rng, LENGTHS)
    params = random_params(SPIKING, rng)
    runs = []
    for backend in ("numpy", "numba"):
        output, cache = kind.forward(ids, offsets, params, SPIKING, backend=backend)
        runs.append((output, cache, kind.backward(np.cos(output.logits), [], cache)))
    (ours, cache, grads), (theirs, numba_cache, numba_grads) = runs
    for one, other in zip(nodes(cache, LIFCache), nodes(numba_cache, LIFCache), strict=True):
        # On a tie within rounding either may fire; no such tie stands in this batch.
        assert np.abs(one.h - 0.5).min() > 1e-9
        np.testing.assert_array_equal(one.s, other.s)
    np.testing.assert_allclose(ours.logits, theirs.logits, rtol=0, atol=1e-12)
    for key, grad in grads.items():
        grad, other = (getattr(g, "rows", g) for g in (grad, numba_grads[key]))
        np.testing.assert_allclose(grad, other, rtol=0, atol=1e-11, err_msg=key)


@models
def test_dropout_is_for_training_alone(rng, config):
    kind, (ids, offsets) = kind_of(config), random_offsets(rng, LENGTHS)
    params = random_params(config, rng)

    def logits(seed=None, **settings):
        noise = None if seed is None else np.random.default_rng(seed)
        changed = replace(config, **settings)
        return kind.forward(ids, offsets, params, changed, rng=noise)[0].logits

    np.testing.assert_array_equal(logits(), logits(dropout=0.0))
    np.testing.assert_array_equal(logits(seed=1), logits(seed=1))
    assert not np.allclose(logits(seed=1), logits(seed=2))
    assert not np.allclose(logits(seed=1), logits())


def test_firing_is_told_where_there_are_spikes(rng):
    ids, offsets = random_offsets(rng, LENGTHS)
    params = random_params(SPIKING, rng)
    _, cache = kind_of(SPIKING).forward(ids, offsets, params, SPIKING)
    layers = spike_layers(cache)
    assert list(layers) == ["encoder", "convs.3", "convs.2", "convs.5"]
    assert layers["convs.2"].shape == (3, offsets[-1], 16)
    rates = firing_rates(cache)
    mean = (8 * rates["encoder"] + 16 * sum(rates[f"convs.{K}"] for K in (3, 2, 5))) / 56
    assert mean_firing_rate(cache) == pytest.approx(mean)
    _, cache = kind_of(PLAIN).forward(ids, offsets, random_params(PLAIN, rng), PLAIN)
    assert spike_layers(cache) == {}
    assert mean_firing_rate(cache) is None


@models
def test_shapes_are_those_that_are_drawn(rng, config):
    kind = kind_of(config)
    drawn = kind.init(config, rng)
    assert dict(kind.parameter_shapes(config)) == {key: v.shape for key, v in drawn.items()}
    assert all(value.dtype == np.float32 for value in drawn.values())


@models
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *[
            ({name: 0}, f"{name} = 0: it must be at least 1")
            for name in ("vocab_size", "classes", "embedding_width", "filters", "max_tokens")
        ],
        *[
            ({"kernel_widths": widths}, "give distinct widths of at least 1")
            for widths in ((), (3, 0), (3, 3))
        ],
        *[({"dropout": value}, f"dropout = {value}") for value in (-0.1, 1.0, np.nan)],
    ],
)
def test_a_config_refuses(config, wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **wrong)


@pytest.mark.parametrize("name", ["width", "steps"])
def test_a_spiking_config_refuses(name):
    with pytest.raises(ValueError, match=f"{name} = 0: it must be at least 1"):
        replace(SPIKING, **{name: 0})


def test_every_kind_is_found_by_its_config():
    assert [kind_of(config).name for config in (PLAIN, SPIKING)] == ["textcnn", "spiking_textcnn"]
    assert all(kind.name == name for name, kind in KINDS.items())
