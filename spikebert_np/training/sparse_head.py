"""Which words and bigrams a text has, and multinomial logistic regression on that: all sparse.

Letters: S texts, V words and bigrams, K pairs of a text and a word that it has, C classes.
"""

from collections import deque
from functools import cached_property
from itertools import chain

import numpy as np

from ..layers.losses import cross_entropy_backward, cross_entropy_forward
from ..models.bag_of_words import words_and_bigrams

# Strengths of the L2 penalty for `choose_penalty` to try, strong to weak. (scikit-learn's C is
# 1 / (S penalty): at 7,000 texts its default, 1, is a penalty of 0.00014.)
SPARSE_PENALTIES = (1e-2, 1e-3, 3e-4, 1e-4, 3e-5)
# L-BFGS ends when the gradient is this share of what it was at the start, or after so many steps.
TOLERANCE = 3e-4
_STEPS, _MEMORY = 300, 10


class BinaryRows:
    """A matrix X (S, V) of zeros and ones, which knows as much as a linear classifier asks of it.

    columns: (K,), offsets: (S + 1,): row s has its ones in columns[offsets[s]:offsets[s+1]].
    """

    dtype = np.dtype(np.float32)

    def __init__(self, columns, offsets, width):
        self.columns, self.offsets, self.shape = columns, offsets, (len(offsets) - 1, width)

    def __len__(self):
        return self.shape[0]

    def __matmul__(self, weight):
        """X weight (S, C): for each row, the sum of the rows of weight (V, C) at its ones."""
        picked = weight[self.columns]  # (K, C)
        product = np.zeros((len(self), weight.shape[1]), weight.dtype)
        filled = np.flatnonzero(np.diff(self.offsets))  # reduceat knows no empty range
        if len(filled):
            product[filled] = np.add.reduceat(picked, self.offsets[filled])
        return product

    @cached_property
    def T(self):
        """The transposed matrix (V, S)."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets))  # (K,)
        counts = np.bincount(self.columns, minlength=self.shape[1])  # (V,)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return BinaryRows(rows[np.argsort(self.columns, kind="stable")], offsets, len(self))


def word_columns(texts):
    """{word or bigram of the texts: its column}."""
    return {word: column for column, word in enumerate(sorted(set(chain(*map(_words, texts)))))}


def binary_rows(texts, columns):
    """The BinaryRows (S, V) that say which of these words and bigrams each text has."""
    known = [[columns[word] for word in _words(text) if word in columns] for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in known])])
    return BinaryRows(np.fromiter(chain(*known), np.int64), offsets, len(columns))


def _words(text):
    return dict.fromkeys(words_and_bigrams(text))  # each once: whether, not how often


def fit_sparse_head(rows, labels, classes, *, penalty):
    """weight (V, C) and bias (C,) that minimise cross-entropy + penalty/2 |weight|².

    rows: BinaryRows (S, V), labels: (S,) integers in [0, C). By L-BFGS from zero: no draw, and the
    same corpus gives the same numbers.
    """

    def loss_and_gradient(theta):  # (V + 1, C), the bias last
        weight = theta[:-1]
        loss, cache = cross_entropy_forward(rows @ weight + theta[-1], labels)
        dlogits = cross_entropy_backward(1.0, cache)  # (S, C)
        gradient = np.concatenate([rows.T @ dlogits + penalty * weight, [dlogits.sum(axis=0)]])
        return loss + penalty / 2 * np.vdot(weight, weight), gradient

    theta = _lbfgs(loss_and_gradient, np.zeros((rows.shape[1] + 1, classes), rows.dtype))
    return theta[:-1], theta[-1]


def _lbfgs(loss_and_gradient, theta):
    """The minimum of a convex function (Nocedal and Wright 2006, algorithms 7.4 and 7.5).

    The step is halved until the loss falls by 1e-4 of what its slope promises (Armijo).
    """
    loss, gradient = loss_and_gradient(theta)
    enough = TOLERANCE * np.linalg.norm(gradient)
    pairs = deque(maxlen=_MEMORY)  # (s, y): how theta moved, and how the gradient did
    for _ in range(_STEPS):
        if np.linalg.norm(gradient) <= enough:
            break
        direction = _newton_direction(gradient, pairs)
        slope = np.vdot(gradient, direction)
        size = 1.0
        while True:
            ahead = theta + np.float32(size) * direction
            ahead_loss, ahead_gradient = loss_and_gradient(ahead)
            if ahead_loss <= loss + 1e-4 * size * slope:
                break
            size /= 2
            if size < 1e-6:
                return theta  # float32 tells no lower loss from this one
        pairs.append((ahead - theta, ahead_gradient - gradient))
        theta, loss, gradient = ahead, ahead_loss, ahead_gradient
    return theta


def _newton_direction(gradient, pairs):
    """-H gradient, where H is the inverse curvature that the pairs (s, y) have shown."""
    q, shares = -gradient, []
    for s, y in reversed(pairs):
        shares.append(np.vdot(s, q) / np.vdot(s, y))
        q = q - shares[-1] * y
    if pairs:
        q = q * (np.vdot(s := pairs[-1][0], y := pairs[-1][1]) / np.vdot(y, y))
    for (s, y), share in zip(pairs, reversed(shares), strict=True):
        q = q + (share - np.vdot(y, q) / np.vdot(s, y)) * s
    return q
