"""Spans: runs of words of their texts, each once, none that is a whole text."""

import numpy as np

from spikebert_np.training.spans import random_spans


def spans(texts, count=300, seed=0):
    return random_spans(texts, count, np.random.default_rng(seed))


def test_every_run_of_two_words_or_more_but_the_text_itself():
    words = ["A", "gripping", ",", "funny", "film", "."]
    runs = {" ".join(words[i:j]) for i in range(6) for j in range(i + 2, 7)} - {" ".join(words)}
    found = spans([" ".join(words), "not good"])
    assert set(found) == runs
    assert len(found) == len(runs)


def test_a_chinese_character_is_a_word():
    assert set(spans(["早餐很差"])) == {"早餐", "餐很", "很差", "早餐很", "餐很差"}


def test_a_span_says_something_and_is_no_training_text():
    assert set(spans(["! ! ! bad"])) == {"! bad", "! ! bad"}
    assert set(spans(["! ! ! bad", "! bad"])) == {"! ! bad"}


def test_the_seed_decides_and_count_bounds():
    text = ["one two three four five six seven"]
    assert spans(text, 5) == spans(text, 5) != spans(text, 5, seed=1)
    assert 0 < len(spans(text, 5)) <= 5
    assert spans(text, 0) == []
