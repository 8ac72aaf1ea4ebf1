"""`spikebert teacher get` and `cache` on a tiny random BERT."""

import io
import json
import os
import shutil
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file
from test_teacher_cache import rewrite_manifest
from tiny import last_json

from spikebert_np.cli import main
from spikebert_np.data import teacher_cache_writer
from spikebert_np.data.download import file_digest
from spikebert_np.data.teacher_cache import load_cache
from spikebert_np.data.tokenizer import load_tokenizer
from spikebert_np.models.bert import bert_forward
from spikebert_np.models.bert_checkpoint import load_bert, read_config, tensor_names
from spikebert_np.training.frozen_teacher import linear_head_logits, read_sentences
from spikebert_np.training.workers import workers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "a", "fine", "warm", "dull", "long", "film", "story", "is", "not", "and"]
CONFIG = {
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 130,
    "type_vocab_size": 2,
}
TRAIN = ["1 a fine film", "0 a dull film", "1 warm story", "0 long and dull", "1 film is not dull"]
DEV = ["0 the film is not fine", "1 a warm and fine story"]


@pytest.fixture
def teacher(tmp_path):
    """A directory without a classifier."""
    folder = tmp_path / "tiny-bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    save_file(random_tensors(read_config(folder / "config.json")), folder / "model.safetensors")
    return folder


def random_tensors(config):
    rng = np.random.default_rng(31)
    return {
        name: rng.standard_normal(
            shape[::-1] if key.endswith(".weight") else shape, dtype=np.float32
        )
        for key, (name, shape) in tensor_names(config).items()
    }


def add_classifier(folder, classes):
    tensors = random_tensors(read_config(folder / "config.json"))
    rng = np.random.default_rng(32)
    for name, rows in (("pooler.dense", 8), ("classifier", classes)):
        tensors[f"{name}.weight"] = rng.standard_normal((rows, 8), dtype=np.float32)
        tensors[f"{name}.bias"] = rng.standard_normal(rows, dtype=np.float32)
    save_file(tensors, folder / "model.safetensors")


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "train.txt").write_text("\n".join(TRAIN))
    (folder / "dev.txt").write_text("\n".join(DEV))
    return folder


def cache_command(teacher, corpus, out, *options):
    paths = ["--teacher", str(teacher), "--data", str(corpus), "--out", str(out)]
    return main(["teacher", "cache", *paths, *options])


def test_cache_holds_what_the_teacher_gives(teacher, corpus, tmp_path, capsys):
    add_classifier(teacher, classes=2)
    options = ("--layers", "3,0", "--hidden-sentences", "6")
    assert cache_command(teacher, corpus, tmp_path / "cache", *options) == 0
    assert "7 sentences (train 5, dev 2)" in capsys.readouterr().out
    cache = load_cache(tmp_path / "cache")
    config, params = load_bert(teacher)
    output, _ = bert_forward(cache.ids, cache.offsets, params, config)
    assert cache.splits == {"train": (0, 5), "dev": (5, 7)}
    assert cache.labels.tolist() == [1, 0, 1, 0, 1, 0, 1]
    np.testing.assert_allclose(cache.logits, output.logits, atol=1e-5)
    assert list(cache.hidden) == [0, 3]
    kept = cache.offsets[6]
    for layer, expected in ((0, output.embeddings), (3, output.hidden[2])):
        np.testing.assert_allclose(cache.hidden[layer], expected[:kept], atol=4e-3)
    np.testing.assert_allclose(cache.word_embeddings, params["embeddings.word"], atol=2e-3)
    # A student needs no other tokenizer.
    ids = load_tokenizer(cache.tokenizer).encode("the film is not fine").ids
    assert ids == cache.ids[cache.offsets[5] : cache.offsets[6]].tolist()
    # The teacher's place on this machine is nobody's business.
    assert cache.manifest["teacher"]["name"] == "tiny-bert"
    assert str(tmp_path) not in (tmp_path / "cache" / "manifest.json").read_text()
    assert "the teacher's own classifier" in cache.manifest["logits_from"]["source"]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_verify_reads_a_sample_again(teacher, corpus, tmp_path, capsys, dtype):
    add_classifier(teacher, classes=2)
    assert cache_command(teacher, corpus, tmp_path / "cache", "--dtype", dtype) == 0
    assert f"layer 3 as {dtype}: " in capsys.readouterr().out
    verify = ["teacher", "verify", str(tmp_path / "cache")]
    assert main(verify) == 2
    assert "made by the teacher tiny-bert; give --teacher DIR" in capsys.readouterr().err
    verify += ["--teacher", str(teacher)]
    assert main([*verify, "--json"]) == 0
    result = last_json(capsys.readouterr().out)
    assert result["sentences"] == 7
    assert 0 < result["3"] < 0.05
    assert result["logits"] < 1e-4
    for sample in ("0", "-3"):
        assert main([*verify, "--sample", sample]) == 2
        assert f"--sample {sample}: give 1 or more" in capsys.readouterr().err
    # Whole files that say something else than the teacher.
    for name, words in (
        ("hidden_3", "the hidden states of layer 3 differ"),
        ("word_embeddings", "word_embeddings.npy: differs from the teacher"),
        ("logits", "logits.npy: differs from the teacher"),
    ):
        before = rewrite(
            tmp_path / "cache", f"{name}.npy", np.load(tmp_path / "cache" / f"{name}.npy")[::-1]
        )
        assert main(verify) == 2
        assert words in capsys.readouterr().err
        rewrite(tmp_path / "cache", f"{name}.npy", before)
    assert main(verify) == 0
    add_classifier(teacher, classes=3)
    assert main(verify) == 2
    assert "is not the teacher of" in capsys.readouterr().err


def rewrite(folder, name, array):
    """Another array, and a manifest to fit; returns the array that was there."""
    file = folder / name
    before = np.load(file)
    np.save(file, array)
    facts = {"bytes": file.stat().st_size, "sha256": file_digest(file, "sha256")}
    rewrite_manifest(folder, lambda manifest: manifest["files"].update({name: facts}))
    return before


def test_verify_knows_a_reduced_vocabulary(teacher, corpus, tmp_path, capsys):
    """Whose ids are not the teacher's."""
    (corpus / "train.txt").write_text("1 warm film\n0 dull film\n1 warm story\n0 dull story")
    (corpus / "dev.txt").write_text("0 dull\n1 warm")
    assert cache_command(teacher, corpus, tmp_path / "cache", "--reduce-vocabulary") == 0
    assert len(load_cache(tmp_path / "cache").word_embeddings) < len(WORDS) - 3
    verify = ["teacher", "verify", str(tmp_path / "cache"), "--teacher", str(teacher)]
    assert main(verify) == 0
    (teacher / "vocab.txt").write_text("\n".join(WORDS).replace("warm", "cold") + "\n")
    assert main(verify) == 2
    assert "has the piece 'warm', which the teacher's tokenizer lacks" in capsys.readouterr().err


def test_max_bytes_keeps_the_first_sentences(teacher, corpus, tmp_path, capsys):
    assert cache_command(teacher, corpus, tmp_path / "all", "--layers", "1,3") == 0
    whole = load_cache(tmp_path / "all")
    size = sum(file.stat().st_size - 128 for file in (tmp_path / "all").glob("*.npy"))
    out = capsys.readouterr().out
    assert f"to write: {size / 1e6:,.1f} MB" in out
    token = 2 * 8 * 2
    for kept in (6, 3):
        lost = int(whole.offsets[7] - whole.offsets[kept]) * token
        for spare, name in ((0, "a"), (token, "b")):
            options = ("--layers", "1,3", "--max-bytes", str(size - lost + spare))
            assert cache_command(teacher, corpus, tmp_path / f"{name}{kept}", *options) == 0
            cache = load_cache(tmp_path / f"{name}{kept}")
            assert cache.manifest["counts"]["hidden_sentences"] == kept
    assert cache_command(teacher, corpus, tmp_path / "none", "--max-bytes", "500") == 2
    assert "one sentence needs" in capsys.readouterr().err


def test_texts_are_cut_into_sentences_on_request(teacher, corpus, tmp_path, capsys):
    (tmp_path / "reviews.txt").write_text("A long story. Not dull.\nA film\n")
    command = (teacher, tmp_path / "reviews.txt", tmp_path / "cache", "--sentences")
    assert cache_command(*command) == 0
    assert len(load_cache(tmp_path / "cache").offsets) - 1 == 3
    assert cache_command(teacher, corpus, tmp_path / "other", "--sentences") == 2
    assert "a label is of a whole text" in capsys.readouterr().err


def test_features_are_means_over_each_sentence(teacher):
    config, params = load_bert(teacher)
    ids, offsets = np.arange(5, 14), np.array([0, 2, 9])
    states, values = read_sentences(ids, offsets, params, config, [1])
    output, _ = bert_forward(ids, offsets, params, config)
    np.testing.assert_allclose(states[1], output.hidden[0], atol=1e-5)
    layers = [output.embeddings, output.hidden[0], output.hidden[2]]
    second = np.concatenate([layer[2:9].mean(axis=0) for layer in layers])
    np.testing.assert_allclose(values["features"][1], second, atol=1e-5)


def test_what_was_read_is_told_in_the_thread_that_asked(teacher):
    config, params = load_bert(teacher)
    ids, offsets = np.full(2000, 5), np.arange(0, 2001, 10)
    told = []

    def read(tokens):
        told.append((tokens, threading.current_thread()))

    with workers(2) as run:
        read_sentences(ids, offsets, params, config, [1], run=run, read=read)
    assert [tokens for tokens, _ in told] == [1020, 980]
    assert {thread for _, thread in told} == {threading.current_thread()}


def test_a_teacher_without_classifier_gets_a_linear_head(teacher, corpus, tmp_path):
    assert cache_command(teacher, corpus, tmp_path / "cache") == 0
    cache = load_cache(tmp_path / "cache")
    assert cache.logits.shape == (7, 2)
    assert list(cache.hidden) == [2, 3]
    logits_from = cache.manifest["logits_from"]
    assert "linear head" in logits_from["source"]
    right = (cache.logits.argmax(axis=1) == cache.labels)[5:]
    assert logits_from["accuracy"]["dev"] == right.mean()


def test_what_the_logits_are_stands_on_a_line_of_its_own(teacher, corpus, tmp_path, monkeypatch):
    """The progress bar is on standard error, and a terminal shows both."""
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cache_command(teacher, corpus, tmp_path / "out") == 0
    lines = terminal.getvalue().replace("\r", "\n").split("\n")
    assert any(line.startswith("logits: a linear head") for line in lines)


def test_train_logits_come_from_heads_that_have_not_seen_the_sentence():
    """Labels that are pure chance, and enough features to learn them by heart."""
    rng = np.random.default_rng(33)
    features = rng.standard_normal((300, 400)).astype(np.float32)
    labels = rng.integers(0, 2, 300)
    logits = linear_head_logits(features, labels, 2, {"train": (0, 200), "dev": (200, 300)})
    assert (logits.argmax(axis=1) == labels)[:200].mean() < 0.65
    # The same where few features tell the class: then unseen sentences are right as well.
    features = features[:, :10]
    features[:, 0] += 8 * labels
    logits = linear_head_logits(features, labels, 2, {"train": (0, 200), "dev": (200, 300)})
    assert (logits.argmax(axis=1) == labels).mean() > 0.95


def test_plain_text_has_hidden_states_only(teacher, tmp_path):
    (tmp_path / "lines.txt").write_text("a long story\na film\n")
    assert cache_command(teacher, tmp_path / "lines.txt", tmp_path / "cache") == 0
    cache = load_cache(tmp_path / "cache")
    assert cache.labels is cache.logits is None
    assert cache.splits == {"train": (0, 2)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layers", "3,4"], "--layers 3,4: give different numbers from 0 to 3"),
        (["--layers", "3,3"], "--layers 3,3: give different"),
        (["--layers", "last"], "--layers last: give different"),
        (["--max-tokens", "131"], "more than the 130 positions"),
        (["--hidden-sentences", "8"], "from 1 to the corpus's 7"),
        (["--hidden-sentences", "0"], "from 1 to the corpus's 7"),
        (["--teacher", "minilm"], "spikebert teacher get minilm"),
        (["--out", "."], "exists already"),
        (["--max-bytes", "inf"], "--max-bytes inf: give a finite number"),
        (["--max-bytes", "nan"], "--max-bytes nan: give a finite number"),
    ],
)
def test_mistakes_end_in_one_sentence(
    teacher, corpus, tmp_path, monkeypatch, capsys, options, words
):
    monkeypatch.setenv("SPIKEBERT_HOME", str(tmp_path / "home"))
    assert cache_command(teacher, corpus, tmp_path / "cache", *options) == 2
    assert words in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["corpus", "tiny-bert"]


def test_a_full_disk_is_noticed_before_the_start(teacher, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    assert cache_command(teacher, corpus, tmp_path / "deep" / "cache") == 2
    assert "MB are free" in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()


def test_what_a_stopped_run_has_written_needs_no_room(teacher, corpus, tmp_path, monkeypatch):
    """A disk with room for one cache, most of which is there."""
    wide = ("--layers", "0,1,2,3")
    assert cache_command(teacher, corpus, tmp_path / "whole", *wide) == 0
    size = sum(file.stat().st_size - 128 for file in (tmp_path / "whole").glob("*.npy"))
    arguments = (teacher, corpus, tmp_path / "cache", *wide)

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(teacher_cache_writer, "read_values", stopped)
        assert cache_command(*arguments) == 130
    written = sum(f.stat().st_size for f in (tmp_path / ".cache.partial").rglob("*") if f.is_file())
    assert 0 < written < 2 * size
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: SimpleNamespace(free=max(0, size - written))
    )
    assert cache_command(*arguments) == 0
    load_cache(tmp_path / "cache")


def test_corpora_of_nothing_and_of_one_class(teacher, corpus, tmp_path, capsys):
    (tmp_path / "marks.txt").write_text("...\n!!\n")
    command = (teacher, tmp_path / "marks.txt", tmp_path / "cache", "--sentences")
    assert cache_command(*command) == 2
    assert "marks.txt: holds no sentence" in capsys.readouterr().err
    for lines in ("0 a film", "0 a film\n0 a story"):
        (tmp_path / "one.txt").write_text(lines)
        assert cache_command(teacher, tmp_path / "one.txt", tmp_path / "cache") == 2
        assert "one.txt: all its labels are 0" in capsys.readouterr().err
    assert not (tmp_path / ".cache.partial").exists()


def test_a_tokenizer_that_is_no_berts_is_refused(teacher, capsys):
    tokenizer = load_tokenizer(teacher)
    spec = json.loads(tokenizer.to_str())
    (teacher / "tokenizer.json").write_text(json.dumps(spec | {"post_processor": None}))
    assert main(["teacher", "get", str(teacher)]) == 2
    assert "puts no [CLS] before a text" in capsys.readouterr().err
    # As many words as the model, but one has an id beyond.
    spec["model"]["vocab"]["and"] = 99
    (teacher / "tokenizer.json").write_text(json.dumps(spec))
    assert main(["teacher", "get", str(teacher)]) == 2
    assert "the tokenizer has 100 words, but config.json says 15" in capsys.readouterr().err


def test_labels_beyond_the_classifier(teacher, corpus, tmp_path, capsys):
    add_classifier(teacher, classes=2)
    (corpus / "train.txt").write_text("\n".join([*TRAIN, "2 a fine film"]))
    assert cache_command(teacher, corpus, tmp_path / "cache") == 2
    assert "has the label 2" in capsys.readouterr().err


def test_get_checks_a_directory(teacher, capsys):
    assert main(["teacher", "get", str(teacher)]) == 0
    assert "3 blocks, 8 wide, 2 heads, 15 words, 130 positions" in capsys.readouterr().out
    assert main(["teacher", "get", str(teacher), "--from", "x.whl"]) == 2
    assert "--from gives the wheel of minilm" in capsys.readouterr().err
    (teacher / "vocab.txt").write_text("\n".join([*WORDS, "more"]) + "\n")
    assert main(["teacher", "get", str(teacher)]) == 2
    assert "16 words" in capsys.readouterr().err
