"""Word and position embeddings.

Letters: N packed tokens, V vocabulary, D width, R distinct ids of the batch, L positions.
"""

from typing import NamedTuple

import numpy as np


class RowGradient(NamedTuple):
    """The gradient of an embedding matrix: only the rows that the batch touched are not zero.

    A dense (V, D) gradient would be zero in all but a few hundred of 30,522 rows.
    """

    ids: np.ndarray  # (R,) distinct, ascending
    rows: np.ndarray  # (R, D)

    def dense(self, vocab_size):
        """The whole (V, D) gradient."""
        full = np.zeros((vocab_size, self.rows.shape[1]), self.rows.dtype)
        full[self.ids] = self.rows
        return full


class EmbeddingCache(NamedTuple):
    """The weight itself is not needed: a look-up is linear in it."""

    ids: np.ndarray  # (N,)
    backend: str


def embedding_forward(ids, weight, *, backend="numpy"):
    """y[n] = weight[ids[n]].

    ids: (N,) integers in [0, V), weight: (V, D). Returns y (N, D) and the cache.
    """
    return weight[ids], EmbeddingCache(ids, backend)


def embedding_backward(dy, cache):
    """dweight[i] = the sum of dy[n] over all n with ids[n] = i, as a RowGradient.

    Ids have no gradient, so dweight is the only one. A word that stands twice must be added twice.
    """
    ids, backend = cache
    distinct, position = np.unique(ids, return_inverse=True)  # (R,), (N,)
    rows = np.zeros((len(distinct), dy.shape[1]), dy.dtype)  # (R, D)
    _add_rows(rows, position, dy, backend)
    return RowGradient(distinct, rows)


class PositionsCache(NamedTuple):
    """Which row of the position matrix each token was given."""

    position: np.ndarray  # (N,)
    rows: int  # L
    backend: str


def token_positions(offsets):
    """(N,): 0, 1, 2, ... anew in each sentence."""
    lengths = np.diff(offsets)
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)


def positions_forward(x, positions, offsets, *, backend="numpy"):
    """y[n] = x[n] + positions[n - start of its sentence].

    x: (N, D), positions: (L, D), offsets: (B + 1,). Returns y (N, D) and the cache.
    Raises ValueError where a sentence is longer than L.
    """
    position = token_positions(offsets)
    if position.max(initial=0) >= len(positions):
        longest = int(np.diff(offsets).max())
        raise ValueError(f"a sentence of {longest} tokens, but only {len(positions)} positions")
    return x + positions[position], PositionsCache(position, len(positions), backend)


def positions_backward(dy, cache):
    """dx = dy (N, D); dpositions (L, D) adds up dy over the sentences."""
    dpositions = np.zeros((cache.rows, dy.shape[1]), dy.dtype)
    _add_rows(dpositions, cache.position, dy, cache.backend)
    return dy, dpositions


def _add_rows(rows, position, dy, backend):
    """rows[position[n]] += dy[n] for each n; rows[position] += dy would keep only the last."""
    if backend != "numpy":
        from .embedding_numba import scatter_add

        scatter_add(rows, position, dy)
    else:
        np.add.at(rows, position, dy)
