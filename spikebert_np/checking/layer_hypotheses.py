"""What the layers' backward passes would give with one term of their formula wrong, term by term.

The LIF neuron's stand in `lif_hypotheses.py`, the blocks' in `block_hypotheses.py`. A
long file, because it is a list: each entry is read by itself.
"""

import numpy as np

from ..layers.activations import gelu_backward, tanh_backward
from ..layers.batchnorm import batchnorm_backward
from ..layers.dropout import dropout_backward
from ..layers.embedding import RowGradient, embedding_backward, positions_backward
from ..layers.layernorm import LayerNormCache, layernorm_backward
from ..layers.linear import linear_backward
from ..layers.losses import (
    cosine_backward,
    cross_entropy_backward,
    kl_divergence_backward,
    mse_backward,
)
from ..layers.pooling import mean_over_time_backward, mean_pool_backward
from ..layers.softmax import softmax_backward

# --- linear -------------------------------------------------------------------------------------


def linear_by(*, x=None, rows=None, back=None):
    """dx by `back`, and the parameters' gradients from the chosen rows of x and of dy."""

    def backward(dy, cache):
        dx, dweight, dbias = linear_backward(dy, cache)
        flat_x = cache.x.reshape(-1, cache.x.shape[-1])
        flat_dy = dy.reshape(-1, dy.shape[-1])
        if rows is not None and dy.ndim == 3:
            flat_x, flat_dy = cache.x[rows], dy[rows]
        dweight, dbias = x(flat_x, flat_dy, dweight, dbias)
        if back and cache.weight.shape[0] == cache.weight.shape[1]:
            dx = back(dy, cache.weight)
        return dx, dweight, dbias

    return backward


def kept(x, dy, dweight, dbias):
    return dweight, dbias


LINEAR = [  # what may be wrong in dW, in db and in dx
    ("last step only", linear_by(rows=-1, x=lambda x, dy, dw, db: (x.T @ dy, db))),
    ("last step only", linear_by(rows=-1, x=lambda x, dy, dw, db: (dw, dy.sum(axis=0)))),
    ("last step only", linear_by(rows=-1, x=lambda x, dy, dw, db: (x.T @ dy, dy.sum(axis=0)))),
    ("first step only", linear_by(rows=0, x=lambda x, dy, dw, db: (x.T @ dy, db))),
    ("first step only", linear_by(rows=0, x=lambda x, dy, dw, db: (dw, dy.sum(axis=0)))),
    ("first step only", linear_by(rows=0, x=lambda x, dy, dw, db: (x.T @ dy, dy.sum(axis=0)))),
    ("averaged, not summed", linear_by(x=lambda x, dy, dw, db: (dw / len(x), db / len(x)))),
    ("averaged, not summed", linear_by(x=lambda x, dy, dw, db: (dw, db / len(x)))),
    ("averaged, not summed", linear_by(x=lambda x, dy, dw, db: (dw / len(x), db))),
    ("input left out", linear_by(
        x=lambda x, dy, dw, db: (np.broadcast_to(db, dw.shape), db))),
    ("weight not transposed", linear_by(x=kept, back=lambda dy, weight: dy @ weight)),
    ("gradient missing", linear_by(x=lambda x, dy, dw, db: (dw, 0 * db))),
    ("gradient missing", linear_by(x=lambda x, dy, dw, db: (0 * dw, db))),
]  # fmt: skip

# --- layer norm:  dx = (M dx_hat) / std ---------------------------------------------------------


def norm_by(*, mean=1, variance=1, power=1, with_gain=True, axis=-1, gain=None, bias=None):
    """layernorm_backward with shares of its two means, a power of 1/std, and other parameters'
    gradients where `gain` and `bias`, functions of (dy, x_hat, gain), say so."""

    def backward(dy, cache):
        x_hat, inv_std, weight = cache
        _, dgain, dbias = layernorm_backward(dy, cache)
        dx_hat = dy * weight if with_gain else dy
        dx = dx_hat - mean * dx_hat.mean(axis=axis, keepdims=True)
        dx = dx - variance * x_hat * (dx_hat * x_hat).mean(axis=axis, keepdims=True)
        right = dgain, dbias
        dgain = gain(dy, x_hat, weight, right) if gain else dgain
        dbias = bias(dy, x_hat, weight, right) if bias else dbias
        return dx * inv_std**power, dgain, dbias

    return backward


def norm_by_raw(*, mean=False, variance=False):
    """layernorm_backward with dy in place of dx_hat = dy gain in one of its two means."""

    def backward(dy, cache):
        x_hat, inv_std, gain = cache
        _, dgain, dbias = layernorm_backward(dy, cache)
        dx_hat = dy * gain
        of_mean, of_variance = dy if mean else dx_hat, dy if variance else dx_hat
        dx = dx_hat - of_mean.mean(axis=-1, keepdims=True)
        dx = dx - x_hat * (of_variance * x_hat).mean(axis=-1, keepdims=True)
        return dx * inv_std, dgain, dbias

    return backward


def norm_by_sums(*, mean=True, variance=True):
    """layernorm_backward with a sum over the width in place of one of its two means, or of both."""

    def backward(dy, cache):
        width = cache.x_hat.shape[-1]
        return norm_by(mean=width**mean, variance=width**variance)(dy, cache)

    return backward


def norm_without_x_hat(inside):
    """layernorm_backward with one of the two x_hat of its variance's term left out."""

    def backward(dy, cache):
        x_hat, inv_std, gain = cache
        dx, dgain, dbias = norm_by(variance=0)(dy, cache)
        dx_hat = dy * gain
        of_variance = (dx_hat if inside else dx_hat * x_hat).mean(axis=-1, keepdims=True)
        return dx - (x_hat if inside else 1) * of_variance * inv_std, dgain, dbias

    return backward


def norm_with_the_gain_last(dy, cache):
    dx, dgain, dbias = norm_by(with_gain=False)(dy, cache)
    return dx * cache.gain, dgain, dbias


def norm_by_the_sample_variance(dy, cache):
    width = cache.x_hat.shape[-1]
    return norm_by(variance=width / (width - 1))(dy, cache)


def over_rows(x):
    return x.sum(axis=tuple(range(x.ndim - 1)))


LAYERNORM = [
    ("mean term missing", norm_by(mean=0)),
    ("variance term missing", norm_by(variance=0)),
    ("mean added, not subtracted", norm_by(variance=-1)),
    ("mean added, not subtracted", norm_by(mean=-1)),
    ("mean added, not subtracted", norm_by(mean=-1, variance=-1)),
    ("sums for means", norm_by_sums()),
    ("sums for means", norm_by_sums(mean=False)),
    ("sums for means", norm_by_sums(variance=False)),
    ("x_hat missing from the variance term", norm_without_x_hat(inside=True)),
    ("x_hat missing from the variance term", norm_without_x_hat(inside=False)),
    ("gain applied last", norm_with_the_gain_last),
    ("variance term without the gain", norm_by_raw(variance=True)),
    ("mean term without the gain", norm_by_raw(mean=True)),
    ("statistics held constant", norm_by(mean=0, variance=0)),
    ("gain left out", norm_by(with_gain=False)),
    ("1/std left out", norm_by(power=0)),
    ("1/std twice", norm_by(power=2)),
    ("1/std twice", norm_by(power=3)),
    ("times std, not 1/std", norm_by(power=-1)),
    ("variance divided by D - 1", norm_by_the_sample_variance),
    ("normalised over tokens", norm_by(axis=-2)),
    ("normalised over tokens", norm_by(axis=None)),
    ("gain gradient without x_hat", norm_by(gain=lambda dy, x, w, right: right[1])),
    ("gain gradient with the scaled x_hat", norm_by(gain=lambda dy, x, w, right: right[0] * w)),
    ("gradients swapped", norm_by(gain=lambda dy, x, w, r: r[1], bias=lambda dy, x, w, r: r[0])),
    ("last step only", norm_by(gain=lambda dy, x, w, r: over_rows(dy[-1] * x[-1]))),
    ("last step only", norm_by(bias=lambda dy, x, w, r: over_rows(dy[-1]))),
    ("last step only", norm_by(gain=lambda dy, x, w, r: over_rows(dy[-1] * x[-1]),
                               bias=lambda dy, x, w, r: over_rows(dy[-1]))),
    ("averaged, not summed", norm_by(gain=lambda dy, x, w, r: r[0] * len(r[0]) / dy.size,
                                     bias=lambda dy, x, w, r: r[1] * len(r[1]) / dy.size)),
    ("averaged, not summed", norm_by(gain=lambda dy, x, w, r: r[0] * len(r[0]) / dy.size)),
    ("averaged, not summed", norm_by(bias=lambda dy, x, w, r: r[1] * len(r[1]) / dy.size)),
]  # fmt: skip

# --- batch norm: layer norm's mistakes, over the rows --------------------------------------------


def batch_norm_by(wrong=None, *, of_given=False, **shares):
    """batchnorm_backward as norm_by(**shares), or as `wrong`, where its statistics are the batch's
    own; with of_given, where they were given."""

    def backward(dy, cache):
        if cache.running != of_given:
            return batchnorm_backward(dy, cache)
        rows = tuple(range(dy.ndim - 1))
        formula = wrong or norm_by(axis=rows, **shares)
        return formula(dy, LayerNormCache(cache.x_hat, cache.inv_std, cache.gain))

    return backward


BATCHNORM = [
    ("statistics held constant", batch_norm_by(mean=0, variance=0)),
    ("mean term missing", batch_norm_by(mean=0)),
    ("variance term missing", batch_norm_by(variance=0)),
    ("gain left out", batch_norm_by(with_gain=False)),
    ("1/std left out", batch_norm_by(power=0)),
    ("normalised over the width", batch_norm_by(norm_by())),
    ("given statistics moved", batch_norm_by(of_given=True)),
]

# --- embeddings ---------------------------------------------------------------------------------


def rows_by(combine):
    """embedding_backward with another way to put the gradients of one word together."""

    def backward(dy, cache):
        distinct = np.unique(cache.ids)
        return RowGradient(distinct, np.stack([combine(dy[cache.ids == i]) for i in distinct]))

    return backward


def positions_by(combine):
    def backward(dy, cache):
        dpositions = np.zeros((cache.rows, dy.shape[1]))
        for row in np.unique(cache.position):
            dpositions[row] = combine(dy[cache.position == row])
        return dy, dpositions

    return backward


def positions_through_the_batch(dy, cache):
    dpositions = np.zeros((cache.rows, dy.shape[1]))
    np.add.at(dpositions, np.minimum(np.arange(len(dy)), cache.rows - 1), dy)
    return dy, dpositions


def rows_of(how):
    return [
        ("rows overwritten", how(lambda rows: rows[-1])),
        ("rows overwritten", how(lambda rows: rows[0])),
        ("rows averaged", how(lambda rows: rows.mean(axis=0))),
        ("rows counted twice", how(lambda rows: len(rows) * rows.sum(axis=0))),
    ]


# --- elementwise layers, pooling and losses: short enough to be written out ---------------------


def swish_slope(x, sharpness):
    """The slope of x / (1 + exp(-sharpness x)), a cheap GELU."""
    gate = 1 / (1 + np.exp(-sharpness * x))
    return gate + sharpness * x * gate * (1 - gate)


def tanh_gelu_slope(x):
    """The slope of the tanh approximation, x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2."""
    inner = np.sqrt(2 / np.pi)
    t = np.tanh(inner * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x * (1 - t * t) * inner * (1 + 3 * 0.044715 * x * x) / 2


def kl_through_the_teacher(dloss, cache):
    student, teacher, temperature = cache
    log_ratio = np.log(teacher) - np.log(student)
    centred = log_ratio - (teacher * log_ratio).sum(axis=-1, keepdims=True)
    dteacher = teacher * centred * dloss * temperature / len(student)
    return kl_divergence_backward(dloss, cache) + dteacher


def reversed_kl(dloss, cache):
    """The gradient of KL(student || teacher)."""
    student, teacher, temperature = cache
    log_ratio = np.log(student) - np.log(teacher)
    centred = log_ratio - (student * log_ratio).sum(axis=-1, keepdims=True)
    return student * centred * (dloss * temperature / len(student))


def cross_entropy_of_probabilities(dloss, cache):
    """The gradient by the probabilities: -1 / q at the label."""
    probabilities, labels = cache
    rows = np.flatnonzero(labels >= 0)
    dprobabilities = np.zeros_like(probabilities)
    dprobabilities[rows, labels[rows]] = -dloss / len(labels) / probabilities[rows, labels[rows]]
    return dprobabilities


def scaled(backward, factor):
    """The same times a function of the cache."""
    return lambda dy, cache: backward(dy, cache) * factor(cache)


LAYER_HYPOTHESES = {
    linear_backward: LINEAR,
    layernorm_backward: LAYERNORM,
    batchnorm_backward: BATCHNORM,
    embedding_backward: rows_of(rows_by),
    positions_backward: [
        *rows_of(positions_by),
        ("positions not restarted", positions_through_the_batch),
        ("gradient missing", lambda dy, cache: (dy, np.zeros((cache.rows, dy.shape[1])))),
    ],
    gelu_backward: [
        ("density term missing", lambda dy, c: dy * c.cdf),
        ("density not normalised", lambda dy, c: dy * (c.cdf + c.x * np.exp(c.x * c.x / -2))),
        ("density not normalised",
         lambda dy, c: dy * (c.cdf + c.x * np.exp(c.x * c.x / -2) / np.sqrt(np.pi))),
        ("density without x",
         lambda dy, c: dy * (c.cdf + np.exp(c.x * c.x / -2) / np.sqrt(2 * np.pi))),
        ("another GELU", lambda dy, c: dy * swish_slope(c.x, 1.702)),
        ("another GELU", lambda dy, c: dy * tanh_gelu_slope(c.x)),
    ],
    tanh_backward: [
        ("tanh not squared", lambda dy, c: dy * (1 - c.y)),
        ("tanh not squared", lambda dy, c: dy * (1 - c.y) ** 2),
        ("slope at y for slope at x", lambda dy, c: dy * (1 + c.y * c.y)),
        ("slope at y for slope at x", lambda dy, c: dy * (1 - np.tanh(c.y) ** 2)),
    ],
    dropout_backward: [
        ("mask not scaled", lambda dy, c: dy if c.mask is None else dy * (c.mask > 0)),
        ("passed straight through", lambda dy, c: dy),
        ("mask inverted",
         lambda dy, c: dy if c.mask is None else dy * (c.mask == 0) * c.mask.max()),
        ("mask inverted", lambda dy, c: dy if c.mask is None else dy * (c.mask == 0)),
        ("mask not scaled", lambda dy, c: dy if c.mask is None else dy * c.mask**2),
        ("mask not scaled",
         lambda dy, c: dy if c.mask is None else dy * (c.mask > 0) / c.mask.max()),
    ],
    softmax_backward: [
        ("softmax's other entries", lambda dy, c: dy * c.y),
        ("softmax's diagonal", lambda dy, c: dy - c.y * (dy * c.y).sum(axis=-1, keepdims=True)),
        ("softmax's diagonal", lambda dy, c: -c.y * (dy * c.y).sum(axis=-1, keepdims=True)),
        ("softmax as a sigmoid", lambda dy, c: dy * c.y * (1 - c.y)),
        ("softmax over the wrong axis",
         lambda dy, c: c.y * (dy - (dy * c.y).sum(axis=-2, keepdims=True))),
        ("softmax's other entries",
         lambda dy, c: c.y * (dy - dy.sum(axis=-1, keepdims=True))),
        ("softmax's other entries",
         lambda dy, c: c.y * (dy - dy.mean(axis=-1, keepdims=True))),
        ("softmax's other entries",
         lambda dy, c: dy - (dy * c.y).sum(axis=-1, keepdims=True)),
    ],
    mean_pool_backward: [
        ("not divided by the length", lambda dy, c: np.repeat(dy, c.lengths, axis=1)),
        ("one length for all sentences",
         lambda dy, c: np.repeat(dy / c.lengths.mean(), c.lengths, axis=1)),
        ("one length for all sentences",
         lambda dy, c: np.repeat(dy / c.lengths.sum(), c.lengths, axis=1)),
        ("one length for all sentences",
         lambda dy, c: np.repeat(dy / c.lengths.max(), c.lengths, axis=1)),
    ],
    mean_over_time_backward: [
        ("not divided by T", lambda dy, c: np.broadcast_to(dy, (c.steps, *dy.shape))),
        ("last step only",
         lambda dy, c: np.stack([0 * dy] * (c.steps - 1) + [dy / c.steps])),
        ("last step only", lambda dy, c: np.stack([0 * dy] * (c.steps - 1) + [dy])),
    ],
    cross_entropy_backward: [
        ("one-hot not subtracted", lambda d, c: d * c.probabilities / len(c.labels)),
        ("one-hot not subtracted",
         lambda d, c: d * c.probabilities * (c.labels >= 0)[:, None] / len(c.labels)),
        ("a missing label read as the last class",
         lambda d, c: d * (c.probabilities - np.eye(c.probabilities.shape[1])[c.labels])
         / len(c.labels)),
        ("divided by the labelled sentences only",
         scaled(cross_entropy_backward, lambda c: len(c.labels) / (c.labels >= 0).sum())),
        ("not divided by the batch",
         scaled(cross_entropy_backward, lambda c: len(c.labels))),
        ("sign flipped", scaled(cross_entropy_backward, lambda c: -1)),
        ("one-hot's sign",
         lambda d, c: 2 * d * c.probabilities * (c.labels >= 0)[:, None] / len(c.labels)
         - cross_entropy_backward(d, c)),
        ("divided by the classes",
         scaled(cross_entropy_backward, lambda c: len(c.labels) / c.probabilities.size)),
        ("row of a missing label",
         lambda d, c: cross_entropy_backward(d, c)
         + d * c.probabilities * (c.labels < 0)[:, None] / len(c.labels)),
        ("softmax skipped", cross_entropy_of_probabilities),
        ("softmax as a sigmoid",
         lambda d, c: cross_entropy_backward(d, c) * c.probabilities * (1 - c.probabilities)),
    ],
    kl_divergence_backward: [
        ("temperature squared missing",
         scaled(kl_divergence_backward, lambda c: c.temperature**-2)),
        ("temperature of the logits missing",
         scaled(kl_divergence_backward, lambda c: c.temperature)),
        ("temperature of the logits missing",
         scaled(kl_divergence_backward, lambda c: 1 / c.temperature)),
        ("not divided by the batch",
         scaled(kl_divergence_backward, lambda c: len(c.student))),
        ("sign flipped", scaled(kl_divergence_backward, lambda c: -1)),
        ("gradient through the teacher", kl_through_the_teacher),
        ("reversed divergence", reversed_kl),
        ("logarithms compared",
         lambda d, c: d * c.temperature * np.log(c.student / c.teacher) / len(c.student)),
        ("softmax skipped",
         lambda d, c: -d * c.temperature * c.teacher / c.student / len(c.student)),
        ("softmax skipped",
         lambda d, c: -d * c.temperature**2 * c.teacher / c.student / len(c.student)),
        ("divided by the classes",
         scaled(kl_divergence_backward, lambda c: len(c.student) / c.student.size)),
    ],
    cosine_backward: [
        ("length held constant",
         lambda d, c: -d * c.target_direction / c.length / len(c.length)),
        ("length left out", scaled(cosine_backward, lambda c: c.length)),
        ("sign flipped", scaled(cosine_backward, lambda c: -1)),
        ("not divided by the batch", scaled(cosine_backward, lambda c: len(c.length))),
    ],
    mse_backward: [
        ("2 missing", scaled(mse_backward, lambda c: 0.5)),
        ("sign for the difference", lambda d, c: np.sign(c.difference) * 2 * d / c.difference.size),
        ("sign for the difference", lambda d, c: np.sign(c.difference) * d / c.difference.size),
        ("divided by the rows only",
         scaled(mse_backward, lambda c: c.difference.size / len(c.difference))),
        ("not divided by the batch", scaled(mse_backward, lambda c: c.difference.size)),
    ],
}  # fmt: skip
