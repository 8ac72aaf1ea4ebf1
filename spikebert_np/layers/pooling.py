"""Means and maxima over the tokens of each sentence, and means over time.

Letters: T spike steps, N packed tokens, B sentences, D width; `...` is none or T.
"""

from typing import NamedTuple

import numpy as np


class MeanPoolCache(NamedTuple):
    """A token's share of the gradient hangs on the sentence's length, and on no number of x."""

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


class MaxPoolCache(NamedTuple):
    """Which token won: the gradient goes to it alone."""

    winners: np.ndarray  # (..., B, D) index into the N tokens
    offsets: np.ndarray  # (B + 1,)


def max_pool_forward(x, offsets):
    """y[b] = the largest of x[offsets[b]:offsets[b+1]], for each of the D columns by itself.

    x: (..., N, D), offsets: (B + 1,), no sentence empty. Of equal tokens the first wins.
    Returns y (..., B, D) and the cache.
    """
    *leading, _, D = x.shape
    winners = np.empty((*leading, len(offsets) - 1, D), np.intp)  # (..., B, D)
    for b, start in enumerate(offsets[:-1]):
        winners[..., b, :] = start + x[..., start : offsets[b + 1], :].argmax(axis=-2)
    return np.take_along_axis(x, winners, axis=-2), MaxPoolCache(winners, offsets)


def max_pool_backward(dy, cache):
    """dx = dy at the token that won, 0 at all others: (..., B, D) -> (..., N, D).

    Where tokens tie the maximum has a corner: any split among them is a subgradient. The first one
    takes all of it, as in PyTorch's max over an axis.
    """
    winners, offsets = cache
    *leading, _, D = dy.shape
    dx = np.zeros((*leading, offsets[-1], D), dy.dtype)  # (..., N, D)
    # y[b] = x[winners[b]]; two sentences never share a token, so nothing is overwritten.
    np.put_along_axis(dx, winners, dy, axis=-2)
    return dx


class MeanOverTimeCache(NamedTuple):
    """Each step has 1/T of the gradient, whatever x was: T is enough."""

    steps: int  # T


def mean_over_time_forward(x):
    """y = the mean over T: (T, ...) -> (...), and the cache."""
    return x.mean(axis=0), MeanOverTimeCache(len(x))


def mean_over_time_backward(dy, cache):
    """dx[t] = dy / T at every step: (...) -> (T, ...), a read-only view."""
    return np.broadcast_to(dy / dy.dtype.type(cache.steps), (cache.steps, *dy.shape))
