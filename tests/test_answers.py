"""Confusion, calibration and the hardest sentences, against counts by hand."""

import numpy as np
import pytest

from spikebert_np.analysis.answers import BINS, calibration, confusion_counts, hardest

LABELS = np.array([0, 0, 1, 1, 0])
# Sure of 0 by 0.9, 0.6, 0.2, 1.0 and 0.55.
FIRST = np.array([0.9, 0.6, 0.2, 1.0, 0.55])
PROBABILITIES = np.stack([FIRST, 1 - FIRST], axis=1)


def test_confusion():
    counts = confusion_counts(PROBABILITIES.argmax(axis=1), LABELS, 3)
    np.testing.assert_array_equal(counts, [[3, 0, 0], [1, 1, 0], [0, 0, 0]])


def test_calibration():
    found = calibration(PROBABILITIES, LABELS)
    expected = np.zeros(BINS)
    # 0.55 by itself; 0.6; the second class' 0.8; 0.9, which is right, and 1.0, which is wrong.
    expected[[5, 6, 8, 9]] = 1, 1, 1, 2
    np.testing.assert_array_equal(found.counts, expected)
    np.testing.assert_allclose(found.confidence[[5, 6, 8, 9]], [0.55, 0.6, 0.8, 0.95])
    np.testing.assert_allclose(found.accuracy[[5, 6, 8, 9]], [1, 1, 1, 0.5])
    assert found.error == pytest.approx((0.45 + 0.4 + 0.2 + 2 * 0.45) / 5)


def test_who_is_as_right_as_sure_has_no_error(rng):
    sure = rng.uniform(0.5, 1, 200_000)
    labels = (rng.random(len(sure)) > sure).astype(int)
    assert calibration(np.stack([sure, 1 - sure], axis=1), labels).error < 0.01


def test_the_hardest_first():
    np.testing.assert_array_equal(hardest(PROBABILITIES, LABELS, 3), [3, 4, 1])
    assert len(hardest(PROBABILITIES, LABELS, 10)) == 5
