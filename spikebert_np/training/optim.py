"""AdamW and gradient clipping.

Letters: V vocabulary, D width, R distinct ids of the batch.
"""

from typing import NamedTuple

import numpy as np

from ..layers.embedding import RowGradient


class AdamWState(NamedTuple):
    """Running means of the gradient and of its square, under the parameters' keys."""

    mean: dict
    square: dict
    step: int


def adamw_init(params):
    """Zero means, for a dict of parameters."""
    return AdamWState(
        {key: np.zeros_like(value) for key, value in params.items()},
        {key: np.zeros_like(value) for key, value in params.items()},
        0,
    )


def is_decayed(key):
    """Weight matrices decay; biases, gains, positions and embedding rows do not."""
    return key.endswith(".weight") and key != "embedding.weight"


def adamw_step(
    params, grads, state, *, learning_rate, weight_decay=0.01, betas=(0.9, 0.999), eps=1e-8
):
    """One step of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), in place.

        m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g²
        p = p - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps) - lr decay p

    params, state: changed in place. grads: a dict of arrays and RowGradients; a RowGradient moves
    only its R rows and their means, so that the cost does not grow with V. A parameter without a
    gradient stays. Returns the state of the next step.
    """
    beta1, beta2 = betas
    step = state.step + 1
    rate = learning_rate / (1 - beta1**step)
    square_correction = 1 / (1 - beta2**step)
    for key, grad in grads.items():
        rows = ...
        if isinstance(grad, RowGradient):
            rows, grad = grad
        param, mean, square = params[key], state.mean[key], state.square[key]
        new_mean = beta1 * mean[rows] + (1 - beta1) * grad
        new_square = beta2 * square[rows] + (1 - beta2) * np.square(grad)
        mean[rows], square[rows] = new_mean, new_square
        if is_decayed(key):
            param *= 1 - learning_rate * weight_decay
        param[rows] -= rate * new_mean / (np.sqrt(new_square * square_correction) + eps)
    return AdamWState(state.mean, state.square, step)


def _values(grad):
    return grad.rows if isinstance(grad, RowGradient) else grad


def clip_gradients(grads, max_norm):
    """Scale all gradients in place so that their joint Euclidean norm is at most max_norm.

    Returns the norm before clipping.
    """
    # Summed in float64: a sum of squares over millions of float32 entries loses digits.
    norm = float(
        np.sqrt(sum(np.square(_values(g), dtype=np.float64).sum() for g in grads.values()))
    )
    if norm > max_norm:
        for grad in grads.values():
            values = _values(grad)
            values *= max_norm / norm
    return norm
