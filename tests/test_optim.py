"""AdamW against its formula, rows that stay untouched, clipping, the schedule."""

from itertools import pairwise

import numpy as np
import pytest

from spikebert_np.layers.embedding import RowGradient
from spikebert_np.training.optim import adamw_init, adamw_step, clip_gradients
from spikebert_np.training.schedule import warmup_cosine


def test_adamw_follows_its_formula():
    p, m, v = 1.5, 0.0, 0.0
    params = {"a.weight": np.array([[p]]), "a.bias": np.array([p])}
    state = adamw_init(params)
    bias = p
    for step, g in enumerate([0.3, -2.0, 0.7], start=1):
        grads = {"a.weight": np.array([[g]]), "a.bias": np.array([g])}
        state = adamw_step(params, grads, state, learning_rate=0.1, weight_decay=0.2)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        move = 0.1 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        p = p * (1 - 0.1 * 0.2) - move
        bias -= move
        assert params["a.weight"][0, 0] == pytest.approx(p, rel=1e-12)
        assert params["a.bias"][0] == pytest.approx(bias, rel=1e-12)


def test_adamw_moves_only_the_rows_of_the_batch(rng):
    dense, sparse = {}, {}
    start = rng.standard_normal((6, 3))
    for params in (dense, sparse):
        params["embedding.weight"] = start.copy()
    dense_state, sparse_state = adamw_init(dense), adamw_init(sparse)
    for _ in range(3):
        gradient = RowGradient(np.array([1, 4]), rng.standard_normal((2, 3)))
        grads = {"embedding.weight": gradient}
        sparse_state = adamw_step(sparse, grads, sparse_state, learning_rate=0.1)
        grads = {"embedding.weight": gradient.dense(6)}
        dense_state = adamw_step(dense, grads, dense_state, learning_rate=0.1)
    untouched = [0, 2, 3, 5]
    assert np.array_equal(sparse["embedding.weight"][untouched], start[untouched])
    assert np.allclose(sparse["embedding.weight"], dense["embedding.weight"], atol=1e-14)
    assert not np.allclose(sparse["embedding.weight"][1], start[1])


def test_a_parameter_without_gradient_stays():
    params = {"a.weight": np.ones((2, 2)), "b.weight": np.ones((2, 2))}
    adamw_step(params, {"a.weight": np.ones((2, 2))}, adamw_init(params), learning_rate=0.1)
    assert np.array_equal(params["b.weight"], np.ones((2, 2)))


def test_clipping_scales_all_gradients_to_the_norm():
    grads = {"a": np.array([3.0]), "b": RowGradient(np.array([5]), np.array([[4.0]]))}
    assert clip_gradients(grads, 10) == 5
    assert grads["a"][0] == 3
    assert clip_gradients(grads, 1) == 5
    assert grads["a"][0] == pytest.approx(0.6)
    assert grads["b"].rows[0, 0] == pytest.approx(0.8)


def test_schedule_rises_then_falls_to_zero():
    rates = [warmup_cosine(step, 100, peak=2.0, warmup=0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == rates[10] == 2.0
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] < 0.01
