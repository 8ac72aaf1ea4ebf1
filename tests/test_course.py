"""The course: notebooks are as their sources say, solutions pass, wrong answers fail and are named,
and every cell runs."""

import inspect
import json
import subprocess
import sys

import build
import numpy as np
import pytest
import trials
from build import Cell, SourceError

from spikebert_np.checking.exercise import Wrong, backward, function, prediction
from spikebert_np.checking.exercises import EXERCISES
from spikebert_np.layers.lif import lif_backward, lif_step_forward

SOLUTIONS = sorted((build.HERE / "solutions").glob("*.ipynb"))
LEARNERS = sorted(build.HERE.glob("*.ipynb"))
# What takes seconds: to diagnose a wrong backward pass of a whole block, to train, to compile.
SLOW = {"7.3", "7.6", "06_attention", "07_block_and_model", "09_demo", "10_numba", "11_energy",
        "12_open_ends"}  # fmt: skip


def marked(names, values):
    """Parameters of a test, those of SLOW marked as slow."""
    return [
        pytest.param(value, id=name, marks=pytest.mark.slow if name in SLOW else ())
        for name, value in zip(names, values, strict=True)
    ]


def test_the_notebooks_are_as_their_sources_say():
    assert list(build.faults()) == []
    assert len(SOLUTIONS) == len(LEARNERS) == len(build.sources()) > 0


@pytest.mark.parametrize("exercise", marked(EXERCISES, EXERCISES.values()))
def test_wrong_answers_fail_and_are_named(exercise):
    verdicts = [(wrong, exercise.judge(wrong.answer)) for wrong in exercise.wrong]
    assert len(verdicts) >= 5
    assert all(verdict.status == "FAIL" for _, verdict in verdicts)
    assert sum(trials.named(*pair) for pair in verdicts) >= 0.8 * len(verdicts)


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_our_own_answer_passes(exercise):
    assert exercise.judge(exercise.reference).passed


@pytest.mark.parametrize("path", marked([path.stem for path in SOLUTIONS], SOLUTIONS))
def test_the_solutions_of_a_chapter_pass(path, capsys):
    answers, printed = trials.run_notebook(path)
    assert answers
    for number in answers:
        assert f"PASS  Exercise {EXERCISES[number].title}." in printed


@pytest.mark.slow
@pytest.mark.parametrize("path", LEARNERS, ids=lambda path: path.stem)
def test_an_unsolved_exercise_blocks_nothing(path):
    """Stricter than to stop at the first stub: no cell raises, and each stub is told unsolved."""
    answers, printed = trials.run_notebook(path)
    for number, answer in answers.items():
        assert f"UNSOLVED  Exercise {EXERCISES[number].title}." in printed
        given = inspect.getfullargspec(answer)
        with pytest.raises(NotImplementedError, match=EXERCISES[number].title):
            answer(*[None] * len(given.args), **dict.fromkeys(given.kwonlyargs))


# --- the builder --------------------------------------------------------------------------------

SOURCE = """# %% [markdown]
# # A title
#
# text

# %%
def double(x):
    \"\"\"Twice x.\"\"\"
    # BEGIN SOLUTION 4.2
    return x + x
    # END SOLUTION


# %%
checks.ex_04_2(double)
"""


def read(tmp_path, source=SOURCE):
    path = tmp_path / "04_x.py"
    path.write_text(source, encoding="utf-8")
    return build.read_cells(path)


def test_a_region_becomes_a_stub_and_a_solution(tmp_path):
    text, task, check = read(tmp_path)
    assert text.source == "# A title\n\ntext\n"
    head = 'def double(x):\n    """Twice x."""\n'
    stub = '    raise NotImplementedError("Exercise 4.2 double")\n'
    assert task.for_learner().rstrip() == (head + stub).rstrip()
    assert task.for_solution().rstrip() == head + "    return x + x"
    assert (task.exercise, task.answer, check.checker) == ("4.2", "double", "4.2")


def test_the_same_source_gives_the_same_bytes(tmp_path):
    made = [build.notebook(read(tmp_path), solved=False) for _ in range(2)]
    assert made[0] == made[1]
    content = json.loads(made[0])
    assert content["cells"][1]["metadata"] == {"exercise": "4.2", "answer": "double"}
    assert len({cell["id"] for cell in content["cells"]}) == 3
    assert all(not cell.get("outputs") for cell in content["cells"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("# text", "text", "04_x.py:4: a line of text"),
        ("    # END SOLUTION\n", "", "04_x.py:6: one region"),
        ("def double(x):", "def a():\n    pass\ndef double(x):", "defines one function"),
        ("checks.ex", "%time checks.ex", "plain Python alone"),
        ("# %% [markdown]", "# %% a title", "04_x.py:1: write"),
    ],
)
def test_a_faulty_source_is_told_by_its_line(tmp_path, old, new, says):
    with pytest.raises(SourceError, match=says):
        read(tmp_path, SOURCE.replace(old, new, 1))


def test_a_stale_notebook_and_an_orphan_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "HERE", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "solutions").mkdir()
    (tmp_path / "99_gone.ipynb").write_text("{}")
    source = tmp_path / "src" / "20_x.py"
    source.write_text("# %% [markdown]\n# # A title\n\n# %%\nx = 1\n")
    for path, text in build.outputs().items():
        path.write_text(text, encoding="utf-8")
    assert list(build.faults()) == ["99_gone.ipynb has no source: remove it"]
    source.write_text("# %% [markdown]\n# # A title\n\n# %%\nx = 2\n")
    assert sum("is stale" in fault for fault in build.faults()) == 2


def test_a_leak_is_found(tmp_path):
    learner = tmp_path / "04_x.ipynb"
    cells = read(tmp_path)
    learner.write_text(build.notebook(cells, solved=False), encoding="utf-8")
    assert list(build.leaks(cells, learner)) == []
    learner.write_text(build.notebook(cells, solved=True), encoding="utf-8")
    assert list(build.leaks(cells, learner)) == ["04_x.ipynb shows the solution of 4.2"]


def test_what_is_shown_before_its_checker_is_found(tmp_path, monkeypatch):
    exercise = function("4.2", lif_step_forward, None, name="double")
    monkeypatch.setattr("spikebert_np.checking.exercises.EXERCISES", {"4.2": exercise})
    text, task, check = read(tmp_path)
    shown = Cell("code", "print(inspect.getsource(lif.lif_step_forward))\n", 9)
    path = tmp_path / "04_x.py"
    assert list(build.misplaced([text, task, check, shown], path)) == []
    (fault,) = build.misplaced([text, task, shown, check], path)
    assert "lif_step_forward before 4.2" in fault
    assert list(build.misplaced([text, task], path))  # no checker


def test_what_a_notebook_takes_from_a_file_of_exercises_must_be_given(tmp_path):
    source = """from spikebert_np.checking import chapter_04 as chapter, exercises as checks
from spikebert_np.checking.chapter_02 import RIDDLE, NEURON

chapter.flow(chapter.wrong_steps)
"""
    faults = list(build.not_given([Cell("code", source, 1)], tmp_path / "04_x.py"))
    assert [fault.split(":")[0] for fault in faults] == [
        "04_x.py takes NEURON from chapter_02.py",
        "04_x.py takes wrong_steps from chapter_04.py",
    ]


# --- Colab ----------------------------------------------------------------------------------------


def test_every_notebook_opens_in_colab_and_installs_the_package():
    assert LEARNERS
    for path in (*LEARNERS, *SOLUTIONS):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title, setup = ("".join(cell["source"]) for cell in cells[:2])
        place = path.relative_to(build.HERE.parent).as_posix()
        assert title.startswith("# ")
        assert f"/github/{build.REPOSITORY}/blob/main/{place})" in title.splitlines()[2]
        assert (cells[1]["cell_type"], cells[1]["metadata"]) == ("code", {})
        assert f"github.com/{build.REPOSITORY}.git" in setup
        assert all("colab" not in line for cell in cells[2:] for line in cell["source"])


@pytest.mark.parametrize("importable", [True, False])
def test_the_set_up_cell_installs_what_is_not_there_and_nothing_else(importable):
    """In a fresh process without site-packages, with pip's process recorded and not run."""
    _, setup, *_ = json.loads(LEARNERS[0].read_text(encoding="utf-8"))["cells"]
    record = "import subprocess, sys\nran = []\nsubprocess.check_call = ran.append\n"
    find = f"sys.path.append({str(build.HERE.parent)!r})\n" if importable else ""
    source = record + find + "".join(setup["source"]) + "\nprint(ran == [], *sum(ran, []))\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, check=True
    )
    nothing, *command = done.stdout.split()
    assert nothing == str(importable)
    if not importable:
        address = f"git+https://github.com/{build.REPOSITORY}.git"
        assert command == [sys.executable, "-m", "pip", "install", "-q", address]


def test_a_source_begins_with_its_title(tmp_path):
    cells = read(tmp_path, "# %%\nx = 1\n")
    with pytest.raises(SourceError, match=r"04_x\.py:1: the first cell is text"):
        build.ready_for_colab(cells, tmp_path / "04_x.py", "04_x.ipynb")


# --- the checkers -------------------------------------------------------------------------------


def line():
    return function(
        "1.1",
        lambda x: 2 * x,
        lambda rng: (rng.standard_normal(4),),
        name="line",
        wrong=[Wrong("2 missing", lambda x: x)],
    )


def test_a_checker_raises_nothing(capsys):
    def writes(x):
        x *= 2
        return x

    def broken(x):
        return x[7]

    def unsolved(x):
        raise NotImplementedError("Exercise 1.1 line")

    checker = line()
    for answer, status, says in [
        (lambda x: 2 * x, "PASS", "right"),
        (lambda x: x, "FAIL", "The likeliest mistake: 2 missing"),
        (lambda x: np.sin(x), "FAIL", "No known mistake"),
        (writes, "FAIL", "wrote to"),
        (broken, "FAIL", "IndexError"),
        (lambda x: None, "FAIL", "does it end in `return`"),
        (lambda: 1, "FAIL", "TypeError"),
        (unsolved, "UNSOLVED", "Not solved yet"),
        (3, "FAIL", "a function"),
    ]:
        verdict = checker(answer)
        assert verdict.status == status
        assert says in capsys.readouterr().out
        assert verdict.use is (answer if status == "PASS" else checker.reference)
    assert "return x[7]" in checker.judge(broken).message  # the line is shown


@pytest.mark.filterwarnings("error")
def test_values_are_not_told_what_is_said_of_gradients():
    """Any wrong number is the right one times a constant; and none of these is a gradient."""

    def ratio(x):
        return x / 8

    scalar = function("1.1", ratio, lambda rng: (rng.uniform(1, 2),),
                      wrong=[Wrong("without end", lambda x: np.inf, "it is finite")])  # fmt: skip
    for checker in (line(), scalar):
        for answer in (lambda x: -3 * x, lambda x: 0 * x, lambda x: x + 0.5):
            verdict = checker.judge(answer)
            assert verdict.status == "FAIL"
            assert not verdict.report.suggestions


def test_results_in_another_order_are_told():
    checker = function("1.1", lambda x: (x, 2 * x, 3 * x), lambda rng: (rng.standard_normal(4),),
                       outputs=("a", "b", "c"))  # fmt: skip
    verdict = checker.judge(lambda x: (2 * x, 3 * x, x))
    assert "results exchanged" in verdict.message
    assert "return a, b, c" in verdict.report.suggestions[0].sentence
    assert "b is a list and should be an array" in checker.judge(lambda x: (x, [x], x)).message


def test_what_an_answer_wrote_to_may_be_why_it_is_wrong():
    def writes(x):
        x += 1
        return x

    assert "wrong for that alone" in line().judge(writes).message


def test_a_prediction_says_where_it_is_wrong(capsys):
    checker = prediction(
        "1.2", lambda: {"agree": "yes", "reset": "soft", "row": [1, 2, 3], "slope": 4},
        wrong=[
            Wrong("one slip", lambda: {"slope": np.inf}, "it is finite"),
            Wrong("two slips", lambda: {"slope": np.inf, "reset": "hard"}, "both"),
        ],
        choices=("yes", "no", "soft", "hard"),
    )  # fmt: skip
    right = checker.reference()
    assert checker(lambda: right | {"agree": True}).passed
    assert not checker.judge(lambda: right | {"agree": False}).passed
    for key, given, says in [
        ("agree", None, "FAIL: not one of the choices"),
        ("reset", "sotf", "FAIL: not one of the choices"),
        ("row", [1, 5, 6], "FAIL: first at [1]"),
        ("row", [1, 2], "FAIL: 3 numbers are due"),
        ("slope", [4], "FAIL: one number is due"),
        ("slope", "four", "FAIL: not a number"),
    ]:
        capsys.readouterr()
        assert not checker(lambda key=key, given=given: right | {key: given}).passed
        assert says in capsys.readouterr().out
    verdict = checker.judge(lambda: {"Slope": 4})
    assert "unknown key 'Slope': did you mean 'slope'?" in str(verdict)
    head, *_, last = verdict.report.cells()
    assert head == ("question", "your answer", "verdict")
    assert last == ("slope", "-", "FAIL: no answer")
    assert "your answer" in verdict.report._repr_html_()
    slipped = checker.judge(lambda: right | {"slope": np.inf, "reset": "hard"})
    assert [entry.name for entry in slipped.report.suggestions] == ["two slips", "one slip"]


def test_dense_rows_are_not_what_was_asked_for():
    verdict = EXERCISES["5.1"].judge(lambda dy, cache: np.zeros((9, dy.shape[1])))
    assert "a RowGradient is asked for" in verdict.message


def test_a_prediction_keeps_the_right_value_to_itself(capsys):
    checker = prediction(
        "1.2", lambda: {"a": 8.125, "b": "yes", "c": [1, 2]},
        wrong=[Wrong("one off", lambda: {"a": 9.125}, "count from 0")],
    )  # fmt: skip
    assert checker(lambda: {"a": 8.13, "b": "Yes ", "c": [1, 2]}).passed
    capsys.readouterr()
    assert not checker(lambda: {"a": 9.125, "b": "no", "c": [1, 2, 3]}).passed
    out = capsys.readouterr().out
    assert "count from 0" in out
    assert "8.125" not in out
    assert not checker(lambda: {"a": "x", "b": 1}).passed
    assert not checker(lambda: 3).passed


def test_a_backward_pass_takes_the_bank_with_it():
    exercise = backward("4.2", "lif", variant={"reset": "hard", "detach_reset": False})
    names = {wrong.name for wrong in exercise.wrong}
    assert {"nothing carried back", "v_reset forgotten"} <= names
    assert "reset attached" not in names  # a mistake where the reset is detached alone
    assert exercise.judge(lif_backward).passed
