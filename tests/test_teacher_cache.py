"""The cache on disk: what goes in comes out, and anything that changed is refused by name."""

import json
import os

import numpy as np
import pytest

from spikebert_np.data import teacher_cache
from spikebert_np.data.teacher_cache import load_cache, manifest_digest
from spikebert_np.data.teacher_cache_writer import cache_bytes, write_cache
from spikebert_np.errors import InputError

V, D, C = 50, 6, 3
OFFSETS = np.array([0, 4, 6, 11, 14])
IDS = np.array([1, 40, 7, 2, 1, 2, 1, 7, 7, 30, 2, 1, 9, 2])
SPLITS = {"train": (0, 3), "dev": (3, 4)}
LABELS = np.array([2, 0, 1, -1])
RNG = np.random.default_rng(12)
WORDS = RNG.standard_normal((V, D), dtype=np.float32)
STATES = {layer: RNG.standard_normal((len(IDS), D), dtype=np.float32) for layer in (3, 6)}
LOGITS = RNG.standard_normal((4, C), dtype=np.float32)


def reader(states=STATES, calls=None):
    """What write_cache asks for: states, and of each sentence its number."""

    def read_shard(first, last):
        if calls is not None:
            calls.append((first, last))
        rows = slice(OFFSETS[first], OFFSETS[last])
        return {n: v[rows] for n, v in states.items()}, {"number": np.arange(first, last)}

    return read_shard


def logits(values):
    np.testing.assert_array_equal(values["number"], range(4))
    return LOGITS, {"source": "a test"}


def write(folder, **changed):
    return write_cache(
        folder,
        **{
            "ids": IDS,
            "offsets": OFFSETS,
            "splits": SPLITS,
            "labels": LABELS,
            "tokenizer": '{"a": "é"}',
            "word_embeddings": WORDS,
            "layers": [6, 3],
            "read_shard": reader(),
            "logits": logits,
            "about": {"teacher": {"name": "tiny", "sha256": "0"}, "corpus_sha256": "1"},
        }
        | changed,
    )


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "cache")


def test_what_goes_in_comes_out(folder):
    cache = load_cache(folder)
    np.testing.assert_array_equal(cache.ids, IDS)
    np.testing.assert_array_equal(cache.offsets, OFFSETS)
    np.testing.assert_array_equal(cache.labels, LABELS)
    np.testing.assert_array_equal(cache.logits, LOGITS)
    assert list(cache.hidden) == [3, 6]
    for layer, states in STATES.items():
        assert isinstance(cache.hidden[layer], np.memmap)
        np.testing.assert_array_equal(cache.hidden[layer], states.astype(np.float16))
    np.testing.assert_array_equal(cache.word_embeddings, WORDS.astype(np.float16))
    assert cache.splits == SPLITS
    assert cache.student_blocks == {3: 0, 6: 1}
    assert cache.tokenizer.read_text(encoding="utf-8") == '{"a": "é"}'
    assert cache.manifest["logits_from"] == {"source": "a test"}
    assert cache.manifest["teacher"]["name"] == "tiny"
    arrays = sum(file.stat().st_size - 128 for file in folder.glob("*.npy"))
    counts = {"layers": 2, "hidden_sentences": 4, "classes": C, "vocab_size": len(WORDS)}
    assert cache_bytes(OFFSETS, D, **counts, dtype="float16") == arrays


def test_the_same_input_gives_the_same_bytes(folder, tmp_path):
    again = write(tmp_path / "again")
    assert sorted(os.listdir(again)) == sorted(os.listdir(folder))
    for file in folder.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()


def test_hidden_states_of_the_first_sentences_only(tmp_path):
    calls = []
    cache = load_cache(write(tmp_path / "c", read_shard=reader(calls=calls), hidden_sentences=1))
    np.testing.assert_array_equal(cache.hidden[6], STATES[6][:4].astype(np.float16))
    assert calls == [(0, 1), (1, 4)]  # read to the end: logits may hang on that
    assert len(cache.ids) == len(IDS)


def test_words_beyond_float16_are_refused_before_anything_is_read(tmp_path):
    calls, words = [], WORDS.copy()
    words[1, 1] = 7e4
    with pytest.raises(InputError, match="a word embedding of the teacher holds a number that"):
        write(tmp_path / "cache", read_shard=reader(calls=calls), word_embeddings=words)
    assert calls == list(tmp_path.iterdir()) == []


def test_without_labels_and_logits(tmp_path):
    calls = []
    nothing = {"labels": None, "logits": None, "hidden_sentences": 2}
    cache = load_cache(write(tmp_path / "cache", read_shard=reader(calls=calls), **nothing))
    assert cache.labels is cache.logits is None
    assert calls == [(0, 2)]  # of the other sentences nobody asks anything


ARRAYS = ("ids", "offsets", "labels", "logits", "hidden_3", "hidden_6", "word_embeddings")
FILES = ["manifest.json", "tokenizer.json", *(f"{name}.npy" for name in ARRAYS)]


def test_every_file_is_known_to_these_tests(folder):
    assert sorted(os.listdir(folder)) == sorted(FILES)


@pytest.mark.parametrize("file", FILES)
def test_one_flipped_byte_is_refused_by_name(folder, file):
    path = folder / file
    content = path.read_bytes()
    for position in {0, 9, len(content) // 2, len(content) - 2, *range(0, len(content), 37)}:
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(InputError, match=rf"{file}: "):
            load_cache(folder)
    path.write_bytes(content)
    load_cache(folder)


@pytest.mark.parametrize("file", FILES)
def test_missing_and_cut_files_are_refused_by_name(folder, file):
    (folder / file).write_bytes((folder / file).read_bytes()[:-1])
    if file != "manifest.json":  # which loses a line feed only
        with pytest.raises(InputError, match=rf"{file}: has "):
            load_cache(folder)
    (folder / file).unlink()
    with pytest.raises(InputError, match=rf"{file}: (is missing|no such file)"):
        load_cache(folder)


def test_large_hidden_files_are_hashed_on_request_only(folder, monkeypatch):
    monkeypatch.setattr(teacher_cache, "HASHED_BYTES", 100)
    path = folder / "hidden_6.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    load_cache(folder)
    with pytest.raises(InputError, match=r"hidden_6\.npy: its sha256"):
        load_cache(folder, verify=True)
    for position in range(128):  # its header is read, though not hashed
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        )
        try:
            assert load_cache(folder).hidden[6].shape == (len(IDS), D)
        except InputError as error:
            assert "hidden_6.npy" in str(error)  # noqa: PT017


def rewrite_manifest(folder, change):
    """A manifest that is whole but says something else."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    manifest["sha256"] = manifest_digest(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_another_version_is_refused(folder):
    rewrite_manifest(folder, lambda manifest: manifest.update(format_version=3))
    with pytest.raises(
        InputError, match=r"manifest\.json: format version 3.*reads 1 to 2.*make the"
    ):
        load_cache(folder)


def replace_array(folder, name, array):
    np.save(folder / name, array)
    digest = teacher_cache.file_digest(folder / name, "sha256")
    facts = {"bytes": (folder / name).stat().st_size, "sha256": digest}
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: facts}))


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("offsets.npy", OFFSETS[:-1], "is needed to fit the manifest"),
        ("offsets.npy", np.array([0, 4, 4, 11, 14]), r"does not fit ids\.npy"),
        ("offsets.npy", np.array([0, 4, 6, 11, 13]), r"does not fit ids\.npy"),
        ("ids.npy", np.where(IDS == 9, 1000, IDS).astype(np.int32), "ids without a row"),
        ("ids.npy", IDS, "is needed to fit the manifest"),
        ("labels.npy", np.array([3, 0, 1, -1]), r"labels\.npy: has labels"),
        ("labels.npy", np.array([2, 0, 1, -2]), r"labels\.npy: has labels"),
        ("logits.npy", np.full((4, C), np.nan, np.float32), "not finite"),
        ("hidden_3.npy", np.full((14, D), np.inf, np.float16), "not finite"),
        ("hidden_3.npy", np.zeros((13, D), np.float16), "is needed to fit the manifest"),
        ("logits.npy", np.array([{}]), "not a readable array"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder, name, array, words):
    replace_array(folder, name, array)
    with pytest.raises(InputError, match=words):
        load_cache(folder)


def test_hidden_sentences_that_do_not_fit_are_refused(folder):
    rewrite_manifest(folder, lambda manifest: manifest["counts"].update(hidden_sentences=3))
    with pytest.raises(InputError, match="3 sentences are not 14 tokens"):
        load_cache(folder)
    rewrite_manifest(folder, lambda manifest: manifest["files"].pop("offsets.npy"))
    with pytest.raises(InputError, match=r"lists no offsets\.npy"):
        load_cache(folder)


@pytest.mark.parametrize(
    "splits",
    [
        {"train": (0, 3), "dev": (3, 5)},
        {"train": (0, 2), "dev": (3, 4)},
        {"train": (0, 3), "dev": (2, 4)},
        {"train": (0, 5), "dev": (5, 4)},
        {"train": (0, 3, 3, 4)},
        {},
    ],
)
def test_splits_that_do_not_cover_the_sentences_are_refused(folder, splits):
    rewrite_manifest(folder, lambda manifest: manifest.update(splits=splits))
    with pytest.raises(InputError, match=r"manifest\.json: its splits.*from 0 to 4"):
        load_cache(folder)


@pytest.mark.parametrize(
    "blocks",
    [{"3": 0}, {"3": 0, "6": 1, "7": 2}, {"3": 0, "6": -1}, {"3": 0, "6": 0.5}, {"3": 1, "6": 1}],
)
def test_student_blocks_that_do_not_fit_the_layers_are_refused(folder, blocks):
    rewrite_manifest(folder, lambda manifest: manifest.update(student_blocks=blocks))
    with pytest.raises(InputError, match="student_blocks should give each"):
        load_cache(folder)


def test_nothing_is_overwritten_or_left_half_written(folder, tmp_path):
    with pytest.raises(InputError, match="exists already"):
        write(folder)
    too_large = {layer: value * 1e6 for layer, value in STATES.items()}
    with pytest.raises(InputError, match="hidden state of layer 3"):
        write(tmp_path / "other", read_shard=reader(too_large))
    cut = {layer: value[:9] for layer, value in STATES.items()}
    with pytest.raises(ValueError, match=r"sentences 0 to 4 should be \(14, 6\)"):
        write(tmp_path / "other", read_shard=reader(cut))
    with pytest.raises(ValueError, match="no word embedding"):
        write(tmp_path / "other", word_embeddings=WORDS[:40])
    with pytest.raises(ValueError, match="do not follow each other"):
        write(tmp_path / "other", splits={"train": (0, 2), "dev": (3, 4)})

    assert os.listdir(tmp_path) == ["cache"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "file" / "cache")
