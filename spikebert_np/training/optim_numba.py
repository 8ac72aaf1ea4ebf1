"""Numba twin of AdamW: one pass over each parameter instead of a dozen.

Every scalar is passed in the parameter's dtype: a Python float would promote float32 to float64.
"""

import numpy as np

from ..layers.kernel import kernel


@kernel()
def _adamw(
    param, grad, mean, square, beta1, rest1, beta2, rest2, rate, square_correction, eps, keep
):
    for i in range(param.size):
        mean[i] = beta1 * mean[i] + rest1 * grad[i]
        square[i] = beta2 * square[i] + rest2 * (grad[i] * grad[i])
        param[i] *= keep
        param[i] -= rate * mean[i] / (np.sqrt(square[i] * square_correction) + eps)


def adamw(param, grad, mean, square, beta1, beta2, rate, square_correction, eps, keep):
    """Move param, mean and square (any one shape, contiguous) in place, as `adamw_step` says.

    rate: the learning rate over 1 - beta1^step. keep: 1 - learning rate times weight decay.
    """
    flat = [array.reshape(-1) for array in (param, np.ascontiguousarray(grad), mean, square)]
    numbers = (beta1, 1 - beta1, beta2, 1 - beta2, rate, square_correction, eps, keep)
    _adamw(*flat, *(param.dtype.type(number) for number in numbers))
