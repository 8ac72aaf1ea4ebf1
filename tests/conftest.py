"""What the gradient tests share: draws, the check itself, and a walk through nested caches."""

import numpy as np
import pytest

from spikebert_np.checking.gradcheck import numerical_vjp, relative_error
from spikebert_np.layers.lif import LIFCache


@pytest.fixture
def rng():
    return np.random.default_rng(2308)


def away_from_init(params, rng):
    """float64 copies with noise: unit gains and zero biases would hide mistakes."""
    return {
        key: value.astype(np.float64) + 0.3 * rng.standard_normal(value.shape)
        for key, value in params.items()
    }


def random_offsets(rng, lengths):
    """(B + 1,) offsets of sentences of these lengths, and random ids (N,) below 11."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return rng.integers(0, 11, offsets[-1]).astype(np.int32), offsets


def nodes(cache, kind):
    """Every instance of `kind` in nested tuples, lists and dicts."""
    if isinstance(cache, kind):
        yield cache
    elif isinstance(cache, dict):
        for value in cache.values():
            yield from nodes(value, kind)
    elif isinstance(cache, tuple | list):
        for value in cache:
            yield from nodes(value, kind)


def assert_fires(cache):
    """Every LIF layer fires between 2 % and 98 %: in a silent network, zero equals zero."""
    rates = [float(lif.s.mean()) for lif in nodes(cache, LIFCache)]
    assert all(0.02 <= rate <= 0.98 for rate in rates), f"firing rates {rates}"


def assert_same_gradient(ours, numeric, tolerance, name):
    """Norm-wise, over the whole array. Two all-zero arrays prove nothing and fail."""
    assert np.shape(ours) == np.shape(numeric), name
    assert ours.dtype == np.float64, name
    assert np.isfinite(ours).all(), name
    assert np.any(numeric), f"{name}: all zero, which proves nothing"
    error = relative_error(ours, numeric)
    assert error < tolerance, f"{name}: relative error {error:.1e}"


def assert_gradients(forward, backward, arrays, rng, tolerance):
    """Every array's gradient against centred differences, under a random upstream gradient.

    arrays: name -> float64 array. forward(arrays) -> y, cache. backward(dy, cache) -> name ->
    gradient, for each of the arrays.
    """
    y, cache = forward(arrays)
    dy = rng.standard_normal(np.shape(y))
    grads = backward(dy, cache)
    assert grads.keys() == arrays.keys()
    for name, value in arrays.items():
        numeric = numerical_vjp(
            lambda moved, name=name: forward(arrays | {name: moved})[0], value, dy
        )
        assert_same_gradient(grads[name], numeric, tolerance, name)
