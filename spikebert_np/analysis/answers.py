"""A classifier's answers beside the labels: which classes it mixes up, how far its confidence can
be trusted, which sentences it finds hardest.

Letters: S sentences, C classes, K bins of confidence.
"""

from typing import NamedTuple

import numpy as np

BINS = 10


def confusion_counts(answers, labels, classes):
    """(C, C): how many sentences of label i (row) were answered j (column), both (S,)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return counts


class Calibration(NamedTuple):
    """By confidence, the probability of the class that is answered, in K bins from 0 to 1."""

    counts: np.ndarray  # (K,) sentences
    confidence: np.ndarray  # (K,) their mean; 0 where there is none
    accuracy: np.ndarray  # (K,) the share of them that is right; 0 where there is none

    @property
    def error(self):
        """The expected calibration error (Guo et al. 2017, arXiv 1706.04599): the mean over all
        sentences of |accuracy - confidence| of their bin."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(self.counts @ gaps / self.counts.sum())


def calibration(probabilities, labels):
    """The Calibration of probabilities (S, C) against labels (S,)."""
    confidence = probabilities.max(axis=1)  # (S,)
    right = probabilities.argmax(axis=1) == labels  # (S,)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)  # (S,)
    counts = np.bincount(place, minlength=BINS)
    some = np.maximum(counts, 1)
    return Calibration(
        counts,
        np.bincount(place, confidence, BINS) / some,
        np.bincount(place, right, BINS) / some,
    )


def hardest(probabilities, labels, count):
    """The sentences (at most count,) whose labels were given the least probability, worst first."""
    given = probabilities[np.arange(len(labels)), labels]  # (S,)
    return np.argsort(given, kind="stable")[:count]
