"""Texts to sentences: what ends one, what does not, and that nothing else is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikebert_np.data.readers import Split
from spikebert_np.data.sentences import split_sentences, split_texts
from spikebert_np.errors import InputError


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dull. Long! Why? So", ["Dull.", "Long!", "Why?", "So"]),
        ('He said "No." Then left.', ['He said "No."', "Then left."]),
        ("It cost 3.5 million... and flopped.", ["It cost 3.5 million... and flopped."]),
        ("With Mr. Smith and J. R. Jones. Good.", ["With Mr. Smith and J. R. Jones.", "Good."]),
        ("One.<br /><br />two<br>Three", ["One.", "two", "Three"]),
        ("(Really.) Yes. ?! 10 points.", ["(Really.)", "Yes.", "10 points."]),
        ("房间很好。服务“真棒！”下次再来！！", ["房间很好。", "服务“真棒！”", "下次再来！！"]),
        ("no end", ["no end"]),
        (" . ! ", []),
        ("Mr.", ["Mr."]),
    ],
)
def test_what_ends_a_sentence(text, sentences):
    assert split_sentences(text) == sentences


@given(st.text(alphabet="aB1.!? \"')。”\n", max_size=60))
def test_no_word_is_lost_or_moved(text):
    joined = "".join(split_sentences(text))
    assert re.findall(r"\w", joined) == re.findall(r"\w", text)


def test_labels_are_of_whole_texts():
    texts = {"train": Split(["One. Two.", "Three."], None)}
    assert split_texts("x", texts)["train"].texts == ["One.", "Two.", "Three."]
    with pytest.raises(InputError, match="a label is of a whole text"):
        split_texts("x", {"train": Split(["One."], [1])})
