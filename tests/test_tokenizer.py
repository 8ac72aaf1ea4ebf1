"""Texts to packed ids, by a tokenizer small enough to read."""

import json

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from spikebert_np.data.batches import batch_indices, make_batch
from spikebert_np.data.tokenizer import encode_texts, load_tokenizer, reduce_vocabulary
from spikebert_np.errors import InputError

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "warm",
    "film",
    "##s",
    "dull",
    "好",
]
PAD, UNK, CLS, SEP = range(4)


@pytest.fixture
def directory(tmp_path):
    """A BERT directory whose tokenizer.json pads and truncates, as MiniLM's does."""
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    tokenizer = BertWordPieceTokenizer(str(tmp_path / "vocab.txt"), lowercase=True)
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_no_pad_id_reaches_a_batch(directory):
    tokenizer = load_tokenizer(directory)
    encoded = encode_texts(tokenizer, ["A warm film", "dull films, a warm film", "", "好好"])
    assert encoded.ids.dtype == np.int32
    assert encoded.offsets.dtype == np.int64
    assert encoded.offsets.tolist() == [0, 5, 14, 16, 20]
    assert encoded.truncated == 0
    assert encoded.ids[5:16].tolist() == [CLS, 9, 7, 8, UNK, 5, 6, 7, SEP, CLS, SEP]
    for index in batch_indices(encoded.offsets, max_tokens=12, rng=np.random.default_rng(0)):
        batch = make_batch(encoded.ids, encoded.offsets, None, index)
        assert PAD not in batch.ids
        assert np.all(batch.ids[batch.offsets[:-1]] == CLS)
        assert np.all(batch.ids[batch.offsets[1:] - 1] == SEP)


def test_truncation_keeps_the_separator_and_is_counted(directory):
    tokenizer = load_tokenizer(directory / "tokenizer.json")
    encoded = encode_texts(tokenizer, ["a warm film", "a dull warm film", "a"], max_tokens=5)
    assert encoded.ids.tolist() == [CLS, 5, 6, 7, SEP, CLS, 5, 9, 6, SEP, CLS, 5, SEP]
    assert encoded.offsets.tolist() == [0, 5, 10, 13]
    assert encoded.truncated == 1
    with pytest.raises(InputError, match="at least 3"):
        encode_texts(tokenizer, ["a"], max_tokens=2)


def test_chunks_join_to_the_same_ids(directory, monkeypatch):
    tokenizer, texts = load_tokenizer(directory), ["a film", "dull", "warm films"] * 3
    whole = encode_texts(tokenizer, texts)
    monkeypatch.setattr("spikebert_np.data.tokenizer._CHUNK", 2)
    chunked = encode_texts(tokenizer, texts)
    np.testing.assert_array_equal(whole.ids, chunked.ids)
    np.testing.assert_array_equal(whole.offsets, chunked.offsets)
    assert encode_texts(tokenizer, []).offsets.tolist() == [0]


def test_vocabulary_alone_gives_the_same_ids(directory):
    texts = ["A warm film", "dull films"]
    expected = encode_texts(load_tokenizer(directory), texts).ids
    (directory / "tokenizer.json").unlink()
    np.testing.assert_array_equal(encode_texts(load_tokenizer(directory), texts).ids, expected)
    config = {"do_lower_case": False}
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    cased = encode_texts(load_tokenizer(directory), texts).ids
    assert cased.tolist() == [CLS, UNK, *expected[2:]]


def test_directories_without_a_tokenizer(directory, tmp_path_factory):
    with pytest.raises(InputError, match=r"tokenizer\.json or vocab\.txt"):
        load_tokenizer(tmp_path_factory.mktemp("empty"))
    (directory / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(InputError, match="cannot be read"):
        load_tokenizer(directory)


def test_a_reduced_vocabulary_cuts_the_same_pieces(directory):
    tokenizer = load_tokenizer(directory)
    texts = ["warm films", "a warm film"]
    ids = encode_texts(tokenizer, texts).ids
    reduced, kept = reduce_vocabulary(tokenizer, ids)
    again = encode_texts(load_tokenizer_text(reduced.to_str(), directory), texts).ids
    np.testing.assert_array_equal(kept[again], ids)
    assert reduced.get_vocab_size() == len(kept) == 5 + 4  # special tokens; a, warm, film, ##s
    assert reduced.encode("dull").tokens == ["[CLS]", "[UNK]", "[SEP]"]


def load_tokenizer_text(text, directory):
    """As a cache's reader will: from the file."""
    (directory / "reduced.json").write_text(text, encoding="utf-8")
    return load_tokenizer(directory / "reduced.json")
