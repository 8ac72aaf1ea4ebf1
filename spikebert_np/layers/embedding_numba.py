"""Numba twin of the embedding's scatter-add."""

import numpy as np

from .kernel import kernel


@kernel()
def _scatter_add(rows, position, dy):
    for n in range(len(position)):
        row = position[n]
        for d in range(dy.shape[1]):
            rows[row, d] += dy[n, d]


def scatter_add(rows, position, dy):
    """rows[position[n]] += dy[n] for each n in order: rows (R, D), position (N,), dy (N, D)."""
    _scatter_add(rows, position, np.ascontiguousarray(dy))
