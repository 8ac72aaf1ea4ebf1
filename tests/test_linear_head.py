"""The linear head against the conditions of the minimum that it claims to find."""

import numpy as np
import pytest

from spikebert_np.training.linear_head import fit_linear_head


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
