"""`spikebert grade`: the marks of solved, unsolved and wrong notebooks; what stops one cell or
answer costs no other its mark; the command."""

import csv
import io
import json
import os
import tempfile

import build
import pytest
from submission import (
    IMPORTS,
    LIMITS,
    LOOP,
    PREDICTION,
    RIGHT_STEP,
    STUB,
    WRONG_LOOP,
    code,
    marks,
    notebook,
    session,
    statuses,
    write,
)  # fmt: skip

from spikebert_np.checking.grading import read_notebook
from spikebert_np.checking.grading_process import Limits, Process
from spikebert_np.cli import main
from spikebert_np.errors import InputError

LEARNERS = sorted(build.HERE.glob("*.ipynb"))
SOLUTIONS = sorted((build.HERE / "solutions").glob("*.ipynb"))

# --- marks --------------------------------------------------------------------------------------

SLOW = [path for path in SOLUTIONS if not path.stem.startswith("02")]


@pytest.mark.parametrize(
    "path",
    [
        path if path not in SLOW else pytest.param(path, marks=pytest.mark.slow)
        for path in SOLUTIONS
    ],
    ids=lambda path: path.stem,
)
def test_a_solved_chapter_passes_and_all_its_cells_run(path):
    cells, numbers = read_notebook(path)
    with session(*numbers) as process:
        problems = [process.run_cell(*cell)[0] for cell in cells]
    # A learner's process begins no other: what a chapter shows of one is left out.
    assert [p for p in problems if p and not p.startswith("PermissionError: subprocess")] == []
    found = marks(path)
    assert {number: row.status for number, row in found.items()} == dict.fromkeys(numbers, "PASS")


# The demo's chapter trains for a minute whoever reads it; its solved one is marked above.
UNTRAINED = [path for path in LEARNERS if path.stem != "09_demo"]


@pytest.mark.slow
@pytest.mark.parametrize("path", UNTRAINED, ids=lambda path: path.stem)
def test_an_unsolved_chapter_is_told_unsolved(path):
    found = marks(path)
    assert {row.status for row in found.values()} == {"UNSOLVED"}


def test_an_unsolved_chapter(tmp_path):
    found = marks(notebook(tmp_path, step=STUB, loop="", flow=""))
    assert found["4.1"].status == "UNSOLVED"
    assert found["4.2"].status == found["4.6"].status == "MISSING"
    assert "lif_backward" in found["4.2"].message


def test_a_wrong_answer_fails_and_its_mistake_is_named(tmp_path):
    swapped = RIGHT_STEP.replace("return dh / neuron.tau, dh * (1 - 1 / neuron.tau)",
                                 "return dh / neuron.tau, dh / neuron.tau")  # fmt: skip
    one_off = (
        PREDICTION.replace('1": 2', '1": 1').replace('2": 4', '2": 3').replace('3": 5', '3": 4')
    )
    found = marks(notebook(tmp_path, step=swapped, loop=WRONG_LOOP, flow=one_off))
    assert [found[number].status for number in ("4.1", "4.2", "4.6")] == ["FAIL"] * 3
    assert found["4.1"].mistake == "1/tau for 1 - 1/tau"
    assert found["4.2"].mistake == "nothing carried back"
    assert found["4.6"].mistake == "the step of the spike"


def test_an_error_is_told_with_its_line(tmp_path):
    found = marks(notebook(tmp_path, loop="def lif_backward(ds, cache):\n    return ds[99]\n"))
    assert found["4.2"].status == "FAIL"
    assert "IndexError" in found["4.2"].message
    assert "return ds[99]" in found["4.2"].message


def test_writing_to_an_argument_is_a_mistake_here_too(tmp_path):
    found = marks(notebook(tmp_path, loop=LOOP.replace("return dx", "ds *= 0; return dx")))
    assert found["4.2"].status == "FAIL"
    assert "line that says FAIL" in found["4.2"].message


def test_what_builds_on_an_exercise_that_was_not_solved_passes(tmp_path):
    assert statuses(notebook(tmp_path, step=STUB), "4.1", "4.2") == ["UNSOLVED", "PASS"]


def test_answers_are_found_without_the_marks_of_their_cells_and_in_any_order(tmp_path):
    path = write(tmp_path / "ada.ipynb", [
        code("raise ValueError('a cell of mine')"), code("%matplotlib inline\n" + IMPORTS),
        code(PREDICTION), code(STUB, "4.1"), code(LOOP.replace("lif_backward", "mine")),
        code("my_step = 3\n" + RIGHT_STEP.replace("lif_step_backward", "my_step")),
        code("step_back = checks.ex_04_1(my_step).use"), code("checks.ex_04_2(mine)"),
    ])  # fmt: skip
    assert statuses(path, "4.1", "4.2", "4.6", "4.3") == ["PASS", "PASS", "PASS", "MISSING"]


def test_what_is_defined_again_elsewhere_is_not_marked(tmp_path):
    last = "def read_flow():\n    return {}\nlif_backward = None"
    assert statuses(notebook(tmp_path, last=last), "4.2", "4.6") == ["PASS", "PASS"]


def test_of_several_answers_the_best_counts(tmp_path):
    """A first try is left in its own cell, and mended in another; or broken there to see."""
    cells = [code(IMPORTS), code(RIGHT_STEP, "4.1"), code("step_back = lif_step_backward")]
    path = write(tmp_path / "ada.ipynb", [
        *cells, code(WRONG_LOOP, "4.2"), code("checks.ex_04_2(lif_backward)"),
        code(LOOP), code("checks.ex_04_2(lif_backward)"), code("ex_04_1 = lif_backward = None"),
        code(STUB.replace("raise NotImplementedError", "return 0, 0"), "4.1"),
    ])  # fmt: skip
    assert statuses(path, "4.1", "4.2") == ["PASS", "PASS"]


def test_a_helper_may_stand_below_and_its_name_be_used_again(tmp_path):
    helped = "def lif_step_backward(*args):\n    return helper(*args)\n"
    helper = RIGHT_STEP.replace("lif_step_backward", "helper")
    check = "step_back = checks.ex_04_1(lif_step_backward).use"
    for number, cells in enumerate(
        ((helped, check, helper), (helper, helped, check, "helper = 0"))
    ):
        cells = [code(cell, "4.1" if cell == helped else "") for cell in (IMPORTS, *cells)]
        assert statuses(write(tmp_path / f"{number}.ipynb", cells), "4.1") == ["PASS"]


SHELL = (
    """
files = !ls | grep "it's
lif_step_backward?
t = %timeit -o 1
%time known = 1
%pip install \\
   numpy
if True:
    !pip install -q "numpy
kept = """
    + '"""\n%d\n"""'
    + """ % 7 == "\\n7\\n" and (7
    % 4) == 3
"""
)


def test_what_learners_add_costs_no_mark(tmp_path):
    """Lines of Jupyter, wherever they stand, and what Python has in Jupyter alone."""
    jupyter = "get_ipython().run_line_magic('matplotlib', 'inline')\nhelp(len)\ndisplay(1)\n"
    cached = "from numba import njit\n@njit(cache=True)\ndef one(x):\n    return x + 1\n"
    step = RIGHT_STEP.replace("    dh =", "    assert one(1) == 2 and known and kept\n    dh =", 1)
    path = notebook(tmp_path, first=jupyter + cached, step=f"%%time\n{SHELL}{step}")
    assert statuses(path, "4.1") == ["PASS"]


def test_a_package_that_is_missing_here_costs_no_mark(tmp_path):
    imports = "from __future__ import annotations\nimport nowhere\nnowhere.begin()\n" + IMPORTS
    annotated = RIGHT_STEP.replace("ds, dv", "ds: nowhere.Array, dv")
    cells = [code(imports), code("\n".join(f"    {x}" for x in annotated.splitlines()), "4.1")]
    assert statuses(write(tmp_path / "ada.ipynb", cells), "4.1") == ["PASS"]


def test_numbers_of_other_kinds_are_numbers(tmp_path):
    other = "def read_flow():\n    " + PREDICTION.split("    ", 1)[1].replace(
        '0": 0', '0": Fraction(0)').replace('1": 2', '1": np.array(2, object)')  # fmt: skip
    path = notebook(tmp_path, first="from fractions import Fraction", flow=other)
    assert statuses(path, "4.6") == ["PASS"]


# --- what stops -----------------------------------------------------------------------------------

FAST = Limits(seconds=1.5, total=120, memory=2 << 30)


def test_an_endless_answer_is_stopped_and_costs_no_other(tmp_path):
    """What builds on it goes on with ours, as in the notebook."""
    endless = "def lif_step_backward(*args):\n    while True: pass\n"
    found = marks(notebook(tmp_path, step=endless), FAST)
    assert [found[number].status for number in ("4.1", "4.2", "4.6")] == ["TIMEOUT", "PASS", "PASS"]
    assert "1.5 seconds" in found["4.1"].message


def test_an_endless_cell_is_stopped_and_costs_no_other(tmp_path):
    first = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    assert statuses(notebook(tmp_path, first=first), "4.1", "4.6", limits=FAST) == ["PASS", "PASS"]


def test_the_time_of_a_notebook_is_limited(tmp_path):
    path = notebook(tmp_path, first="while True: pass")
    found = marks(path, Limits(seconds=60, total=2, memory=2 << 30))
    assert {row.status for row in found.values()} == {"TIMEOUT"}
    assert "notebook" in found["4.1"].message


def test_a_notebook_whose_time_ends_before_its_process_begins_is_late(tmp_path):
    found = marks(notebook(tmp_path), Limits(seconds=60, total=0.01, memory=2 << 30))
    assert {row.status for row in found.values()} == {"TIMEOUT"}


@pytest.mark.parametrize(
    "hog",
    [
        "np.empty(1 << 28)",
        pytest.param("[ds.copy() for _ in range(1 << 40)]", marks=pytest.mark.slow),
    ],
)
def test_the_limit_of_memory_is_named(tmp_path, hog):
    loop = f"def lif_backward(ds, cache):\n    ds = np.ones((1 << 22,))\n    return {hog}\n"
    limits = LIMITS._replace(memory=1 << 30)
    found = marks(notebook(tmp_path, loop=loop), limits)
    assert [found[number].status for number in ("4.1", "4.2", "4.6")] == ["PASS", "MEMORY", "PASS"]
    assert "1 GiB" in found["4.2"].message


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit()"])
def test_an_answer_that_ends_its_process_costs_no_other(tmp_path, end):
    loop = f"import os, sys\ndef lif_backward(ds, cache):\n    {end}\n"
    found = marks(notebook(tmp_path, loop=loop))
    status = "CRASH" if end.startswith("os.") else "FAIL"
    assert [found[number].status for number in ("4.1", "4.2", "4.6")] == ["PASS", status, "PASS"]


@pytest.mark.parametrize(("first", "last"), [("import os; os._exit(0)", "exit()"), ("1 / 0", "(")])
def test_a_cell_that_ends_costs_no_mark(tmp_path, first, last):
    path = notebook(tmp_path, first=first, last=last)
    assert statuses(path, "4.1", "4.2", "4.6") == ["PASS"] * 3


def test_an_answer_whose_cell_raises_says_what(tmp_path):
    found = marks(notebook(tmp_path, loop="def lif_backward(ds, cache:\n    return ds\n"))
    assert [found[number].status for number in ("4.1", "4.2", "4.6")] == ["PASS", "FAIL", "PASS"]
    assert "SyntaxError" in found["4.2"].message


# --- the command ----------------------------------------------------------------------------------


def test_a_folder_is_graded_and_what_is_broken_is_told(tmp_path, capsys):
    folder = tmp_path / "submissions"
    for learner in ("ada", "bob", "cleo"):
        (folder / learner).mkdir(parents=True)
    notebook(folder / "ada")
    notebook(folder / "bob", loop=WRONG_LOOP)
    notebook(folder).rename(folder / "dora.ipynb")
    (folder / "broken.ipynb").write_text("{")
    (folder / "other.ipynb").write_text('{"cells": [{"cell_type": "code", "source": "1"}]}')
    (folder / "list.ipynb").write_text('{"cells": [7]}')
    (folder / "notes.txt").write_text("hello")
    (folder / ".DS_Store").write_bytes(b"\0")
    marks_csv = tmp_path / "marks.csv"
    assert main(["grade", str(folder), "--csv", str(marks_csv), "--json"]) == 1
    out, err = capsys.readouterr()
    assert "ada: 3 of 6 passed" in out
    assert "bob: 2 of 6 passed" in out
    result = json.loads(out.splitlines()[-1])
    assert result["learners"] == 6
    assert (result["PASS"], result["UNREADABLE"], result["FAIL"]) == (8, 3, 1)
    rows = list(csv.DictReader(io.StringIO(marks_csv.read_text())))
    assert rows == result["rows"]
    assert {row["mistake"] for row in rows if row["status"] == "FAIL"} == {"nothing carried back"}
    for name in ("cleo", "broken.ipynb", "other.ipynb", "list.ipynb", "notes.txt"):
        assert err.count(f"/{name}: ") == 1
    assert "DS_Store" not in err
    assert "Traceback" not in out + err


def test_names_that_a_table_cannot_hold(tmp_path, capsys):
    folder = tmp_path / "submissions"
    (folder / "ada").mkdir(parents=True)
    for name in ("ada/04", "ada", "=1+1", "zo\udcff", "a\x1b[2Jb"):
        write(folder / f"{name}.ipynb", [code("checks.ex_04_6(lif_backward)")])
    marks_csv = tmp_path / "marks.csv"
    assert main(["grade", str(folder), "--csv", str(marks_csv)]) == 0
    out, _ = capsys.readouterr()
    learners = {"ada", "ada.ipynb", "=1+1", "zo\ufffd", "a\ufffd[2Jb"}
    assert {line.split(": ")[0] for line in out.splitlines() if line.endswith("passed")} == learners
    rows = csv.DictReader(io.StringIO(marks_csv.read_text(encoding="utf-8")))
    assert {row["learner"] for row in rows} == learners - {"=1+1"} | {"'=1+1"}


def test_a_notebook_of_another_editor_is_read(tmp_path):
    """With a mark of byte order, without metadata, or with somebody else's in the place of ours."""
    cells = [{"cell_type": "code", "metadata": None, "source": [IMPORTS, PREDICTION]},
             {"cell_type": "code", "metadata": {"exercise": ["x"]}, "source": ""}]  # fmt: skip
    path = tmp_path / "ada.ipynb"
    path.write_text("\ufeff" + json.dumps({"cells": cells}), encoding="utf-8")
    assert [cell.exercise for cell in read_notebook(path)[0]] == ["4.6", ""]


def test_an_exercise_that_a_comment_names_is_not_asked_for(tmp_path):
    _, numbers = read_notebook(notebook(tmp_path, first="# as in ex_02_3"))
    assert {number[0] for number in numbers} == {"4"}


@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_what_has_no_end_is_not_read(tmp_path, target):
    path = tmp_path / "x.ipynb"
    os.mkfifo(path) if target == "pipe" else path.symlink_to(target)
    with pytest.raises(InputError, match="no file of at most"):
        read_notebook(path)


@pytest.mark.parametrize(
    "made",
    ["nothing", "empty folder", "garbage", "no folder for the rows", "a folder for the rows"],
)
def test_what_cannot_be_graded_is_one_sentence(tmp_path, capsys, made):
    path, flags = tmp_path / "x", []
    if made == "empty folder":
        path.mkdir()
    if made == "garbage":
        path.write_bytes(bytes(range(256)))
    if made.endswith("for the rows"):
        marks_csv = tmp_path if made.startswith("a folder") else tmp_path / "none" / "marks.csv"
        path, flags = notebook(tmp_path), ["--csv", str(marks_csv)]
    assert main(["grade", str(path), *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(f"spikebert: {tmp_path}")
    assert "Traceback" not in err


# --- the process itself -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["grading_process.copy_package", "grading_process.subprocess.Popen", "grading_peer.Peer.call"],
)
def test_a_process_that_does_not_begin_leaves_nothing(tmp_path, monkeypatch, place):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(f"spikebert_np.checking.{place}", stop)
    with pytest.raises(KeyboardInterrupt), session("4.1"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_its_last_words_need_not_be_utf8(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    process = Process(set(), LIMITS, {}, None)
    try:
        (process.folder / "errors").write_bytes(b"caf\xe9 is gone\n")
        assert process.last_error() == "caf\ufffd is gone"
    finally:
        process.end()
