"""`spikebert demo`: each row of its table is what it says, and what it says to paste works."""

import contextlib
import io
import json
import shlex
import tomllib

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import last_json

from spikebert_np.cli import main
from spikebert_np.commands import demo
from spikebert_np.data.shipped import TOY, open_cache
from spikebert_np.data.tokenizer import load_tokenizer
from spikebert_np.training import report

STUDENTS = ("direct", "distilled", "no_attention")


@pytest.fixture(scope="module")
def tiny_demo(tmp_path_factory):
    """A demo of two seeds whose students are far too small: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(demo, "MODEL", {**demo.MODEL, "width": 16, "mlp_width": 16, "heads": 2})
        patch.setattr(demo, "STAGE1", {**demo.STAGE1, "epochs": 1})
        patch.setattr(demo, "STAGE2", {**demo.STAGE2, "epochs": 2})
        patch.setattr(report, "FEWEST_STEPS", 1000)  # no figures
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert main(["demo", "--seed", "3", "--seeds", "2", "--json"]) == 0
    return folder / "runs" / "demo", printed.getvalue()


def tables(run):
    return tomllib.loads((run / "config.toml").read_text("utf-8"))


def test_the_json_has_every_row_and_the_picture_is_made(tiny_demo):
    out, printed = tiny_demo
    row = last_json(printed)
    assert row.keys() == demo.ROWS.keys() | {"firing_rate", "seconds"}
    assert (out / "sentence.png").read_bytes().startswith(b"\x89PNG")
    assert all(label in printed for label in demo.ROWS.values())
    assert " times less" in printed


def test_scores_are_those_of_the_test_split(tiny_demo, capsys):
    out, printed = tiny_demo
    row = last_json(printed)
    for name in STUDENTS:
        scores = []
        for seed in (3, 4):
            run = str(out / f"seed{seed}" / name)
            assert main(["evaluate", run, "--data", TOY, "--split", "test", "--json"]) == 0
            scores.append(last_json(capsys.readouterr().out)["accuracy"])
        assert row[name] == pytest.approx(np.mean(scores), abs=1e-9)
    cache = open_cache(TOY)
    first, last = cache.splits["test"]
    right = cache.logits.argmax(axis=1) == cache.labels
    assert row["teacher"] == pytest.approx(right[first:last].mean(), abs=1e-9)
    assert row["majority"] == 0.5


def test_the_direct_student_sees_no_teacher(tiny_demo):
    run = tiny_demo[0] / "seed3" / "direct"
    training = tables(run)["training"]
    assert (training["w_kl"], training["w_feat"], training["w_emb"]) == (0, 0, 0)
    assert (training["w_ce"], training["embedding"]) == (1, "random")
    assert tables(run)["data"]["init"] == ""
    assert likeness_to_the_teachers_words(run) < 0.1
    # The same measure finds the teacher where it is.
    assert likeness_to_the_teachers_words(run.parent / "distilled") > 0.8


def likeness_to_the_teachers_words(run):
    rows = load_file(run / "model.safetensors")["embedding.weight"]
    teacher = open_cache(TOY).word_embeddings.astype(np.float32)
    return np.corrcoef(rows.ravel(), teacher.ravel())[0, 1]


def test_the_blind_student_has_no_attention_in_either_stage(tiny_demo):
    folder = tiny_demo[0] / "seed3"
    for name in ("stage1_no_attention", "no_attention", "stage1", "distilled", "direct"):
        sees = "no_attention" not in name
        assert tables(folder / name)["model"]["attention"] is sees
        parameters = load_file(folder / name / "model.safetensors")
        assert any(".ssa." in key for key in parameters) is sees


def test_runs_record_where_they_started(tiny_demo):
    folder = tiny_demo[0] / "seed4"
    starts = {"stage1": "", "distilled": "stage1", "no_attention": "stage1_no_attention"}
    for name, start in starts.items():
        data = tables(folder / name)["data"]
        assert data["init"].endswith(start)
        assert bool(data["init"]) is bool(start)
        assert data["embedding_scale"] == pytest.approx(
            1 / open_cache(TOY).word_embeddings.astype(np.float32).std(), rel=1e-5
        )
        assert tables(folder / name)["training"]["seed"] == 4


def test_the_next_lines_can_be_pasted(tiny_demo, monkeypatch, capsys):
    out, printed = tiny_demo
    monkeypatch.chdir(out.parents[1])
    lines = [line.strip() for line in printed.partition("Next:")[2].splitlines()]
    predict, finetune = (
        shlex.split(next(line for line in lines if line.startswith(f"spikebert {name}")))[1:]
        for name in ("predict", "finetune")
    )
    assert main(predict) == 0
    tokenizer = load_tokenizer(open_cache(TOY).tokenizer)
    assert "[UNK]" not in tokenizer.encode(predict[-1]).tokens
    # The shipped cache holds hidden states of some sentences only.
    assert main([*finetune, "--epochs", "1", "--quiet"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    "flags", [["--seeds", "0"], ["--seeds", "-1"], ["--seed", "-1"], ["--seed", "one"]]
)
def test_numbers_that_will_not_do_are_refused_before_any_work(tmp_path, monkeypatch, capsys, flags):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["demo", *flags])
    assert "give a whole number" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_real_demo_shows_what_the_readme_claims(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert row["distilled"] >= 0.90
    assert row["distilled"] >= row["bag_of_words"] + 0.08
    assert row["distilled"] >= row["no_attention"] + 0.08
    # Nothing of what it trains is unwell.
    reports = [path.read_text("utf-8") for path in tmp_path.rglob("report.md")]
    assert len(reports) == 5
    assert all("nothing to warn of" in text for text in reports)
