"""Losses, each with its gradient: what distillation adds up.

Letters: B sentences, C classes, N packed tokens, D width.
"""

from typing import NamedTuple

import numpy as np

from .pooling import MeanPoolCache, mean_pool_backward, mean_pool_forward


def log_softmax(logits):
    """log softmax over the last axis, shifted by the maximum so that exp cannot overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


class CrossEntropyCache(NamedTuple):
    """The gradient is softmax less one-hot: the logits themselves are not read again."""

    probabilities: np.ndarray  # (B, C)
    labels: np.ndarray  # (B,), -1 where there is none


def cross_entropy_forward(logits, labels):
    """L = -1/B sum over labelled b of log softmax(logits[b])[labels[b]].

    logits: (B, C), labels: (B,) integers in [0, C), or -1 where a sentence has none: it adds
    nothing to the sum but counts in B, so that each label weighs the same in every batch.
    Returns the scalar L and the cache.
    """
    log_p = log_softmax(logits)  # (B, C)
    labelled = np.flatnonzero(labels >= 0)
    loss = -log_p[labelled, labels[labelled]].sum() / len(labels)
    return loss, CrossEntropyCache(np.exp(log_p), labels)


def cross_entropy_backward(dloss, cache):
    """dlogits = dloss (softmax(logits) - onehot(labels)) / B, (B, C); 0 where there is no label."""
    probabilities, labels = cache
    labelled = np.flatnonzero(labels >= 0)
    dlogits = np.zeros_like(probabilities)  # (B, C)
    dlogits[labelled] = probabilities[labelled]
    dlogits[labelled, labels[labelled]] -= 1
    return dlogits * dlogits.dtype.type(dloss / len(labels))


class KLDivergenceCache(NamedTuple):
    """The gradient is the difference of the two: the logits themselves are not read again."""

    student: np.ndarray  # (B, C) probabilities at the temperature
    teacher: np.ndarray  # (B, C)
    temperature: float


def kl_divergence_forward(logits, teacher_logits, *, temperature=1.0):
    """L = temperature² mean over b of KL(p_b || q_b), p = softmax(teacher_logits / temperature).

    KL(p || q) = sum over classes of p (log p - log q), with q = softmax(logits / temperature).

    The factor temperature² keeps the gradient's size when the temperature rises (Hinton, Vinyals
    and Dean 2015, arXiv 1503.02531). The teacher's logits are constants: they have no gradient.
    logits, teacher_logits: (B, C). Returns the scalar L and the cache.
    """
    log_q = log_softmax(logits / temperature)  # (B, C)
    log_p = log_softmax(teacher_logits / temperature)  # (B, C)
    p = np.exp(log_p)  # (B, C)
    loss = temperature**2 * (p * (log_p - log_q)).sum(axis=-1).mean()
    return loss, KLDivergenceCache(np.exp(log_q), p, temperature)


def kl_divergence_backward(dloss, cache):
    """dlogits = dloss temperature (q - p) / B: one temperature² from the loss, less the logits'."""
    student, teacher, temperature = cache
    return (student - teacher) * student.dtype.type(dloss * temperature / len(student))


class MSECache(NamedTuple):
    """The gradient is the difference, scaled: its two sides are not read again."""

    difference: np.ndarray  # of the features' shape


def mse_forward(features, target):
    """L = mean((features - target)²) over all entries; the target is a constant.

    features, target: one shape. Returns the scalar L and the cache.
    """
    difference = features - target
    return np.square(difference).mean(), MSECache(difference)


def mse_backward(dloss, cache):
    """dfeatures = 2 dloss (features - target) / size."""
    difference = cache.difference
    return difference * difference.dtype.type(2 * dloss / difference.size)


class SentenceMSECache(NamedTuple):
    pool: MeanPoolCache
    mse: MSECache


def sentence_mse_forward(features, target, offsets):
    """L = the MSE between the sentences' means: what single tokens say may differ.

    features, target: (N, D), offsets: (B + 1,). Returns the scalar L and the cache.
    """
    # The mean of a difference is the difference of the means: one is enough.
    difference, pool_cache = mean_pool_forward((features - target)[None], offsets)  # (1, B, D)
    loss, mse_cache = mse_forward(difference[0], np.zeros_like(difference[0]))
    return loss, SentenceMSECache(pool_cache, mse_cache)


def sentence_mse_backward(dloss, cache):
    """dfeatures (N, D): each token has its sentence's gradient divided by its length."""
    # loss = MSE(difference, 0)
    ddifference = mse_backward(dloss, cache.mse)  # (B, D)
    # difference = mean of (features - target) over each sentence
    return mean_pool_backward(ddifference[None], cache.pool)[0]  # (N, D)


class CosineCache(NamedTuple):
    """All that the gradient is made of: the features and the target are not read again."""

    direction: np.ndarray  # (N, D) features / their length
    target_direction: np.ndarray  # (N, D)
    cosine: np.ndarray  # (N, 1)
    length: np.ndarray  # (N, 1)


def cosine_forward(features, target, *, eps=1e-6):
    """L = 1 - mean over n of cos(features[n], target[n]): their lengths play no part.

    The length is sqrt(f . f + eps), so that a silent token's is not 0. The target is a constant.
    features, target: (N, D). Returns the scalar L and the cache.
    """

    def lengths(x):
        return np.sqrt(np.square(x).sum(axis=-1, keepdims=True) + x.dtype.type(eps))  # (N, 1)

    length = lengths(features)
    direction, target_direction = features / length, target / lengths(target)  # (N, D)
    cosine = (direction * target_direction).sum(axis=-1, keepdims=True)  # (N, 1)
    return 1 - cosine.mean(), CosineCache(direction, target_direction, cosine, length)


def cosine_backward(dloss, cache):
    """dfeatures = -dloss (target_direction - cos direction) / (N length).

    What would only make a token's features longer turns nothing: it is subtracted.
    """
    direction, target_direction, cosine, length = cache
    dcosine = -length.dtype.type(dloss / len(length))
    # cosine = features . target_direction / length, and the length moves with the features.
    return dcosine * (target_direction - cosine * direction) / length  # (N, D)
