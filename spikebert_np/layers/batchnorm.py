"""Batch normalisation: each channel by itself, over all steps and tokens of the batch (Ioffe and
Szegedy 2015, arXiv 1502.03167; over the steps too: Zheng et al. 2021, arXiv 2011.05280).

Layer norm's formula with the mean taken down the columns instead of along the rows. What a token
becomes then hangs on the rest of its batch, so that evaluation needs statistics that were kept.

Letters: D width; `...` is any leading shape, (T, N) in a student.
"""

from typing import NamedTuple

import numpy as np


class BatchNormCache(NamedTuple):
    """Mean and variance are kept for the training loop, which averages them over the batches."""

    x_hat: np.ndarray  # (..., D)
    inv_std: np.ndarray  # (D,)
    gain: np.ndarray  # (D,)
    mean: np.ndarray  # (D,)
    variance: np.ndarray  # (D,)
    running: bool  # whether the two were given: constants, which no x moves


def batchnorm_forward(x, gain, bias, *, running=None, eps=1e-5):
    """y = gain * x_hat + bias, x_hat = (x - mean) / sqrt(var + eps), var divided by the rows.

    x: (..., D), gain and bias: (D,). running: the mean and the variance, each (D,), to be taken in
    place of the batch's own: for evaluation. Returns y (..., D) and the cache.
    """
    leading_axes = tuple(range(x.ndim - 1))
    # 1. Centre.
    mean = x.mean(axis=leading_axes) if running is None else running[0]  # (D,)
    centred = x - mean  # (..., D)
    # 2. Scale to unit variance.
    variance = np.square(centred).mean(axis=leading_axes) if running is None else running[1]  # (D,)
    inv_std = 1 / np.sqrt(variance + x.dtype.type(eps))  # (D,)
    x_hat = centred * inv_std  # (..., D)
    # 3. Gain and bias.
    cache = BatchNormCache(x_hat, inv_std, gain, mean, variance, running is not None)
    return x_hat * gain + bias, cache


def batchnorm_backward(dy, cache):
    """dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / std, with dx_hat = dy gain.

    Every x moves the mean and the variance of its channel: these are the two subtracted means, over
    the rows. Statistics that were given are constants, and dx = dx_hat / std.
    dy: (..., D). Returns dx (..., D), dgain (D,), dbias (D,).
    """
    x_hat, inv_std, gain, *_ = cache
    leading_axes = tuple(range(dy.ndim - 1))
    # y = x_hat * gain + bias
    dbias = dy.sum(axis=leading_axes)  # (D,)
    dgain = (dy * x_hat).sum(axis=leading_axes)  # (D,)
    dx_hat = dy * gain  # (..., D)
    # x_hat = (x - mean) * inv_std
    if cache.running:
        return dx_hat * inv_std, dgain, dbias
    mean_dx_hat = dx_hat.mean(axis=leading_axes)  # (D,)
    mean_dx_hat_x_hat = (dx_hat * x_hat).mean(axis=leading_axes)  # (D,)
    dx = (dx_hat - mean_dx_hat - x_hat * mean_dx_hat_x_hat) * inv_std  # (..., D)
    return dx, dgain, dbias
