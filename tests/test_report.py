"""What report.md says of a run is so, and no report costs a run."""

import errno

import numpy as np
import pytest
from tiny import make_cache

from spikebert_np.data.tokenizer import load_tokenizer
from spikebert_np.training import report
from spikebert_np.training.checkpoint import load_run
from spikebert_np.training.corpora import split_corpus
from spikebert_np.training.inference import predict_logits
from spikebert_np.training.loop import TrainingSettings
from spikebert_np.training.stages import new_student, run_stage, run_tables, student_config

LONG = TrainingSettings(epochs=4, batch_tokens=24)  # about 15 steps an epoch
SHORT = TrainingSettings(epochs=1, batch_tokens=64)
STAGE1 = TrainingSettings(epochs=4, batch_tokens=24, w_ce=0, w_kl=0, w_feat=1, w_emb=1)
PICTURES = {"curves.png", "health.png", "calibration.png"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("tiny"))


def train(out, cache, settings=SHORT, stage="finetune", kind="spikebert"):
    """The parameters kept, the config, and report.md."""
    shape = {"width": 8, "heads": 2, "steps": 3} if kind == "spikebert" else {"filters": 4}
    config = student_config(cache, kind=kind, **shape)
    params = new_student(cache, config, settings)
    tables = run_tables(stage, cache, settings, name=cache.tokenizer.parent)
    params, _ = run_stage(out, stage, cache, params, config, settings, tables=tables, quiet=True)
    return params, config, (out / "report.md").read_text("utf-8")


def pictures(folder):
    return {path.name for path in folder.glob("*.png")}


@pytest.fixture(scope="module")
def long_run(cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("long") / "a run"
    return out, *train(out, cache, LONG)


def test_the_figures_lie_beside_the_report_that_shows_them(long_run):
    out, _, _, text = long_run
    assert pictures(out) == PICTURES
    for name in PICTURES:
        assert f"({name})" in text
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_the_answers_on_dev_are_counted(long_run, cache):
    _, params, config, text = long_run
    dev = split_corpus(cache, "dev")
    logits = predict_logits(params, config, dev.ids, dev.offsets)
    answers, teacher = logits.argmax(axis=1), dev.logits.argmax(axis=1)
    for label in (0, 1):
        own = dev.labels == label
        row = [int((answers[own] == answer).sum()) for answer in (0, 1)]
        right = row[label] / own.sum()
        assert f"| **{label}** | {row[0]} | {row[1]} | {right:.3f} |" in text
    assert f", and {(answers == dev.labels).mean():.3f} of its answers are right. Exp" in text
    assert f"the same answer on {(answers == teacher).mean():.3f} of these" in text
    assert f"and is right on {(teacher == dev.labels).mean():.3f}." in text


def test_the_ten_hardest_sentences_are_shown(long_run, cache):
    _, params, config, text = long_run
    dev = split_corpus(cache, "dev")
    logits = predict_logits(params, config, dev.ids, dev.offsets)
    margin = np.where(dev.labels, 1, -1) * (logits[:, 1] - logits[:, 0])
    tokenizer = load_tokenizer(cache.tokenizer)
    table = text.partition("The hardest:")[2].partition("##")[0].strip().splitlines()[2:]
    assert len(table) == 10
    for line, i in zip(table, np.argsort(margin), strict=False):
        sentence = tokenizer.decode(dev.ids[dev.offsets[i] : dev.offsets[i + 1]].tolist())
        assert line.startswith(f"| {dev.labels[i]} | {logits[i].argmax()} | ")
        assert line.endswith(f"| {report._cell(sentence)} |")


def test_the_commands_name_the_run(long_run, cache, tmp_path):
    out, _, _, text = long_run
    assert f"spikebert finetune --config '{out}'/config.toml --out AGAIN" in text
    assert f"spikebert evaluate '{out}' --data FILE" in text
    _, _, text = train(tmp_path / "run", cache, STAGE1, "pretrain")
    assert f"spikebert pretrain --config {tmp_path}/run/config.toml --out AGAIN" in text
    assert pictures(tmp_path / "run") == {"curves.png", "health.png"}
    assert "On dev" not in text


def test_a_short_run_has_no_figures_and_a_model_without_spikes_no_health(cache, tmp_path):
    _, _, text = train(tmp_path / "short", cache)
    assert not pictures(tmp_path / "short")
    assert "png" not in text
    assert "## Health" in text
    settings = TrainingSettings(epochs=4, batch_tokens=24, w_feat=0, w_emb=0)
    _, _, text = train(tmp_path / "cnn", cache, settings, kind="textcnn")
    assert pictures(tmp_path / "cnn") == {"curves.png", "calibration.png"}
    assert "## Health" not in text


def test_without_the_teachers_logits_nothing_is_said_of_it(cache, tmp_path):
    settings = TrainingSettings(epochs=1, batch_tokens=64, w_kl=0)
    _, _, text = train(tmp_path / "run", cache._replace(logits=None), settings)
    dev = text.partition("## On dev")[2].partition("##")[0]
    assert "The hardest:" in dev
    assert "eacher" not in dev


def test_a_report_that_fails_costs_no_run(cache, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise RuntimeError("no ink")

    monkeypatch.setattr(report, "confusion_counts", fail)
    _, _, text = train(tmp_path / "run", cache)
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert "no ink" in text
    assert "no ink" in capsys.readouterr().err
    assert "## Again" in text


def test_the_run_is_whole_before_its_report_begins(cache, tmp_path, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "hardest", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", cache)
    assert load_run(tmp_path / "run").params
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_full_disk_costs_the_report_alone(cache, tmp_path, monkeypatch, capsys):
    def stop(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report, "write_atomically", stop)
    with pytest.raises(FileNotFoundError, match=r"report\.md"):
        train(tmp_path / "run", cache)
    assert "report.md could not be written: No space left on device" in capsys.readouterr().err
    assert load_run(tmp_path / "run").params


def test_what_the_run_was_made_from_is_listed(cache, tmp_path):
    config = student_config(cache, width=8, heads=2)
    tables = {"data": {"stage": "finetune", "more": ["a_1", "b|2"], "init": "", "none": []}}
    quietly = {"tables": tables, "quiet": True}
    params = new_student(cache, config, SHORT)
    run_stage(tmp_path / "run", "finetune", cache, params, config, SHORT, **quietly)
    text = (tmp_path / "run" / "report.md").read_text("utf-8")
    listed = [line for line in text.partition("| epoch")[0].splitlines() if line[:1] == "-"]
    assert listed == ["- stage: finetune", r"- more: a\_1", r"- more: b\|2"]


def test_a_sentence_leaves_the_table_whole():
    assert report._cell("a | b\nc <b>*d*</b>") == r"a \| b c &lt;b&gt;\*d\*&lt;/b&gt;"
    assert report._cell("~~no~~ $5") == r"\~\~no\~\~ \$5"
    assert report._cell("x" * 400) == "x" * 300 + " ..."
