"""The sparse classifier against dense arithmetic and the conditions of the minimum it claims."""

import numpy as np
import pytest

from spikebert_np.training.linear_head import choose_penalty
from spikebert_np.training.sparse_head import (
    SPARSE_PENALTIES,
    BinaryRows,
    _newton_direction,
    binary_rows,
    fit_sparse_head,
    word_columns,
)


def random_rows(rng, texts=60, words=25):
    dense = (rng.random((texts, words)) < 0.15).astype(np.float32)
    dense[[0, 7, 8, texts - 1]] = 0  # texts without a known word: first, neighbours, last
    offsets = np.concatenate([[0], np.cumsum(dense.sum(axis=1, dtype=int))])
    return BinaryRows(np.nonzero(dense)[1], offsets, words), dense


def test_products_are_those_of_the_dense_matrix(rng):
    rows, dense = random_rows(rng)
    weight = rng.standard_normal((25, 3)).astype(np.float32)
    dlogits = rng.standard_normal((60, 3)).astype(np.float32)
    np.testing.assert_allclose(rows @ weight, dense @ weight, atol=1e-5)
    np.testing.assert_allclose(rows.T @ dlogits, dense.T @ dlogits, atol=1e-5)
    assert rows.shape == dense.shape
    assert not (BinaryRows(np.empty(0, int), np.array([0, 0]), 25) @ weight).any()


def test_rows_say_whether_a_text_has_a_word_or_bigram():
    columns = word_columns(["good good film", "bad"])
    assert list(columns) == ["bad", "film", "good", "good film", "good good"]
    dense = binary_rows(["good good good", "new"], columns) @ np.eye(5, dtype=np.float32)
    assert dense.tolist() == [[0, 0, 1, 0, 1], [0, 0, 0, 0, 0]]


@pytest.mark.parametrize("penalty", [0.1, 1e-3])
def test_the_gradient_of_loss_and_penalty_vanishes(rng, penalty):
    rows, dense = random_rows(rng)
    labels = rng.integers(0, 3, 60)
    weight, bias = fit_sparse_head(rows, labels, 3, penalty=penalty)
    logits = (dense @ weight + bias).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    dlogits = (probabilities - np.eye(3)[labels]) / 60
    start = dense.T @ (1 / 3 - np.eye(3)[labels]) / 60
    assert np.abs(weight).max() > 0.1
    assert np.linalg.norm(dense.T @ dlogits + penalty * weight) < 1e-3 * np.linalg.norm(start)
    assert np.linalg.norm(dlogits.sum(axis=0)) < 1e-3 * np.linalg.norm(start)
    again, _ = fit_sparse_head(rows, labels, 3, penalty=penalty)
    assert np.array_equal(again, weight)


def test_the_penalty_is_the_one_that_dev_likes_best(rng):
    """Labels of chance, and one word that tells the class in nine texts of ten: shrink the rest."""
    dense = (rng.random((200, 150)) < 0.1).astype(np.float32)
    labels = rng.integers(0, 2, 200)
    dense[:, 0] = labels ^ (rng.random(200) < 0.1)
    offsets = np.concatenate([[0], np.cumsum(dense.sum(axis=1, dtype=int))])
    columns = np.nonzero(dense)[1]
    train, dev = (
        BinaryRows(columns[offsets[a] : offsets[b]], offsets[a : b + 1] - offsets[a], 150)
        for a, b in ((0, 100), (100, 200))
    )
    split = (train, labels[:100], 2, dev, labels[100:])
    penalties = (10.0, 1.0, *SPARSE_PENALTIES)
    penalty = choose_penalty(*split, fit=fit_sparse_head, penalties=penalties)

    def score(penalty):
        weight, bias = fit_sparse_head(train, labels[:100], 2, penalty=penalty)
        return ((dev @ weight + bias).argmax(axis=1) == labels[100:]).mean()

    scores = {penalty: score(penalty) for penalty in penalties}
    assert len(set(scores.values())) > 1
    assert scores[penalty] == max(scores.values())


def test_the_newton_direction_knows_the_curvature_it_has_seen(rng):
    """The secant equation: of the last (s, y), H y = s; so the step for the gradient y is -s."""
    a = rng.standard_normal((6, 6))
    moves = rng.standard_normal((4, 6, 1))
    pairs = [(s, (a @ a.T + np.eye(6)) @ s) for s in moves]
    s, y = pairs[-1]
    np.testing.assert_allclose(_newton_direction(y, pairs), -s, atol=1e-10)
    assert np.array_equal(_newton_direction(y, []), -y)
