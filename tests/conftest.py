"""What the tests of the model share: draws, and that its neurons fire."""

import numpy as np
import pytest

from spikebert_np.checking.passes import nodes
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


def assert_fires(cache):
    """Every LIF layer fires between 2 % and 98 %: in a silent network, zero equals zero."""
    rates = [float(lif.s.mean()) for lif in nodes(cache, LIFCache)]
    assert all(0.02 <= rate <= 0.98 for rate in rates), f"firing rates {rates}"
