"""Naive Bayes over words and bigrams, by hand."""

import numpy as np
import pytest

from spikebert_np.models.bag_of_words import (
    fit_naive_bayes,
    predict_naive_bayes,
    words_and_bigrams,
)


def test_neighbours_count_as_well_as_words():
    assert words_and_bigrams("Not a film") == ["not", "a", "film", "not a", "a film"]
    # The same words in both classes: the order alone can tell.
    model = fit_naive_bayes(["bad not good", "good not bad"], [0, 1], 2)
    assert predict_naive_bayes(model, ["bad not good", "good not bad"]).tolist() == [0, 1]


def test_likelihoods_and_priors_by_hand():
    model = fit_naive_bayes(["good", "good film", "bad"], [1, 1, 0], 2)
    # Class 1 holds good twice, film and "good film" once; 4 words in all, one more of each.
    expected = {"good": (1, 3), "film": (1, 2), "good film": (1, 2), "bad": (2, 1)}
    assert model.vocabulary.keys() == expected.keys()
    for word, (in_0, in_1) in expected.items():
        likelihood = np.exp(model.log_likelihood[:, model.vocabulary[word]])
        assert likelihood == pytest.approx([in_0 / 5, in_1 / 8], rel=1e-12)
    assert np.exp(model.log_prior) == pytest.approx([1 / 3, 2 / 3], rel=1e-12)
    # Of a word that training lacks only the prior speaks: the frequent class.
    assert predict_naive_bayes(model, ["story", "bad"]).tolist() == [1, 0]
