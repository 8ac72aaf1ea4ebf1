"""Starting values: their range and spread."""

import numpy as np
import pytest

from spikebert_np.layers.initializers import init_embedding, init_layernorm, init_linear


def test_linear_is_uniform_within_its_bound(rng):
    params = init_linear(rng, 25, 4000)
    assert {key: (value.shape, value.dtype) for key, value in params.items()} == {
        "weight": ((25, 4000), np.float32),
        "bias": ((4000,), np.float32),
    }
    bound = 1 / np.sqrt(25)
    for values in params.values():
        assert np.abs(values).max() <= bound
        assert values.mean() == pytest.approx(0, abs=0.01)
        assert values.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)


def test_embedding_is_standard_normal(rng):
    values = init_embedding(rng, 200, 300)
    assert values.dtype == np.float32
    assert values.mean() == pytest.approx(0, abs=0.02)
    assert values.std() == pytest.approx(1, rel=0.02)


def test_layernorm_starts_as_the_plain_normalisation():
    params = init_layernorm(3)
    assert params["gain"].tolist() == [1, 1, 1]
    assert params["bias"].tolist() == [0, 0, 0]
