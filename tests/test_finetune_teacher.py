"""`spikebert teacher finetune` on a tiny random BERT: it learns, keeps the best, and goes on after
a kill with the same weights."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file
from test_bert_gradients import CONFIG as BERT
from test_teacher_commands import CONFIG, WORDS, random_tensors
from tiny import last_json

from spikebert_np.cli import main
from spikebert_np.data.readers import read_corpus
from spikebert_np.data.tokenizer import encode_texts, load_tokenizer
from spikebert_np.models.bert import BertConfig, bert_forward
from spikebert_np.models.bert_checkpoint import load_bert, read_config
from spikebert_np.training import optim
from spikebert_np.training import teacher_loop as module
from spikebert_np.training import workers as workers_module
from spikebert_np.training.finetune_teacher import TeacherSettings, learning_rate_scales
from spikebert_np.training.pretrain_teacher import PretrainingSettings
from spikebert_np.training.teacher_loop import training_bytes
from spikebert_np.training.workers import worker_count

FAST = ("--quiet", "--batch-tokens", "64", "--learning-rate", "0.01", "--dropout", "0.05")


@pytest.fixture
def teacher(tmp_path):
    folder = tmp_path / "tiny-bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tensors = random_tensors(read_config(folder / "config.json"))
    # Norms as a network starts with them: random gains in a net this narrow let nothing through.
    for name, value in tensors.items():
        value *= 0.3
        if value.ndim == 1:
            value[:] = name.endswith("LayerNorm.weight")
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def corpus(tmp_path):
    """One word in the middle of each text tells the label."""
    rng = np.random.default_rng(8)
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, count in (("train", 160), ("dev", 40)):
        lines = []
        for label in rng.integers(0, 2, count):
            words = rng.choice(["a", "film", "story", "is", "and"], rng.integers(2, 8)).tolist()
            words.insert(rng.integers(1, len(words)), ["dull", "warm"][label])
            lines.append(f"{label} {' '.join(words)}")
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return folder


def arguments(teacher, corpus, out, *options):
    paths = ["--teacher", str(teacher), "--data", str(corpus), "--out", str(out)]
    return ["teacher", "finetune", *paths, *FAST, *options]


def test_it_learns_and_keeps_the_best_epoch(teacher, corpus, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--epochs", "8", "--patience", "8", "--dropout", "0", "--json")
    assert main(arguments(teacher, corpus, out, *options)) == 0
    text = capsys.readouterr().out
    assert "train 160 and dev 40 sentences, 2 classes" in text
    assert "memory: about" in text
    result = last_json(text)
    assert result["dev_accuracy"] > 0.85
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len(records) == result["epochs"] == 8
    best = max(record["dev_accuracy"] for record in records)
    # The written directory is that epoch's: it scores the same again, as a teacher.
    config, params = load_bert(out)
    dev = read_corpus(corpus)["dev"]
    ids, offsets, _ = encode_texts(load_tokenizer(out), dev.texts)
    output, _ = bert_forward(ids, offsets, params, config)
    assert (output.logits.argmax(axis=1) == dev.labels).mean() == best == result["dev_accuracy"]
    assert sorted(os.listdir(tmp_path)) == ["corpus", "out", "tiny-bert"]
    assert "checkpoint.npz" not in os.listdir(out)
    assert str(tmp_path) not in (out / "settings.json").read_text()


def test_a_stopped_run_goes_on_to_the_same_weights(teacher, corpus, tmp_path, monkeypatch, capsys):
    """Stopped in the middle of an epoch and right after one, by an exception at a step."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ("--epochs", "3", "--pooling", "mean")
    assert main(arguments(teacher, corpus, whole, *options)) == 0
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0)
    step, steps = optim.adamw_step, []

    def interrupted(*args, **kwargs):
        steps.append(len(steps))
        if len(steps) in (9, 40, 41):
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    monkeypatch.setattr(optim, "adamw_step", interrupted)
    # The number of workers is that of the start, whatever the machine has now.
    monkeypatch.setattr(workers_module, "worker_count", lambda: next(cores))
    cores = iter([worker_count(), 1, 3, 5, 7])
    statuses = []
    while not statuses or statuses[-1] == 130:
        statuses.append(main(arguments(teacher, corpus, parts, *options)))
        assert parts.exists() == (statuses[-1] == 0)
    assert statuses == [130, 130, 130, 0]
    assert "going on with the run that was stopped" in capsys.readouterr().out
    for name in ("model.safetensors", "config.json", "settings.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_weights(teacher, corpus, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ("--epochs", "100", "--patience", "100")
    assert main(arguments(teacher, corpus, whole, *options)) == 0
    code = (
        "import sys; from spikebert_np.training import teacher_loop as f; "
        "f.CHECKPOINT_SECONDS = 0.05; from spikebert_np.cli import main; sys.exit(main())"
    )
    rng, started = np.random.default_rng(3), time.monotonic()
    for kills in range(21):
        command = [sys.executable, "-c", code, *arguments(teacher, corpus, parts, *options)]
        process = subprocess.Popen(command)
        if kills == 0:
            while not (tmp_path / ".parts.partial" / "checkpoint.npz").exists():
                time.sleep(0.01)
            startup = time.monotonic() - started
        # Some before the first step, most after it; the last one may end.
        elif kills < 20:
            time.sleep(startup * rng.uniform(0.5, 1.5))
        else:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.wait() == 0
    for name in ("model.safetensors", "config.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_another_run_is_not_gone_on_with(teacher, corpus, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(optim, "adamw_step", interrupted)
    assert main(arguments(teacher, corpus, tmp_path / "out")) == 130
    assert main(arguments(teacher, corpus, tmp_path / "out", "--seed", "1")) == 2
    assert "with seed 0 where this one has 1" in capsys.readouterr().err
    (teacher / "vocab.txt").write_text("\n".join([*WORDS[:-2], "and", "not"]) + "\n")
    assert main(arguments(teacher, corpus, tmp_path / "out")) == 2
    assert "with tokenizer_sha256" in capsys.readouterr().err


def test_it_stops_when_dev_stands_still(teacher, corpus, tmp_path, capsys):
    options = ("--epochs", "9", "--learning-rate", "1e-9", "--patience", "2", "--json")
    assert main(arguments(teacher, corpus, tmp_path / "out", *options)) == 0
    assert last_json(capsys.readouterr().out)["epochs"] == 3


def test_lower_layers_learn_more_slowly():
    keys = ("embeddings.word", "blocks.0.attention.q.weight", "blocks.2.feed_forward.up.bias")
    scales = learning_rate_scales(dict.fromkeys((*keys, "pooler.weight")), 3, 0.5)
    assert list(scales.values()) == [1 / 16, 1 / 8, 1 / 2, 1]


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        (None, [], "spikebert data split"),
        (["a film", "a plot"], [], "have no labels"),
        (["0 a film", "1 a plot"], ["--max-tokens", "131"], "more than the 130 positions"),
        (["0 a film", "1 a plot"], ["--pooling", "last"], 'choose "first" or "mean"'),
        (["0 a film", "1 a plot"], ["--out", "."], "exists already"),
        (["0 a film", "1 a plot"], ["--max-tokens", "2"], "need at least 3"),
        (["0 a film", "0 a plot"], [], "all its labels are 0"),
    ],
)
def test_mistakes_end_in_one_sentence(teacher, tmp_path, capsys, lines, options, words):
    folder = tmp_path / "lines"
    folder.mkdir()
    for name in ("train", "dev") if lines else ("train",):
        (folder / f"{name}.txt").write_text("\n".join(lines or ["0 a film", "1 a plot"]))
    assert main(arguments(teacher, folder, tmp_path / "out", *options)) == 2
    assert words in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["lines", "tiny-bert"]


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: value} for name in ("epochs", "batch_tokens", "patience") for value in (0, -1)),
        *({name: -0.1} for name in ("warmup", "weight_decay", "dropout")),
        *({name: 0.0} for name in ("learning_rate", "clip_norm")),
        *({name: float("nan")} for name in ("learning_rate", "clip_norm", "warmup", "dropout")),
        {"weight_decay": float("inf")},
        {"warmup": 1.5},
        {"dropout": 1.0},
        {"seed": -1},
    ],
)
def test_numbers_out_of_range_are_refused(wrong):
    for settings in (TeacherSettings, PretrainingSettings):
        with pytest.raises(ValueError, match=rf"{next(iter(wrong))} = .*: it "):
            settings(**wrong)


def test_layer_decay_is_a_share():
    for wrong in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="layer_decay"):
            TeacherSettings(layer_decay=wrong)
    TeacherSettings(layer_decay=1.0, dropout=0.0, warmup=0.0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_overflows_leaves_nothing(teacher, corpus, tmp_path, capsys):
    options = ("--learning-rate", "1e30", "--clip-norm", "1e30")
    assert main(arguments(teacher, corpus, tmp_path / "out", *options)) == 2
    assert "lower --learning-rate (now 1e+30)" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["corpus", "tiny-bert"]


def test_a_gradient_that_is_not_finite_moves_nothing_and_leaves_nothing(
    teacher, corpus, tmp_path, monkeypatch, capsys
):
    clip = optim.clip_gradients

    def spoilt(grads, *args, **kwargs):
        grads["embeddings.norm.bias"][0] = np.nan
        return clip(grads, *args, **kwargs)

    monkeypatch.setattr(optim, "clip_gradients", spoilt)
    monkeypatch.setattr(optim, "adamw_step", lambda *_, **__: pytest.fail("a step was made"))
    assert main(arguments(teacher, corpus, tmp_path / "out")) == 2
    assert "the gradient's norm is nan at step 1: lower" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["corpus", "tiny-bert"]


@pytest.mark.parametrize("name", ["save_file", "savez"])
def test_a_full_disk_ends_in_one_sentence_and_goes_on(
    teacher, corpus, tmp_path, monkeypatch, capsys, name
):
    """Of the weights, where the library has an error of its own, and of the checkpoint."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(arguments(teacher, corpus, whole, "--epochs", "2")) == 0

    def full(*args, **kwargs):
        if name == "save_file":
            raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")
        raise OSError("1000 requested and 96 written")

    with monkeypatch.context() as patch:
        patch.setattr({"save_file": safetensors.numpy, "savez": np}[name], name, full)
        assert main(arguments(teacher, corpus, parts, "--epochs", "2")) == 2
    error = capsys.readouterr().err
    assert ".parts.partial" in error
    assert "make room there, and give the same command again" in error
    assert main(arguments(teacher, corpus, parts, "--epochs", "2")) == 0
    for file in ("model.safetensors", "config.json", "settings.json"):
        assert (parts / file).read_bytes() == (whole / file).read_bytes()


def test_attention_maps_of_long_sentences_are_reckoned_with():
    config = BertConfig(**BERT)
    params = {"embeddings.word": np.zeros((11, 12))}
    settings = TeacherSettings(batch_tokens=1000)
    short, long = (training_bytes(params, config, settings, 1, n) for n in (50, 500))
    # Three maps of each of 2 blocks and 3 heads; 4 bytes a number.
    assert long - short == 1000 * 450 * 3 * 2 * 3 * 4


@pytest.mark.oracles
def test_hugging_face_gives_the_same_logits(teacher, corpus, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    out = tmp_path / "out"
    assert main(arguments(teacher, corpus, out, "--epochs", "1")) == 0
    model, loading = transformers.BertForSequenceClassification.from_pretrained(
        out, output_loading_info=True
    )
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    model = model.eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    config, params = load_bert(out)
    for text in read_corpus(corpus)["dev"].texts[:10]:
        ids, offsets, _ = encode_texts(load_tokenizer(out), [text])
        assert tokenizer(text)["input_ids"] == ids.tolist()
        with torch.no_grad():
            theirs = model(torch.from_numpy(ids).long()[None]).logits.numpy()
        ours, _ = bert_forward(ids, offsets, params, config)
        np.testing.assert_allclose(ours.logits, theirs, atol=1e-5)
