"""Wrong backward passes of the layers other than LIF: each line but one is right.

The right ones stand in `layers/`; what is wrong is the mutant's name. A long file, because it is a
list: each function is read by itself.
"""

import numpy as np

from ..layers.embedding import RowGradient
from ..layers.layernorm import LayerNormCache, layernorm_backward
from ..layers.losses import (
    cosine_backward,
    cross_entropy_backward,
    kl_divergence_backward,
    log_softmax,
    mse_backward,
)
from .mutant import wrong_backward

# --- linear: y = x W + b ------------------------------------------------------------------------


def flat(x):
    return x.reshape(-1, x.shape[-1])


@wrong_backward("linear", "last step only")
def linear_weight_of_the_last_step(dy, cache):
    x, weight, _ = cache
    dweight = flat(x[-1]).T @ flat(dy[-1])
    return dy @ weight.T, dweight, flat(dy).sum(axis=0)


@wrong_backward("linear", "last step only")
def linear_bias_of_the_last_step(dy, cache):
    x, weight, _ = cache
    return dy @ weight.T, flat(x).T @ flat(dy), dy[-1].sum(axis=0)


@wrong_backward("linear", "averaged, not summed")
def linear_bias_averaged(dy, cache):
    x, weight, _ = cache
    return dy @ weight.T, flat(x).T @ flat(dy), flat(dy).mean(axis=0)


@wrong_backward("linear", "not summed")
def linear_bias_not_summed(dy, cache):
    x, weight, _ = cache
    return dy @ weight.T, flat(x).T @ flat(dy), dy.sum(axis=1)


@wrong_backward("linear", "transposed")
def linear_weight_transposed(dy, cache):
    x, weight, _ = cache
    return dy @ weight.T, flat(dy).T @ flat(x), flat(dy).sum(axis=0)


# --- layer norm: y = gain x_hat + bias, x_hat = (x - mean) / std --------------------------------


def norm_parameters(dy, x_hat):
    axes = tuple(range(dy.ndim - 1))
    return (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)


def mean(x):
    return x.mean(axis=-1, keepdims=True)


@wrong_backward("layernorm", "mean term missing")
def norm_without_mean(dy, cache):
    x_hat, inv_std, gain = cache
    dx_hat = dy * gain
    dx = (dx_hat - x_hat * mean(dx_hat * x_hat)) * inv_std
    return dx, *norm_parameters(dy, x_hat)


@wrong_backward("layernorm", "variance term missing")
def norm_without_variance(dy, cache):
    x_hat, inv_std, gain = cache
    dx_hat = dy * gain
    return (dx_hat - mean(dx_hat)) * inv_std, *norm_parameters(dy, x_hat)


@wrong_backward("layernorm", "statistics held constant")
def norm_of_constants(dy, cache):
    x_hat, inv_std, gain = cache
    return dy * gain * inv_std, *norm_parameters(dy, x_hat)


@wrong_backward("layernorm", "gain left out")
def norm_without_gain(dy, cache):
    x_hat, inv_std, _ = cache
    dx = (dy - mean(dy) - x_hat * mean(dy * x_hat)) * inv_std
    return dx, *norm_parameters(dy, x_hat)


@wrong_backward("layernorm", "1/std left out")
def norm_without_std(dy, cache):
    x_hat, _, gain = cache
    dx_hat = dy * gain
    dx = dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat)
    return dx, *norm_parameters(dy, x_hat)


@wrong_backward("layernorm", "gain gradient without x_hat")
def norm_gain_as_bias(dy, cache):
    x_hat, inv_std, gain = cache
    dx_hat = dy * gain
    dx = (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat)) * inv_std
    _, dbias = norm_parameters(dy, x_hat)
    return dx, dbias, dbias


@wrong_backward("layernorm", "gain gradient with the scaled x_hat")
def norm_gain_of_the_output(dy, cache):
    x_hat, inv_std, gain = cache
    dx_hat = dy * gain
    dx = (dx_hat - mean(dx_hat) - x_hat * mean(dx_hat * x_hat)) * inv_std
    return dx, *norm_parameters(dy, x_hat * gain)[:1], norm_parameters(dy, x_hat)[1]


# --- batch norm: the same over the rows ---------------------------------------------------------


def row_mean(x):
    return x.mean(axis=tuple(range(x.ndim - 1)))


@wrong_backward("batchnorm", "statistics held constant", running=False)
def batch_norm_of_constants(dy, cache):
    return dy * cache.gain * cache.inv_std, *norm_parameters(dy, cache.x_hat)


@wrong_backward("batchnorm", "variance term missing", running=False)
def batch_norm_without_variance(dy, cache):
    dx_hat = dy * cache.gain
    dx = (dx_hat - row_mean(dx_hat)) * cache.inv_std
    return dx, *norm_parameters(dy, cache.x_hat)


@wrong_backward("batchnorm", "normalised over the width", running=False)
def batch_norm_as_layer_norm(dy, cache):
    return layernorm_backward(dy, LayerNormCache(cache.x_hat, cache.inv_std, cache.gain))


@wrong_backward("batchnorm", "given statistics moved", running=True)
def batch_norm_of_its_own_statistics(dy, cache):
    x_hat, inv_std, gain, *_ = cache
    dx_hat = dy * gain
    dx = (dx_hat - row_mean(dx_hat) - x_hat * row_mean(dx_hat * x_hat)) * inv_std
    return dx, *norm_parameters(dy, x_hat)


# --- embeddings: y[n] = weight[ids[n]] ----------------------------------------------------------


@wrong_backward("embedding", "rows overwritten")
def embedding_overwritten(dy, cache):
    distinct, position = np.unique(cache.ids, return_inverse=True)
    rows = np.zeros((len(distinct), dy.shape[1]))
    rows[position] += dy  # looks like a sum; keeps the last of the tokens that share an id
    return RowGradient(distinct, rows)


@wrong_backward("embedding", "rows averaged")
def embedding_averaged(dy, cache):
    distinct, position, counts = np.unique(cache.ids, return_inverse=True, return_counts=True)
    rows = np.zeros((len(distinct), dy.shape[1]))
    np.add.at(rows, position, dy)
    return RowGradient(distinct, rows / counts[:, None])


@wrong_backward("positions", "rows overwritten")
def positions_overwritten(dy, cache):
    dpositions = np.zeros((cache.rows, dy.shape[1]))
    dpositions[cache.position] = dy
    return dy, dpositions


# --- activations --------------------------------------------------------------------------------


@wrong_backward("gelu", "density term missing")
def gelu_as_a_gate(dy, cache):
    return dy * cache.cdf


@wrong_backward("gelu", "density not normalised")
def gelu_without_constant(dy, cache):
    return dy * (cache.cdf + cache.x * np.exp(cache.x * cache.x / -2))


@wrong_backward("tanh", "tanh not squared")
def tanh_not_squared(dy, cache):
    return dy * (1 - cache.y)


@wrong_backward("tanh", "slope at y for slope at x")
def tanh_twice(dy, cache):
    return dy * (1 - np.tanh(cache.y) ** 2)


@wrong_backward("dropout", "mask not scaled")
def dropout_unscaled(dy, cache):
    return dy * (cache.mask > 0)


@wrong_backward("dropout", "passed straight through")
def dropout_ignored(dy, cache):
    return dy


@wrong_backward("softmax", "softmax's other entries")
def softmax_alone(dy, cache):
    return dy * cache.y


@wrong_backward("softmax", "softmax as a sigmoid")
def softmax_diagonal(dy, cache):
    return dy * cache.y * (1 - cache.y)


# --- pooling ------------------------------------------------------------------------------------


@wrong_backward("mean_pool", "not divided by the length")
def pool_as_a_sum(dy, cache):
    return np.repeat(dy, cache.lengths, axis=1)


@wrong_backward("mean_pool", "one length for all sentences")
def pool_by_the_mean_length(dy, cache):
    return np.repeat(dy / cache.lengths.mean(), cache.lengths, axis=1)


@wrong_backward("mean_over_time", "not divided by T")
def time_as_a_sum(dy, cache):
    return np.broadcast_to(dy, (cache.steps, *dy.shape))


# --- losses -------------------------------------------------------------------------------------


@wrong_backward("cross_entropy", "one-hot not subtracted")
def cross_entropy_of_probabilities(dloss, cache):
    return dloss * cache.probabilities / len(cache.labels)


@wrong_backward("cross_entropy", "not divided by the batch")
def cross_entropy_as_a_sum(dloss, cache):
    return cross_entropy_backward(dloss * len(cache.labels), cache)


@wrong_backward("cross_entropy", "a missing label read as the last class")
def cross_entropy_of_the_last_class(dloss, cache):
    probabilities, labels = cache
    return dloss * (probabilities - np.eye(probabilities.shape[1])[labels]) / len(labels)


@wrong_backward("kl_divergence", "temperature squared missing")
def kl_without_its_factor(dloss, cache):
    student, teacher, temperature = cache
    return (student - teacher) * (dloss / temperature / len(student))


@wrong_backward("kl_divergence", "temperature of the logits missing")
def kl_with_temperature_squared(dloss, cache):
    student, teacher, temperature = cache
    return (student - teacher) * (dloss * temperature**2 / len(student))


@wrong_backward("kl_divergence", "sign flipped")
def kl_uphill(dloss, cache):
    return -kl_divergence_backward(dloss, cache)


@wrong_backward("kl_divergence", "gradient through the teacher")
def kl_through_the_teacher(dloss, cache):
    student, teacher, temperature = cache
    gap = log_softmax(np.log(teacher)) - np.log(student)
    kl = (teacher * gap).sum(axis=-1, keepdims=True)
    dteacher = teacher * (gap - kl) * (dloss * temperature / len(student))
    return kl_divergence_backward(dloss, cache) + dteacher


@wrong_backward("mse", "2 missing")
def mse_without_2(dloss, cache):
    return cache.difference * (dloss / cache.difference.size)


@wrong_backward("mse", "divided by the rows only")
def mse_by_rows(dloss, cache):
    return cache.difference * (2 * dloss / len(cache.difference))


@wrong_backward("cosine", "length held constant")
def cosine_of_a_fixed_length(dloss, cache):
    return -dloss * cache.target_direction / cache.length / len(cache.length)


@wrong_backward("cosine", "length left out")
def cosine_of_directions(dloss, cache):
    return cosine_backward(dloss, cache) * cache.length


@wrong_backward("cosine", "sign flipped")
def cosine_apart(dloss, cache):
    return -cosine_backward(dloss, cache)


@wrong_backward("sentence_mse", "not divided by the length")
def sentence_mse_of_sums(dloss, cache):
    rows = mse_backward(dloss, cache.mse)
    return np.repeat(rows, cache.pool.lengths, axis=0)


@wrong_backward("sentence_mse", "one length for all sentences")
def sentence_mse_by_the_mean_length(dloss, cache):
    rows = mse_backward(dloss, cache.mse)
    return np.repeat(rows / cache.pool.lengths.mean(), cache.pool.lengths, axis=0)
