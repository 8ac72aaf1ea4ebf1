"""Losses, each with its gradient: what distillation adds up.

Letters: B sentences, C classes, N packed tokens, D width.
"""

from typing import NamedTuple

import numpy as np


def log_softmax(logits):
    """log softmax over the last axis, shifted by the maximum so that exp cannot overflow."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


class CrossEntropyCache(NamedTuple):
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
    student: np.ndarray  # (B, C) probabilities at the temperature
    teacher: np.ndarray  # (B, C)
    temperature: float


def kl_divergence_forward(logits, teacher_logits, *, temperature=1.0):
    """L = temperature² mean over b of KL(p_b || q_b), p the teacher's softmax(z / temperature).

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
