"""What is said of a sentence is what the network did with it, and without each of its tokens."""

import json

import numpy as np
import pytest
from tiny import make_run

from spikebert_np.analysis.energy import RULES, millijoules
from spikebert_np.analysis.explanation import Explanation, explain, explanation_record
from spikebert_np.analysis.explanation_text import (
    attention_table,
    explanation_summary,
    parts_table,
    spikes_table,
)
from spikebert_np.analysis.firing import mean_firing_rate, spike_layers
from spikebert_np.analysis.operations import count_student
from spikebert_np.data.tokenizer import load_tokenizer
from spikebert_np.models.spikebert import spikebert_forward
from spikebert_np.training.checkpoint import load_run

SENTENCE = "the plot is not good but warm"
CLASSES = ["blame", "so-so", "praise"]


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Three classes, and rather different logits for different sentences."""
    run = load_run(make_run(tmp_path_factory.mktemp("student"), classes=3, steps=3, width=16))
    run.params["head.weight"] *= 5
    return run, load_tokenizer(run.directory / "tokenizer.json")


@pytest.fixture(scope="module")
def explanation(student):
    run, tokenizer = student
    return explain(SENTENCE, tokenizer, run.params, run.config)


def by_hand(logits, logits_without):
    tokens = [str(i) for i in range(len(logits_without))]
    return Explanation("", tokens, False, np.array(logits), np.array(logits_without), None)


def test_margins_and_parts_by_hand():
    found = by_hand([1.0, 4.0, 2.0], [[1.0, 3.0, 2.5], [0.0, 5.0, 1.0], [3.0, 1.0, 0.0]])
    assert (found.answer, found.margin) == (1, 2.0)
    # Without each the margin of class 1 is 0.5, 4 and -2: the last one's part is above the margin.
    assert found.parts.tolist() == [1.5, -2.0, 4.0]
    assert found.answers_without.tolist() == [1, 1, 0]
    exp = np.exp([1.0, 4.0, 2.0])
    np.testing.assert_allclose(found.probabilities, exp / exp.sum())


def test_the_answer_is_the_networks(student, explanation):
    run, tokenizer = student
    ids = np.array(tokenizer.encode(SENTENCE).ids)
    output, cache = spikebert_forward(ids, np.array([0, len(ids)]), run.params, run.config)
    np.testing.assert_array_equal(explanation.logits, output.logits[0])
    assert explanation.tokens == ["[CLS]", *SENTENCE.split(), "[SEP]"]
    assert not explanation.truncated
    assert explanation.millijoules == millijoules(count_student(cache))


def test_to_silence_a_token_is_to_read_the_sentence_without_it(student, explanation):
    run, tokenizer = student
    words = SENTENCE.split()
    for i in range(len(words)):
        rest = " ".join(words[:i] + words[i + 1 :])
        without = explain(rest, tokenizer, run.params, run.config)
        np.testing.assert_array_equal(explanation.logits_without[i + 1], without.logits)
    # [CLS] and [SEP] can be left out too, and every token makes a difference here.
    differs = explanation.logits_without != explanation.logits
    assert differs.shape == (len(words) + 2, 3)
    assert differs.any(axis=1).all()
    decided = explanation.answers_without != explanation.answer
    np.testing.assert_array_equal(decided, explanation.parts > explanation.margin)


def test_attention_counts_the_channels_that_fire_together(explanation):
    ssa = explanation.cache.blocks[0].ssa
    q, k = ssa.q.lif.s, ssa.k.lif.s
    together = (q[:, :, None] * k[:, None]).sum(axis=0)  # (n, n, D)
    assert together.any()
    assert together[..., :8].sum() != together[..., 8:].sum()
    for head, channels in enumerate((slice(0, 8), slice(8, 16))):
        np.testing.assert_array_equal(
            explanation.attention(0, head), together[..., channels].sum(axis=2)
        )
    np.testing.assert_array_equal(explanation.attention(0), together.sum(axis=2))
    assert (explanation.attention(0) != explanation.attention()).any()  # the last block's


def test_the_record_holds_all_of_it_as_json(explanation):
    record = json.loads(json.dumps(explanation_record(explanation)))
    assert (record["answer"], record["margin"]) == (explanation.answer, explanation.margin)
    np.testing.assert_allclose(record["parts"], explanation.parts, rtol=1e-6)
    assert (record["steps"], record["threshold"]) == (3, 1.0)
    layers = spike_layers(explanation.cache)
    assert [layer["name"] for layer in record["layers"]] == list(layers)
    for layer in record["layers"]:
        s = layers[layer["name"]]
        assert layer["neurons"] == s.shape[2]
        assert layer["spikes"] == [float(s[:, i].sum()) for i in range(s.shape[1])]
    assert record["firing_rate"] == mean_firing_rate(explanation.cache)
    assert np.shape(record["attention"]) == (2, 2, 9, 9)
    np.testing.assert_array_equal(record["attention"][1][0], explanation.attention(1, 0))
    assert record["theoretical_millijoules"] == explanation.millijoules
    assert all(record["theoretical_millijoules"][rule] > 0 for rule in RULES)


def test_what_is_too_long_is_cut_and_said(tmp_path):
    run = load_run(make_run(tmp_path, max_tokens=5))
    tokenizer = load_tokenizer(run.directory / "tokenizer.json")
    found = explain(SENTENCE, tokenizer, run.params, run.config)
    assert found.tokens == ["[CLS]", "the", "plot", "is", "[SEP]"]
    assert found.truncated
    assert "5 tokens, all that the student takes" in explanation_summary(found, CLASSES)


@pytest.mark.parametrize("sentence", ["", "\u4e00 \U0001f600 <b> \0", "good " * 3000])
def test_odd_sentences(student, sentence):
    run, tokenizer = student
    found = explain(sentence, tokenizer, run.params, run.config)
    assert len(found.parts) == len(found.tokens) >= 2
    assert np.isfinite(found.logits_without).all()


def test_without_attention_there_is_no_map(tmp_path):
    run = load_run(make_run(tmp_path, attention=False))
    tokenizer = load_tokenizer(run.directory / "tokenizer.json")
    found = explain(SENTENCE, tokenizer, run.params, run.config)
    assert explanation_record(found)["attention"] == []
    assert "attn" not in spikes_table(found)


def test_the_tables(explanation):
    summary = explanation_summary(explanation, CLASSES)
    assert summary.startswith(f"answer   {CLASSES[explanation.answer]}, probability ")
    assert f"energy   literature {explanation.millijoules['literature']:.3g}, strict " in summary
    assert "theoretical" in summary
    encoder, *_ = explanation.spikes.values()
    rows = spikes_table(explanation).splitlines()
    assert rows[1].split() == ["blocks.0", "encoder", "q", "k", "v", "attn", "out", "up", "down"]
    assert [row.split()[1] for row in rows[2:11]] == [f"{count:.0f}" for count in encoder]
    rows = attention_table(explanation, 1, 0).splitlines()[2:]
    np.testing.assert_array_equal(
        [list(map(int, row.split()[2:])) for row in rows], explanation.attention(1, 0)
    )


def test_a_chinese_letter_fills_two_places_of_a_table():
    found = by_hand([0.0, 2.0], [[0, 1], [0, 1]])._replace(tokens=["[CLS]", "\u7535\u5f71"])
    rows = parts_table(found, CLASSES).splitlines()[1:]
    assert rows[1].index("+1.00") == rows[0].index("+1.00") - 2


def test_the_table_of_parts_names_the_answer_that_a_token_prevents():
    rows = parts_table(by_hand([0.0, 2.0, 1.0], [[0, 3, 1], [3, 1, 0]]), CLASSES).splitlines()
    assert rows[1].split() == ["0", "-1.00", "-------"]
    assert rows[2].split() == ["1", "+3.00", "+" * 20, "without", "it:", "blame"]
