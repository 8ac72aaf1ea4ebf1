"""`spikebert evaluate` and `spikebert predict` on whatever a shell may give them."""

import io
import shutil
import sys
from pathlib import Path

import pytest
from tiny import last_json, make_run

from spikebert_np.cli import main

MAX_TOKENS = 6  # [CLS], four words, [SEP]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of an untrained student without positions, which could read on and on."""
    folder = tmp_path_factory.mktemp("use")
    return str(make_run(folder, max_tokens=MAX_TOKENS, positions=False))


def feed(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize(
    "data",
    [
        "caf\u00e9 is warm\n\u7535\u5f71\n".encode(),
        b"\xef\xbb\xbfcaf\xc3\xa9 is warm\r\n\xe7\x94\xb5\xe5\xbd\xb1",
    ],
)
def test_predict_reads_utf_8_whatever_the_locale(run, monkeypatch, capsys, data):
    feed(monkeypatch, data)
    assert main(["predict", "--run", run]) == 0
    lines = capsys.readouterr().out.splitlines()
    sentences = [line.split("  ", 2)[2] for line in lines]
    assert sentences == ["caf\u00e9 is warm", "\u7535\u5f71"]


def test_predict_reads_cp1252_as_the_readers_of_files_do(run, monkeypatch, capsys):
    feed(monkeypatch, b"caf\xe9 is warm\n\nbad\x85\n")
    assert main(["predict", "--run", run, "--json"]) == 0
    out = capsys.readouterr().out
    assert "caf\u00e9 is warm\n" in out
    assert "bad\u2026\n" in out
    assert len(last_json(out)["labels"]) == 3  # one a line: an empty one is a sentence too
    assert (
        main(["predict", "--run", run, "caf\udce9"]) == 0
    )  # how Python passes a byte that is not UTF-8
    assert "caf\u00e9" in capsys.readouterr().out


def test_predict_refuses_what_is_no_text(run, monkeypatch, capsys):
    feed(monkeypatch, "the film".encode("utf-16"))
    assert main(["predict", "--run", run]) == 2
    assert "standard input: not a text file" in capsys.readouterr().err
    feed(monkeypatch, b"")
    assert main(["predict", "--run", run]) == 2
    monkeypatch.setattr(sys, "stdin", None)  # how Python shows a closed one
    assert main(["predict", "--run", run]) == 2
    assert capsys.readouterr().err.count("no sentence") == 2


def test_letters_that_the_terminal_lacks_are_escaped(run, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["predict", "--run", run, "caf\u00e9 \u7535\u5f71"]) == 0
    assert b"caf\\xe9 \\u7535\\u5f71\n" in out.buffer.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_one_sentence(run, monkeypatch, capsys):
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["predict", "--run", run, "the film"]) == 1
    assert "spikebert: output: No space left" in capsys.readouterr().err


def test_predict_cuts_to_the_tokens_of_the_run(run, capsys):
    assert (
        main(["predict", "--run", run, "the film is good bad cold", "the film is good", "--json"])
        == 0
    )
    captured = capsys.readouterr()
    long, short = last_json(captured.out)["probabilities"]
    assert long == pytest.approx(short, abs=1e-6)
    assert f"1 cut to {MAX_TOKENS} tokens" in captured.err


def test_evaluate_counts_what_it_cuts(run, tmp_path, capsys):
    lines = ["1 the film is good", "0 the film is good bad", "1 bad bad bad bad bad bad"]
    (tmp_path / "some.dev").write_text("\n".join(lines))
    assert main(["evaluate", run, "--data", str(tmp_path / "some.dev"), "--json"]) == 0
    out = capsys.readouterr().out
    assert "2 cut short" in out
    assert (last_json(out)["n"], last_json(out)["truncated"]) == (3, 2)


def test_without_a_run_the_shipped_student_answers(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("spikebert_np.data.shipped.shipped_student", lambda: Path(run))
    assert main(["predict", "the film is good"]) == 0
    shipped = capsys.readouterr().out
    assert main(["predict", "--run", run, "the film is good"]) == 0
    assert capsys.readouterr().out == shipped
    (tmp_path / "some.dev").write_text("1 the film is good\n")
    assert main(["evaluate", "--data", str(tmp_path / "some.dev")]) == 0
    assert " on 1 sentences (dev)" in capsys.readouterr().out


def test_a_run_where_a_sentence_should_be_is_refused(run, capsys):
    assert main(["predict", run, "the film is good"]) == 2
    assert f"{run}: is a run folder; put --run in front of it" in capsys.readouterr().err
    assert main(["predict", "--run", run, "good " * 9000]) == 0  # no path is so long


def test_a_run_folder_that_lacks_a_part_is_refused_by_its_name(run, tmp_path, capsys):
    lame = shutil.copytree(run, tmp_path / "lame")
    (lame / "tokenizer.json").unlink()
    assert main(["predict", "--run", str(lame), "a"]) == 2
    assert "tokenizer.json: no tokenizer there; copy the folder anew" in capsys.readouterr().err
    (lame / "config.toml").write_text("")
    assert main(["predict", "--run", str(lame), "a"]) == 2
    assert "config.toml [model]: has no vocab_size; add it" in capsys.readouterr().err
