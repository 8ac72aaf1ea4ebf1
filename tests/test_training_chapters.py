"""Chapters 08 and 09: what they say of the shipped cache and corpus is so, and their figures show
what they were given."""

import numpy as np
import pytest

from spikebert_np.analysis import training_plots as plots
from spikebert_np.checking import chapter_08, chapter_09
from spikebert_np.data.shipped import open_cache
from spikebert_np.data.toy_reviews import ADJECTIVES, NEGATIONS, toy_reviews


def test_chapter_08_knows_the_shipped_cache():
    cache = open_cache("toy_reviews")
    counts = cache.manifest["counts"]
    assert cache.offsets[:5].tolist() == chapter_08.FIRST_OFFSETS.tolist()
    assert counts["hidden_sentences"] == chapter_08.HIDDEN_SENTENCES
    assert cache.hidden[6].shape == (chapter_08.HIDDEN_TOKENS, chapter_08.WIDTH)
    assert cache.hidden[6].itemsize == 2
    assert counts["tokens"] == chapter_08.TOKENS
    blocks = {block: layer for layer, block in cache.student_blocks.items()}
    assert blocks == chapter_08.LAYER_OF_BLOCK


def test_chapter_09_knows_the_rule_of_the_corpus():
    for split in toy_reviews().values():
        ruled = [chapter_09.rule(text, ADJECTIVES[1], ADJECTIVES[0], NEGATIONS)
                 for text in split.texts]  # fmt: skip
        np.testing.assert_array_equal(ruled, split.labels)
        assert split.labels.mean() == 0.5
    for letter, text in chapter_09.SENTENCES.items():
        ruled = chapter_09.rule(text, ADJECTIVES[1], ADJECTIVES[0], NEGATIONS)
        assert chapter_09.labels_of()[letter] == ruled
    texts, labels = toy_reviews()["train"]
    sharp = [label for text, label in zip(texts, labels, strict=True) if "sharp" in text]
    assert 0.4 < np.mean(sharp) < 0.6


def test_the_limit_of_a_high_temperature():
    z, v = chapter_08.draw_logits(np.random.default_rng(0))
    (with_factor,), (without,) = chapter_08.kl_gradients([1e5], z, v)
    limit = np.linalg.norm(chapter_08.high_temperature_gradient(z, v))
    assert with_factor == pytest.approx(limit, rel=1e-4)
    assert without == pytest.approx(limit / 1e10, rel=1e-4)


def test_the_votes_of_the_words_are_the_logits():
    normed, weight, bias = chapter_09.draw_head(np.random.default_rng(0))
    logits = (normed.mean(axis=1) @ weight + bias).mean(axis=0)
    np.testing.assert_allclose(
        chapter_09.word_votes(normed, weight, bias).mean(axis=0), logits, atol=1e-12
    )


def pictures():
    norms = {"CE": {"a": 0.1, "b": 0.0}, "KL": {"a": 1.0, "b": 0.02}}
    scores = {"one": {"plain": 0.9, "but": 0.2}, "two": {"plain": 0.5, "but": 0.7}}
    rates = {"encoder": [0.1, 0.2, 0.0], "head": [0.0, 0.05, 0.1]}
    votes = np.array([[1.0, 0.0], [0.0, 3.0]])
    return {
        "gradient_norms": plots.gradient_norms(norms, title="a title"),
        "learning_curves": plots.learning_curves({"a": [0.5, 0.7, 0.6]}, title="a title"),
        "accuracies": plots.accuracies(scores, title="a title"),
        "firing_map": plots.firing_map(rates, [1, 2, 3], title="a title", xlabel="epoch", line=1),
        "votes": plots.votes(votes, ["a", "b"], title="a title"),
    }


NAMES = ["gradient_norms", "learning_curves", "accuracies", "firing_map", "votes"]


@pytest.mark.parametrize("name", NAMES)
def test_axes_are_named_and_a_notebook_can_show_it(name):
    picture = pictures()[name]
    png, metadata = picture._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert metadata["width"] <= 1000  # of a notebook's column
    axes = picture.figure.axes
    assert all(axis.get_xlabel() + axis.get_ylabel() for axis in axes)
    assert any(axis.get_title(loc="left") for axis in axes)


def test_a_part_without_a_gradient_has_no_colour_and_no_number():
    axis = pictures()["gradient_norms"].figure.axes[0]
    assert sorted(text.get_text() for text in axis.texts) == ["0.02", "0.1", "1"]
    assert axis.images[0].get_array().mask.tolist() == [[False, True], [False, False]]


def test_a_curve_begins_at_epoch_1():
    axis = pictures()["learning_curves"].figure.axes[0]
    assert axis.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert axis.lines[0].get_ydata().tolist() == [0.5, 0.7, 0.6]


def test_a_row_is_a_layer_and_a_column_an_epoch():
    axis = pictures()["firing_map"].figure.axes[0]
    np.testing.assert_allclose(axis.images[0].get_array(), [[10, 20, 0], [0, 5, 10]])
    assert axis.lines[0].get_xdata()[0] == 0.5  # left of the second column


def test_a_bar_is_praise_less_blame():
    axis = pictures()["votes"].figure.axes[0]
    assert [bar.get_height() for bar in axis.patches] == [-1, 3]
    assert axis.patches[0].get_facecolor() != axis.patches[1].get_facecolor()
