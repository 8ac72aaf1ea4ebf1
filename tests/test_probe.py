"""`spikebert probe`: a linear head on a frozen student, and evaluation on another corpus."""

import numpy as np
import pytest
from conftest import away_from_init, random_offsets
from tiny import SPECIAL, WORDS, last_json, texts, write_tokenizer

from spikebert_np.cli import main
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert
from spikebert_np.training.checkpoint import config_tables, save_weights, write_config
from spikebert_np.training.inference import pooled_features, predict_logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A student that was never trained, and a corpus whose label is whether "good" occurs."""
    folder = tmp_path_factory.mktemp("probe")
    config = SpikeBertConfig(
        vocab_size=len(SPECIAL + WORDS), width=16, heads=2, embedding_width=6, max_tokens=12
    )
    params = init_spikebert(config, np.random.default_rng(3))
    write_tokenizer(folder / "tokenizer.json")
    (folder / "run").mkdir()
    write_config(folder / "run", config_tables(config))
    save_weights(folder / "run", params, folder / "tokenizer.json")
    write_corpus(folder / "data", lambda label: label)
    return folder


def write_corpus(path, label_of, count=300, dev=80):
    path.mkdir()
    sentences, labels = texts(np.random.default_rng(5), count)
    lines = [f"{label} {text}" for label, text in zip(labels, sentences, strict=True)]
    (path / "some.train").write_text("\n".join(lines[dev:]))
    lines = [f"{label_of(int(line[0]))} {line[2:]}" for line in lines[:dev]]
    (path / "some.dev").write_text("\n".join(lines))


def test_the_features_are_what_the_head_reads(rng):
    config = SpikeBertConfig(vocab_size=11, width=8, heads=2, steps=3, embedding_width=6)
    params = away_from_init(init_spikebert(config, rng), rng)
    ids, offsets = random_offsets(rng, [3, 5, 4])
    features = pooled_features(params, config, ids, offsets)
    assert features.shape == (3, 8)
    logits = features @ params["head.weight"] + params["head.bias"]
    np.testing.assert_allclose(logits, predict_logits(params, config, ids, offsets), atol=1e-5)


def probe(folder, name, capsys):
    assert main(["probe", str(folder / "run"), "--data", str(folder / name), "--json"]) == 0
    return last_json(capsys.readouterr().out)


def test_a_head_learns_on_train_and_dev_only_measures(folder, capsys):
    before = {path.name: path.read_bytes() for path in (folder / "run").iterdir()}
    result = probe(folder, "data", capsys)
    assert result["n"] == 80
    assert result["accuracy"] > result["majority"] + 0.1
    write_corpus(folder / "flipped", lambda label: 1 - label)
    flipped = probe(folder, "flipped", capsys)
    assert flipped["accuracy"] == pytest.approx(1 - result["accuracy"])
    assert flipped["majority"] == pytest.approx(1 - result["majority"])
    coin = np.random.default_rng(8)
    write_corpus(folder / "noise", lambda label: coin.integers(2))
    penalties = {probe(folder, name, capsys)["penalty"] for name in ("noise", "flipped")}
    assert penalties == {result["penalty"]}
    assert before == {path.name: path.read_bytes() for path in (folder / "run").iterdir()}


def test_another_corpus_of_the_same_classes_is_scored(folder, capsys):
    """As CR is by a run of SST-2: two plain files, one a class, and no dev split."""
    (folder / "cr").mkdir()
    (folder / "cr" / "custrev.pos").write_text("good\nthe film is good\n")
    (folder / "cr" / "custrev.neg").write_text("cold\n")
    assert main(["evaluate", str(folder / "run"), "--data", str(folder / "cr"), "--json"]) == 0
    out = capsys.readouterr().out
    assert last_json(out)["n"] == 3
    sentences = ["good", "the film is good", "cold"]
    assert main(["predict", "--run", str(folder / "run"), *sentences, "--json"]) == 0
    answers = last_json(capsys.readouterr().out)["labels"]
    assert last_json(out)["accuracy"] == np.mean(np.array(answers) == [1, 1, 0])


def test_mistakes_are_one_sentence(folder, capsys):
    (folder / "all.train").write_text("1 good\n0 bad\n")
    (folder / "plain.txt").write_text("good\nbad\n")
    run = str(folder / "run")
    for args, message in (
        ([run, "--data", str(folder / "all.train")], "spikebert data split"),
        ([run, "--data", str(folder / "plain.txt")], "train has no labels"),
        ([str(folder), "--data", str(folder / "data")], "not a run folder"),
    ):
        assert main(["probe", *args]) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
