"""Means over the tokens of each sentence, and over time.

Letters: T spike steps, N packed tokens, B sentences, D width.
"""

from typing import NamedTuple

import numpy as np


class MeanPoolCache(NamedTuple):
    lengths: np.ndarray  # (B,) tokens of each sentence


def mean_pool_forward(x, offsets):
    """y[:, b] = the mean of x[:, offsets[b]:offsets[b+1]]: no pad token can enter it.

    x: (T, N, D), offsets: (B + 1,), no sentence empty. Returns y (T, B, D) and the cache.
    """
    lengths = np.diff(offsets)
    total = np.add.reduceat(x, offsets[:-1], axis=1)  # (T, B, D)
    return total / lengths[:, None].astype(x.dtype), MeanPoolCache(lengths)


def mean_pool_backward(dy, cache):
    """dx of each token = dy of its sentence / the sentence's length: (T, B, D) -> (T, N, D)."""
    (lengths,) = cache
    dy_per_token = dy / lengths[:, None].astype(dy.dtype)  # (T, B, D)
    return np.repeat(dy_per_token, lengths, axis=1)  # (T, N, D)


class MeanOverTimeCache(NamedTuple):
    steps: int  # T


def mean_over_time_forward(x):
    """y = the mean over T: (T, ...) -> (...), and the cache."""
    return x.mean(axis=0), MeanOverTimeCache(len(x))


def mean_over_time_backward(dy, cache):
    """dx[t] = dy / T at every step: (...) -> (T, ...), a read-only view."""
    return np.broadcast_to(dy / dy.dtype.type(cache.steps), (cache.steps, *dy.shape))
