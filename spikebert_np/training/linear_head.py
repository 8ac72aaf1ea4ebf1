"""A linear classifier on frozen features: multinomial logistic regression.

Letters: S sentences, D features, C classes.
"""

import numpy as np

from ..layers.losses import cross_entropy_backward, cross_entropy_forward

# Strengths of the L2 penalty that `choose_penalty` tries, strong to weak.
PENALTIES = (1.0, 0.1, 0.03, 0.01, 0.003, 0.001)
DEFAULT_PENALTY = 0.03
STEPS = 300
FOLDS = 5


def fit_linear_head(features, labels, classes, *, penalty=DEFAULT_PENALTY):
    """weight (D, C) and bias (C,) that minimise cross-entropy + penalty/2 |weight|².

    features: (S, D), labels: (S,) integers in [0, C). The penalty is on the weight of the
    standardised features; the standardisation is folded into what is returned.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6  # (D,)
    x = ((features - mean) / spread).astype(np.float32)  # (S, D)
    # The largest curvature of the loss is below half the largest eigenvalue of xᵀx / S.
    curvature = 0.5 * np.linalg.eigvalsh(x.T @ x / len(x))[-1]
    weight, bias = _minimise(x, labels, classes, penalty, 1 / (curvature + 0.5 + penalty))
    weight = weight / spread[:, None]  # (D, C)
    return weight, bias - mean @ weight


def choose_penalty(
    features, labels, classes, dev_features, dev_labels, *, fit=fit_linear_head, penalties=PENALTIES
):
    """The penalty of the best dev accuracy; of two as good, the stronger.

    fit: `fit_linear_head`, or another function that takes and returns the same. penalties: those to
    try, strong to weak.
    """

    def dev_accuracy(penalty):
        weight, bias = fit(features, labels, classes, penalty=penalty)
        return ((dev_features @ weight + bias).argmax(axis=1) == dev_labels).mean()

    return max(penalties, key=dev_accuracy)


def held_out_logits(features, labels, classes, *, penalty):
    """Logits (S, C), each sentence's from a head that has not seen it.

    The sentences are cut into FOLDS parts, drawn by seed 0, and each part's logits come from the
    head fitted on the others.
    """
    logits = np.empty((len(features), classes), features.dtype)
    fold = np.random.default_rng(0).permutation(len(features)) % FOLDS  # (S,)
    for held_out in np.unique(fold):
        kept, held = fold != held_out, fold == held_out
        weight, bias = fit_linear_head(features[kept], labels[kept], classes, penalty=penalty)
        logits[held] = features[held] @ weight + bias
    return logits


def cross_validated_penalty(features, labels, classes, *, penalties=PENALTIES):
    """The penalty of the best accuracy on held-out parts of the sentences themselves; of two as
    good, the stronger, where penalties are given strong to weak."""

    def held_out_accuracy(penalty):
        logits = held_out_logits(features, labels, classes, penalty=penalty)
        return (logits.argmax(axis=1) == labels).mean()

    return max(penalties, key=held_out_accuracy)


def _minimise(x, labels, classes, penalty, rate):
    """Nesterov's accelerated gradient with momentum for strong convexity: no line search."""
    weight, bias = np.zeros((x.shape[1], classes), x.dtype), np.zeros(classes, x.dtype)
    old_weight, old_bias = weight, bias
    ratio = np.sqrt(rate * penalty)
    momentum = float((1 - ratio) / (1 + ratio))
    rate = float(rate)
    for _ in range(STEPS):
        ahead_weight = weight + momentum * (weight - old_weight)
        ahead_bias = bias + momentum * (bias - old_bias)
        _, cache = cross_entropy_forward(x @ ahead_weight + ahead_bias, labels)
        dlogits = cross_entropy_backward(1.0, cache)  # (S, C)
        old_weight, old_bias = weight, bias
        weight = ahead_weight - rate * (x.T @ dlogits + penalty * ahead_weight)
        bias = ahead_bias - rate * dlogits.sum(axis=0)
    return weight, bias
