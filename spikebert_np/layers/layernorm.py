"""Layer normalisation over the last axis (Ba, Kiros and Hinton 2016, arXiv 1607.06450).

Letters: D width; `...` is any leading shape.
"""

from typing import NamedTuple

import numpy as np


class LayerNormCache(NamedTuple):
    """x_hat and 1/std are kept: recomputing them would repeat both passes over x."""

    x_hat: np.ndarray  # (..., D)
    inv_std: np.ndarray  # (..., 1)
    gain: np.ndarray  # (D,)


def layernorm_forward(x, gain, bias, *, eps=1e-5):
    """y = gain * x_hat + bias, x_hat = (x - mean) / sqrt(var + eps), var divided by D.

    x: (..., D), gain and bias: (D,). Returns y (..., D) and the cache.
    """
    # 1. Centre.
    centred = x - x.mean(axis=-1, keepdims=True)  # (..., D)
    # 2. Scale to unit variance.
    variance = np.square(centred).mean(axis=-1, keepdims=True)  # (..., 1)
    inv_std = 1 / np.sqrt(variance + x.dtype.type(eps))  # (..., 1)
    x_hat = centred * inv_std  # (..., D)
    # 3. Gain and bias.
    return x_hat * gain + bias, LayerNormCache(x_hat, inv_std, gain)


def layernorm_backward(dy, cache):
    """dx = (dx_hat - mean(dx_hat) - x_hat mean(dx_hat x_hat)) / std, with dx_hat = dy gain.

    Every x moves the mean and the variance of its row: these are the two subtracted means.
    dy: (..., D). Returns dx (..., D), dgain (D,), dbias (D,).
    """
    x_hat, inv_std, gain = cache
    leading_axes = tuple(range(dy.ndim - 1))
    # y = x_hat * gain + bias
    dbias = dy.sum(axis=leading_axes)  # (D,)
    dgain = (dy * x_hat).sum(axis=leading_axes)  # (D,)
    dx_hat = dy * gain  # (..., D)
    # x_hat = (x - mean) * inv_std
    mean_dx_hat = dx_hat.mean(axis=-1, keepdims=True)  # (..., 1)
    mean_dx_hat_x_hat = (dx_hat * x_hat).mean(axis=-1, keepdims=True)  # (..., 1)
    dx = (dx_hat - mean_dx_hat - x_hat * mean_dx_hat_x_hat) * inv_std  # (..., D)
    return dx, dgain, dbias
