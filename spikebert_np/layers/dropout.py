"""Inverted dropout (Srivastava et al. 2014): what is kept is scaled up, so that the mean stays."""

from typing import NamedTuple

import numpy as np


class DropoutCache(NamedTuple):
    """The mask was drawn, and could only be made again from the same random numbers."""

    mask: np.ndarray | None  # of x's shape: 0 or 1 / (1 - rate); None where nothing was dropped


def dropout_forward(x, *, rate, rng):
    """y = x * mask, each entry of mask 0 with probability `rate`, else 1 / (1 - rate).

    x: any shape. rng: a numpy Generator in training; None (or rate 0) returns x itself.
    """
    if rng is None or rate == 0:
        return x, DropoutCache(None)
    keep = rng.random(x.shape, dtype=np.float32) >= rate
    mask = keep.astype(x.dtype) * x.dtype.type(1 / (1 - rate))
    return x * mask, DropoutCache(mask)


def dropout_backward(dy, cache):
    """dx = dy * mask, the same mask."""
    return dy if cache.mask is None else dy * cache.mask
