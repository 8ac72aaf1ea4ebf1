"""`spikebert gradcheck`, as a user types it."""

import pytest
from tiny import last_json

from spikebert_np.checking import mutants
from spikebert_np.checking.cases import CASES
from spikebert_np.checking.mutants import MUTANTS
from spikebert_np.cli import main
from spikebert_np.layers.lif import lif_backward
from spikebert_np.layers.linear import linear_backward


def test_a_table_and_a_line_of_json(capsys):
    assert main(["gradcheck", "linear", "spike_encoding", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("PASS") == 3 + 2  # by three twins, and by two
    assert "FAIL" not in out
    line = last_json(out)
    assert set(line) == {"checked", "failed", "void", "worst", "mutants"}
    bank = sum(mutant.case in ("linear", "spike_encoding") for mutant in MUTANTS)
    assert line["mutants"] == {"total": bank, "caught": bank, "diagnosed": bank}
    # x, weight and bias; the current; and of each twin of the reference the output as well.
    linear, encoding = (len(CASES[name].variants) for name in ("linear", "spike_encoding"))
    assert line["checked"] == linear * (3 + 4 + 4) + encoding * (1 + 2)
    assert line["failed"] == line["void"] == 0
    assert 0 < line["worst"] < 1e-7


def test_the_mutants_are_shown_with_what_caught_them(capsys):
    assert main(["gradcheck", "softmax", "--mutants"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split("  ")[0] == "softmax"
    assert lines[-1].split()[-1] == "sigmoid"
    assert len(lines) == 2 + 1 + 1 + sum(mutant.case == "softmax" for mutant in MUTANTS)


def test_a_mutant_that_escapes_fails(capsys, monkeypatch):
    harmless = MUTANTS[0]._replace(wrong=linear_backward)
    monkeypatch.setattr(mutants, "MUTANTS", (harmless,))
    assert main(["gradcheck", "linear", "--json"]) == 1
    assert last_json(capsys.readouterr().out)["mutants"]["caught"] == 0


def test_one_backend_and_float32(capsys):
    args = ["gradcheck", "spike_encoding", "layernorm", "--dtype", "float32", "--backend", "numba"]
    assert main([*args, "--seeds", "2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        ["block", "spike_encoding", "numba"],
        ["layer", "layernorm", "numpy"],
    ]


def test_a_wrong_pass_fails_and_is_explained(capsys, monkeypatch):
    wrong = CASES["lif"]._replace(backward=lambda ds, cache: -lif_backward(ds, cache))
    monkeypatch.setitem(CASES, "lif", wrong)
    assert main(["gradcheck", "lif", "--backend", "numpy"]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert "1. sign flipped: the gradient has the right size" in out
    assert "more reports like these" in out


def test_a_pass_that_writes_to_its_arguments_fails(capsys, monkeypatch):
    def writes(dy, cache):
        grads = linear_backward(dy, cache)
        dy[...] = 0
        return grads

    monkeypatch.setitem(CASES, "linear", CASES["linear"]._replace(backward=writes))
    assert main(["gradcheck", "linear"]) == 1
    assert "FAIL: the backward pass wrote to dy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["lfi"], "no backward pass is called lfi; `spikebert gradcheck --list` names them"),
        (["lif", "--seeds", "0"], "--seeds 0: at least 1"),
    ],
)
def test_bad_input_gets_one_sentence(args, message, capsys):
    assert main(["gradcheck", *args]) == 2
    assert message in capsys.readouterr().err


def test_the_list_names_every_case(capsys):
    assert main(["gradcheck", "--list"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == list(CASES)
