"""The toy corpus: what it promises to a learner, and the cache that travels with it."""

import re
from itertools import combinations

import numpy as np
import pytest

from spikebert_np.data import toy_reviews as grammar
from spikebert_np.data.pretrained import resolve_teacher
from spikebert_np.data.shipped import TOY, open_cache, open_corpus
from spikebert_np.data.tokenizer import encode_texts, load_tokenizer
from spikebert_np.data.toy_reviews import ADJECTIVES, NEGATIONS, SUBJECTS, toy_reviews
from spikebert_np.errors import InputError
from spikebert_np.models.bag_of_words import fit_naive_bayes, predict_naive_bayes

SPLITS = toy_reviews()
CLAUSE = re.compile(
    rf"the ({'|'.join(SUBJECTS)}) (?:is|was) (?:({'|'.join(NEGATIONS)}) )?"
    rf"(?:(?:{'|'.join(grammar.INTENSIFIERS)}) )?({'|'.join(ADJECTIVES[0] + ADJECTIVES[1])})"
)


def read(text):
    """The label of a sentence by the rule of the docstring, and its combinations of words."""
    clauses = CLAUSE.findall(text)
    subject, negation, adjective = clauses[-1]
    label = (adjective in ADJECTIVES[1]) ^ (negation != "")
    combinations = {(n, a) for _, n, a in clauses if n}
    if len(clauses) == 1:
        return label, combinations | {(subject, adjective)}
    return label, combinations | {("but", clauses[0][2], clauses[1][2])}


def test_the_label_follows_from_the_words():
    for split in SPLITS.values():
        assert [read(text)[0] for text in split.texts] == split.labels.tolist()


def test_every_combination_belongs_to_one_split_alone():
    seen = {
        name: set().union(*(read(text)[1] for text in split.texts))
        for name, split in SPLITS.items()
    }
    assert all(seen.values())
    for one, other in combinations(seen, 2):
        assert not seen[one] & seen[other], (one, other)


def test_no_sentence_stands_twice_and_classes_are_balanced():
    texts = [text for split in SPLITS.values() for text in split.texts]
    assert len(texts) == len(set(texts)) == sum(grammar.SIZES.values())
    assert all(split.labels.mean() == 0.5 for split in SPLITS.values())


def test_the_corpus_is_the_one_that_the_cache_was_made_of():
    """On every machine and Python, the grammar gives the sentences of the shipped cache."""
    cache = open_cache(TOY)
    texts = [text for split in open_corpus(TOY).values() for text in split.texts]
    encoded = encode_texts(load_tokenizer(cache.tokenizer), texts)
    np.testing.assert_array_equal(encoded.ids, cache.ids)
    np.testing.assert_array_equal(encoded.offsets, cache.offsets)
    np.testing.assert_array_equal(
        np.concatenate([split.labels for split in SPLITS.values()]), cache.labels
    )
    unknown = load_tokenizer(cache.tokenizer).token_to_id("[UNK]")
    assert unknown not in cache.ids


def test_the_shipped_cache_is_small():
    files = [file for file in open_cache(TOY).tokenizer.parent.iterdir() if file.is_file()]
    assert max(file.stat().st_size for file in files) <= 4 << 20
    assert sum(file.stat().st_size for file in files) <= 8 << 20


def test_words_and_bigrams_tell_little():
    train, test = SPLITS["train"], SPLITS["test"]
    model = fit_naive_bayes(train.texts, train.labels, 2)
    right = predict_naive_bayes(model, test.texts) == test.labels
    assert right.mean() < 0.65


@pytest.mark.slow
def test_the_command_in_its_readme_makes_the_shipped_cache(tmp_path):
    """Not bit for bit: the teacher's products are summed in another order on another processor."""
    from spikebert_np.cli import main
    from spikebert_np.data.teacher_cache import load_cache

    try:
        resolve_teacher("minilm")
    except InputError as missing:
        pytest.skip(str(missing))
    shipped = open_cache(TOY)
    readme = (shipped.tokenizer.parent / "README.md").read_text("utf-8")
    line = re.search(r"spikebert (teacher cache .*?)```", readme, re.DOTALL)[1]
    words = line.replace("\\\n", " ").split()
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert main(words) == 0
    again = load_cache(tmp_path / "again")
    assert again.manifest["corpus_sha256"] == shipped.manifest["corpus_sha256"]
    np.testing.assert_array_equal(again.ids, shipped.ids)
    np.testing.assert_array_equal(again.word_embeddings, shipped.word_embeddings)
    np.testing.assert_allclose(again.logits, shipped.logits, atol=0.02)
    for layer, states in shipped.hidden.items():
        np.testing.assert_allclose(again.hidden[layer], states, atol=0.01)
