"""The linear head against the conditions of the minimum that it claims to find."""

import numpy as np
import pytest

from spikebert_np.training.linear_head import (
    cross_validated_penalty,
    fit_linear_head,
    held_out_logits,
)


@pytest.mark.parametrize("penalty", [1.0, 0.1])
def test_the_gradient_of_loss_and_penalty_vanishes(rng, penalty):
    sentences, width, classes = 200, 5, 3
    labels = rng.integers(0, classes, sentences)
    spreads = np.array([0.1, 1, 2, 10, 1])
    features = 3 + spreads * (rng.standard_normal((sentences, width)) + labels[:, None])
    weight, bias = fit_linear_head(features, labels, classes, penalty=penalty)
    logits = features @ weight + bias
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    dlogits = (probabilities - np.eye(classes)[labels]) / sentences
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    standardised = weight * features.std(axis=0)[:, None]
    pull = penalty * standardised
    assert np.abs(pull).max() > 0.01
    np.testing.assert_allclose(x.T @ dlogits, -pull, atol=1e-4)
    np.testing.assert_allclose(dlogits.sum(axis=0), 0, atol=1e-4)


def test_no_head_has_seen_the_sentence_that_it_is_asked_of(rng):
    features, labels = rng.standard_normal((23, 4)), rng.integers(0, 2, 23)
    before = held_out_logits(features, labels, 2, penalty=0.1)
    for i in (0, 9, 22):
        flipped = labels.copy()
        flipped[i] = 1 - flipped[i]
        after = held_out_logits(features, flipped, 2, penalty=0.1)
        np.testing.assert_array_equal(after[i], before[i])
        assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize(("exact", "best"), [(False, 1.0), (True, 0.001)])
def test_the_penalty_is_chosen_on_sentences_that_are_held_out(rng, exact, best):
    """Labels that are partly wrong want a strong penalty, an exact rule a weak one; on the
    sentences that were fitted the weak one is the better for both."""
    if exact:
        features = rng.standard_normal((400, 40)) @ rng.standard_normal((40, 40))
        labels = (features @ rng.standard_normal(40) > 0).astype(int)
    else:
        truth = np.arange(100) % 2
        features = rng.standard_normal((100, 80))
        features[:, :20] += 2 * (2 * truth[:, None] - 1)
        labels = np.where(rng.random(100) < 0.2, 1 - truth, truth)
    assert cross_validated_penalty(features, labels, 2, penalties=(1.0, 0.001)) == best
    right = []
    for penalty in (1.0, 0.001):
        weight, bias = fit_linear_head(features, labels, 2, penalty=penalty)
        right.append(((features @ weight + bias).argmax(axis=1) == labels).sum())
    assert right[0] < right[1]
