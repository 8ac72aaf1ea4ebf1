"""`spikebert pretrain`, `finetune`, `evaluate`, `predict`, as a user types them."""

import tomllib

import numpy as np
import pytest
from tiny import last_json, make_cache, texts

from spikebert_np.cli import main

SMALL = ["--width", "8", "--heads", "2", "--steps", "3", "--epochs", "1", "--quiet"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    make_cache(folder)
    sentences, labels = texts(np.random.default_rng(3), 20)
    lines = [f"{label} {text}" for label, text in zip(labels, sentences, strict=True)]
    (folder / "held_out.dev").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    cache = str(folder / "cache")
    assert main(["pretrain", "--cache", cache, "--out", str(folder / "one"), *SMALL]) == 0
    init = ["--init", str(folder / "one"), "--epochs", "2", "--quiet"]
    assert main(["finetune", "--cache", cache, "--out", str(folder / "two"), *init]) == 0
    return str(folder / "two")


def test_evaluate_ends_with_accuracy_and_n(run, folder, capsys):
    assert main(["evaluate", run, "--data", str(folder / "held_out.dev"), "--json"]) == 0
    result = last_json(capsys.readouterr().out)
    assert result["n"] == 20
    assert 0 <= result["accuracy"] <= 1


def test_predict_labels_each_sentence(run, capsys):
    assert main(["predict", run, "the film is good", "bad", "--json"]) == 0
    result = last_json(capsys.readouterr().out)
    assert len(result["labels"]) == 2
    assert np.allclose(np.sum(result["probabilities"], axis=1), 1)


def test_flags_override_the_config_file(folder, capsys):
    config = folder / "mine.toml"
    config.write_text("[training]\nepochs = 1\nw_kl = 0.5\n[neuron]\ntau = 3\n[model]\nwidth = 8\n")
    out = folder / "configured"
    args = ["finetune", "--cache", str(folder / "cache"), "--out", str(out), "--quiet"]
    args += ["--config", str(config), "--heads", "2", "--w-kl", "0.25", "--json"]
    assert main(args) == 0
    assert last_json(capsys.readouterr().out)["run"] == str(out)
    tables = tomllib.loads((out / "config.toml").read_text("utf-8"))
    assert tables["training"]["epochs"] == 1
    assert tables["training"]["w_kl"] == 0.25
    assert tables["neuron"]["tau"] == 3.0
    assert tables["model"]["width"] == 8


def test_a_runs_own_config_repeats_it_exactly(run, folder):
    one = ["pretrain", "--cache", str(folder / "cache"), "--quiet"]
    config = ["--config", str(folder / "one" / "config.toml")]
    assert main([*one, *config, "--out", str(folder / "again")]) == 0
    first = (folder / "one" / "model.safetensors").read_bytes()
    assert (folder / "again" / "model.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nepoch = 3\n", "unknown key epoch"),
        ("[training]\nepochs = 'three'\n", "should be of type int"),
        ("[neuron]\ntau = 0.5\n", "at least 1"),
        ("[model]\nheads = 3\n", "not a multiple of heads"),
        ("[modle]\nheads = 3\n", "unknown table"),
        ("[training\n", "line 1"),
    ],
)
def test_a_mistake_in_the_config_is_one_sentence(folder, capsys, text, message):
    config = folder / "wrong.toml"
    config.write_text(text)
    args = ["finetune", "--cache", str(folder / "cache"), "--out", str(folder / "never")]
    assert main([*args, "--config", str(config)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert not (folder / "never").exists()


def test_mistakes_on_the_command_line_are_one_sentence(run, folder, capsys):
    cache = str(folder / "cache")
    wrong = [
        (["finetune", "--cache", str(folder), "--out", str(folder / "x")], "manifest.json"),
        (["finetune", "--cache", cache, "--out", run], "exists already"),
        (["finetune", "--cache", cache, "--init", run, "--width", "4", "--out", "x"], "--width"),
        (["evaluate", str(folder), "--data", str(folder / "held_out.dev")], "not a run folder"),
        (["evaluate", run, "--data", str(folder / "absent")], "no such file"),
    ]
    for args, message in wrong:
        assert main(args) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert message in error[-1]
        assert not any("Traceback" in line for line in error)
