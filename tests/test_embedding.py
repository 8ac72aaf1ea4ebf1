"""Embeddings: what is refused, what starts where, and where a gradient's rows go."""

import numpy as np
import pytest

from spikebert_np.layers.embedding import (
    embedding_backward,
    embedding_forward,
    positions_forward,
    token_positions,
)
from spikebert_np.layers.initializers import init_embedding

OFFSETS = np.array([0, 2, 3, 7])


def test_a_sentence_longer_than_the_positions_is_refused(rng):
    x, positions = rng.standard_normal((7, 3)), rng.standard_normal((3, 3))
    with pytest.raises(ValueError, match="4 tokens, but only 3 positions"):
        positions_forward(x, positions, OFFSETS)


def test_positions_start_anew_in_each_sentence():
    assert token_positions(OFFSETS).tolist() == [0, 1, 0, 0, 1, 2, 3]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_gradient_holds_the_rows_of_the_batch_alone(rng, backend):
    ids = np.array([4, 1, 4, 0, 4, 1], np.int32)
    dy = rng.standard_normal((6, 3))
    _, cache = embedding_forward(ids, np.zeros((9, 3)), backend=backend)
    gradient = embedding_backward(dy, cache)
    assert gradient.ids.tolist() == [0, 1, 4]
    np.testing.assert_allclose(gradient.rows, [dy[3], dy[1] + dy[5], dy[0] + dy[2] + dy[4]])
    assert not gradient.dense(9)[[2, 3, 5, 6, 7, 8]].any()


def test_a_third_of_a_fresh_embedding_lies_beyond_one(rng):
    rows = init_embedding(rng, 300, 40)
    assert rows.dtype == np.float32
    assert (np.abs(rows) > 1).mean() == pytest.approx(0.317, abs=0.02)
