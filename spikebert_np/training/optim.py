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
    params,
    grads,
    state,
    *,
    learning_rate,
    weight_decay=0.01,
    betas=(0.9, 0.999),
    eps=1e-8,
    scales=None,
    backend="numpy",
    run=map,
):
    """One step of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), in place.

        m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g²
        p = p - lr (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps) - lr decay p

    params, state: changed in place. grads: a dict of arrays and RowGradients; a RowGradient moves
    only its R rows and their means, so that the cost does not grow with V. A parameter without a
    gradient stays. scales: {key: factor of its learning rate}, 1 where a key is missing.
    run: `map`, or that of `training.workers`, which moves several parameters at once.
    Returns the state of the next step.
    """
    beta1, beta2 = betas
    step = state.step + 1
    square_correction = 1 / (1 - beta2**step)

    def move(key):
        grad, rows = grads[key], ...
        param, mean, square = params[key], state.mean[key], state.square[key]
        own_rate = learning_rate * (scales or {}).get(key, 1.0)
        rate = own_rate / (1 - beta1**step)
        keep = 1 - own_rate * weight_decay if is_decayed(key) else 1.0
        if backend == "numba" and not isinstance(grad, RowGradient):
            from .optim_numba import adamw

            adamw(param, grad, mean, square, beta1, beta2, rate, square_correction, eps, keep)
            return
        if isinstance(grad, RowGradient):
            rows, grad = grad
        new_mean = beta1 * mean[rows] + (1 - beta1) * grad
        new_square = beta2 * square[rows] + (1 - beta2) * np.square(grad)
        mean[rows], square[rows] = new_mean, new_square
        if keep != 1:
            param *= keep
        param[rows] -= rate * new_mean / (np.sqrt(new_square * square_correction) + eps)

    list(run(move, grads))
    return AdamWState(state.mean, state.square, step)


def _values(grad):
    return grad.rows if isinstance(grad, RowGradient) else grad


def clip_gradients(grads, max_norm, *, run=map):
    """Scale all gradients in place so that their joint Euclidean norm is at most max_norm.

    run: as in `adamw_step`. Returns the norm before clipping; what is not finite is left as it is.
    """

    # Summed in float64: a sum of squares over millions of float32 entries loses digits.
    def squared_norm(grad):
        return np.square(_values(grad), dtype=np.float64).sum()

    norm = float(np.sqrt(sum(run(squared_norm, grads.values()))))
    if max_norm < norm < np.inf:

        def scale(grad):
            values = _values(grad)
            values *= max_norm / norm

        list(run(scale, grads.values()))
    return norm


def update(params, grads, state, rate, settings, *, scales=None, backend, run):
    """Clip the gradients and move the parameters, both in place; these not by a gradient that is
    not finite, of which they would never recover.

    settings: with clip_norm and weight_decay. scales, backend, run: as in `adamw_step`.
    Returns AdamW's next state, and the gradients' norm before clipping.
    """
    norm = clip_gradients(grads, settings.clip_norm, run=run)
    if np.isfinite(norm):
        state = adamw_step(
            params,
            grads,
            state,
            learning_rate=rate,
            weight_decay=settings.weight_decay,
            scales=scales,
            backend=backend,
            run=run,
        )
    return state, norm
