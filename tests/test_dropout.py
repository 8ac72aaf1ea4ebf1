"""Dropout: what share it drops, what it does to the mean, and when it does nothing."""

import numpy as np
import pytest

from spikebert_np.layers.dropout import dropout_backward, dropout_forward


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    y, _ = dropout_forward(np.ones((200, 300)), rate=0.4, rng=np.random.default_rng(5))
    assert (y == 0).mean() == pytest.approx(0.4, abs=0.01)
    assert np.unique(y).tolist() == pytest.approx([0, 1 / 0.6], abs=1e-12)
    assert y.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("rate", "seed"), [(0.4, None), (0.0, 5)])
def test_nothing_is_dropped_outside_training(rate, seed):
    x = np.arange(6.0)
    rng = None if seed is None else np.random.default_rng(seed)
    y, cache = dropout_forward(x, rate=rate, rng=rng)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dropout_backward(x, cache), x)
