"""`spikebert pretrain`, `finetune`, `evaluate`, `predict`, as a user types them."""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest
from tiny import last_json, make_cache, texts

from spikebert_np.cli import main
from spikebert_np.data.teacher_cache import load_cache
from spikebert_np.training.checkpoint import load_run
from spikebert_np.training.corpora import split_corpus
from spikebert_np.training.word_rows import contextual_word_rows

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
    assert main(["predict", "--run", run, "the film is good", "bad", "--json"]) == 0
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
        ("[training]\nepochs = true\n", "should be of type int"),
        ("[training]\nlearning_rate = true\n", "should be of type float"),
        ("[training]\nlearning_rate = nan\n", "learning_rate = nan: it must be finite"),
        ("[model]\nneuron = 3\n", "the neuron has a table of its own"),
        ("[model]\nwidth = '8'\nprojection = false\n", "width = '8' should be of type int"),
        ("model = 3\n", "model = 3 should be a table"),
        ("[data]\ncache = 3\n", "cache = 3 should be a string"),
        ("[data]\nstage = 'pretrain'\n", "is the config of a pretrain run"),
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
    cache, never = str(folder / "cache"), str(folder / "never")
    wrong = [
        (["finetune", "--cache", str(folder), "--out", str(folder / "x")], "manifest.json"),
        (["finetune", "--cache", cache, "--out", run], "exists already"),
        (["finetune", "--cache", cache, "--init", run, "--width", "4", "--out", never], "--width"),
        (["finetune", "--cache", cache, "--config", str(folder), "--out", never], "cannot be read"),
        (["pretrain", "--cache", cache, "--w-ce", "1", "--out", never], "w_ce = 1.0: stage 1"),
        (["pretrain", "--cache", cache, "--heads", "0", "--out", never], "heads = 0"),
        (["finetune", "--cache", cache, "--init", cache, "--out", never], "not a run folder"),
        (["finetune", "--cache", cache, "--new-words", "--out", never], "without --init"),
        (["evaluate", str(folder), "--data", str(folder / "held_out.dev")], "not a run folder"),
        (["evaluate", run, "--data", str(folder / "absent")], "no such file"),
    ]
    for args, message in wrong:
        assert main(args) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert message in error[-1]
        assert not any("Traceback" in line for line in error)


def test_init_without_an_epoch_gives_exactly_the_weights(run, folder, capsys):
    out = folder / "copy"
    args = ["finetune", "--cache", str(folder / "cache"), "--init", run, "--epochs", "0"]
    assert main([*args, "--out", str(out), "--quiet", "--json"]) == 0
    assert last_json(capsys.readouterr().out)["run"] == str(out)
    weights = (out / "model.safetensors").read_bytes()
    assert weights == (folder / "two" / "model.safetensors").read_bytes()
    assert (out / "metrics.jsonl").read_text() == ""


def test_new_words_are_those_of_a_new_student_and_all_else_is_the_start(run, folder):
    args = ["finetune", "--cache", str(folder / "cache"), "--init", run, "--epochs", "0", "--quiet"]
    args += ["--new-words", "--embedding", "contextual"]
    assert main([*args, "--out", str(folder / "new words")]) == 0
    before, after = load_run(run).params, load_run(folder / "new words").params
    words = after.pop("embedding.weight")
    corpus = split_corpus(cache := load_cache(folder / "cache"), "train")
    assert np.array_equal(words, contextual_word_rows(cache, corpus))
    assert not np.array_equal(words, before.pop("embedding.weight"))
    assert all(np.array_equal(after[name], before[name]) for name in before)
    # Its config repeats it.
    again = ["--config", str(folder / "new words" / "config.toml"), "--quiet"]
    assert main(["finetune", *again, "--out", str(folder / "new again")]) == 0
    assert np.array_equal(load_run(folder / "new again").params["embedding.weight"], words)


def test_a_finetunings_config_repeats_cache_and_start(run, folder):
    config = ["--config", f"{run}/config.toml"]
    assert main(["finetune", *config, "--out", str(folder / "two again"), "--quiet"]) == 0
    for name in ("model.safetensors", "config.toml"):
        first = (folder / "two" / name).read_bytes()
        assert (folder / "two again" / name).read_bytes() == first
    # Flags override: another start is other weights.
    other = ["--init", str(folder / "two"), "--epochs", "0", "--out", str(folder / "other")]
    assert main(["finetune", *config, *other, "--quiet"]) == 0
    tables = tomllib.loads((folder / "other" / "config.toml").read_text("utf-8"))
    assert tables["data"]["init"] == str(folder / "two")


def test_of_a_started_model_dropout_alone_may_change(run, folder, capsys):
    args = ["finetune", "--cache", str(folder / "cache"), "--init", run, "--epochs", "0", "--quiet"]
    config = folder / "start.toml"
    for text, message in (
        ("[model]\nwidth = 16\n", "[model]: width: the model is that of --init"),
        ("[neuron]\ntau = 3\n", "[neuron]: tau: the model is that of --init"),
        ("[model]\nwdth = 8\n", "[model]: wdth: the model is that of --init"),
    ):
        config.write_text(text)
        assert main([*args, "--config", str(config), "--out", str(folder / "started")]) == 2
        assert message in capsys.readouterr().err
    config.write_text("[model]\nwidth = 8\ndropout = 0.5\n")
    assert main([*args, "--config", str(config), "--out", str(folder / "started")]) == 0
    assert load_run(folder / "started").config.dropout == 0.5
    assert load_run(run).config.dropout == 0.1


def test_a_start_of_another_tokenizer_is_refused(run, folder, capsys):
    other = folder / "other words"
    shutil.copytree(run, other)
    path = other / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace('"film"', '"tram"'), "utf-8")
    args = ["finetune", "--cache", str(folder / "cache"), "--init", str(other)]
    args += ["--out", str(folder / "never")]
    assert main(args) == 2
    assert "its tokenizer.json is not that of" in capsys.readouterr().err


@pytest.fixture(scope="module")
def partly(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partly")
    make_cache(folder, hidden_sentences=10)
    return folder


def test_w_feat_is_0_where_states_lack_and_nobody_set_it(partly, capsys):
    args = ["finetune", "--cache", str(partly / "cache"), *SMALL]
    assert main([*args, "--out", str(partly / "unset")]) == 0
    output = capsys.readouterr()
    assert output.out.count("w_feat is 0") == 1
    assert load_run(partly / "unset").tables["training"]["w_feat"] == 0
    config = partly / "set.toml"
    config.write_text("[training]\nw_feat = 0.1\n")
    for given in (["--w-feat", "0.1"], ["--config", str(config)]):
        assert main([*args, *given, "--out", str(partly / "set")]) == 2
        assert "set --w-feat 0" in capsys.readouterr().err


def test_the_defaults_finetune_on_the_shipped_cache(tmp_path):
    assert main(["finetune", "--out", str(tmp_path / "run"), *SMALL, "--epochs", "0"]) == 0


def test_without_a_projection_at_any_width(folder, capsys):
    args = ["finetune", "--cache", str(folder / "cache"), "--no-projection", *SMALL]
    assert main([*args, "--out", str(folder / "bare")]) == 2
    assert "set --width 6" in capsys.readouterr().err
    args += ["--embedding", "random"]
    assert main([*args, "--out", str(folder / "bare")]) == 2
    assert "--w-emb 0" in capsys.readouterr().err
    assert main([*args, "--w-emb", "0", "--out", str(folder / "bare")]) == 0
    assert load_run(folder / "bare").params["embedding.weight"].shape == (14, 8)


def test_pretrain_says_which_block_learns_from_what(folder, capsys):
    args = ["pretrain", "--cache", str(folder / "cache"), *SMALL, "--epochs", "0"]
    assert main([*args, "--blocks", "3", "--out", str(folder / "three")]) == 0
    output = capsys.readouterr()
    line = output.out.splitlines()[0]
    assert "block 0 learns from the teacher's layer 1, block 1 learns from" in line
    assert line.endswith("nothing in this stage: block 2")
    assert "compiles" not in output.err  # --quiet


def test_a_cache_named_with_any_letters(folder):
    named = folder / "caché \N{CAT FACE}"
    shutil.copytree(folder / "cache", named)
    args = ["finetune", "--cache", str(named), *SMALL, "--epochs", "0"]
    assert main([*args, "--out", str(folder / "named")]) == 0
    assert load_run(folder / "named").tables["data"]["cache"] == str(named)


def test_a_reader_that_leaves_does_not_end_the_training(folder):
    out = folder / "unread"
    command = [sys.executable, "-m", "spikebert_np", "finetune", "--cache", str(folder / "cache")]
    command += ["--out", str(out), *SMALL[:-1]]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    done.stdout.close()
    assert done.wait() == 0
    assert load_run(out)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
def test_a_training_that_is_terminated_leaves_nothing(folder, tmp_path):
    command = [sys.executable, "-m", "spikebert_np", "finetune", "--cache", str(folder / "cache")]
    command += ["--out", str(tmp_path / "new" / "run"), *SMALL, "--epochs", "10000"]
    done = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("new/.run.*.training/metrics.jsonl")):
        assert done.poll() is None
        time.sleep(0.05)
    done.terminate()
    assert done.communicate()[1].endswith("spikebert: stopped\n")
    assert done.returncode == 130
    assert not list(tmp_path.iterdir())


def test_more_caches_are_trained_on_and_kept_in_the_config(folder, tmp_path, capsys):
    words = np.load(folder / "cache" / "word_embeddings.npy")
    make_cache(tmp_path, train=7, seed=9, labelled=False, word_embeddings=words)
    out = tmp_path / "run"
    args = ["finetune", "--cache", str(folder / "cache"), "--more", str(tmp_path / "cache")]
    assert main([*args, "--out", str(out), *SMALL]) == 0
    data = tomllib.loads((out / "config.toml").read_text("utf-8"))["data"]
    assert data["more"] == [str(tmp_path / "cache")]
    again = ["finetune", "--config", str(out / "config.toml"), "--quiet"]
    assert main([*again, "--out", str(tmp_path / "again")]) == 0
    first, second = (load_run(folder).params for folder in (out, tmp_path / "again"))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_stage_1_reads_one_cache(folder, tmp_path, capsys):
    config = tmp_path / "mine.toml"
    config.write_text('[data]\nmore = ["other"]\n')
    args = ["pretrain", "--cache", str(folder / "cache"), "--config", str(config), "--quiet"]
    assert main([*args, "--out", str(tmp_path / "run")]) == 2
    assert "stage 1 reads one cache" in capsys.readouterr().err


def test_the_ablations_settings_are_read_from_a_config_file(folder):
    config = folder / "ablation.toml"
    config.write_text(
        '[training]\nfeature_loss = "cosine"\nfeature_blocks = "last"\n[neuron]\nreset = "soft"\n'
        '[model]\nnorm = "batch"\ntap = "linear"\nencoder = "heaviside"\npositions = false\n'
    )
    out = folder / "ablation"
    args = ["finetune", "--cache", str(folder / "cache"), "--out", str(out), *SMALL]
    assert main([*args, "--config", str(config)]) == 0
    trained = load_run(out)
    assert trained.config.neuron.reset == "soft"
    assert (trained.config.norm, trained.config.tap) == ("batch", "linear")
    assert trained.params["blocks.0.mlp.up.norm.mean"].any()
    assert "taps.0.weight" in trained.params
    assert "taps.0.norm.gain" not in trained.params
    # The config of a run, flags added, begins the next one; only the last block's tap has moved.
    args = ["finetune", "--cache", str(folder / "cache"), "--init", str(out), "--quiet"]
    args += ["--epochs", "1", "--feature-loss", "sentence", "--feature-blocks", "last"]
    assert main([*args, "--out", str(folder / "next")]) == 0
    later = load_run(folder / "next").params
    assert np.array_equal(later["taps.0.weight"], trained.params["taps.0.weight"])
    assert not np.array_equal(later["taps.1.weight"], trained.params["taps.1.weight"])


def test_no_tap_needs_the_teachers_width(folder, capsys):
    args = ["finetune", "--cache", str(folder / "cache"), "--tap", "none", *SMALL]
    assert main([*args, "--out", str(folder / "untapped")]) == 2
    assert 'tap = "none"' in capsys.readouterr().err
    same = ["--width", "6", "--heads", "2", "--steps", "2", "--epochs", "1", "--quiet"]
    args = ["finetune", "--cache", str(folder / "cache"), "--tap", "none", *same]
    assert main([*args, "--out", str(folder / "untapped")]) == 0


@pytest.mark.slow
def test_one_thread_and_two_give_the_same_bits(tmp_path):
    """At a width at which OpenBLAS would share a product between its threads."""
    weights, metrics = [], []
    for threads in ("1", "2"):
        out = tmp_path / threads
        command = [sys.executable, "-m", "spikebert_np", "finetune", "--epochs", "1", "--quiet"]
        subprocess.run(
            [*command, "--width", "128", "--out", str(out)],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
            check=True,
        )
        weights.append((out / "model.safetensors").read_bytes())
        lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        metrics.append([json.loads(line) | {"seconds": 0} for line in lines])
    assert weights[0] == weights[1]
    assert metrics[0] == metrics[1]
