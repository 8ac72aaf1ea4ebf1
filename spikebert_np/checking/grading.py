"""Marks a learner's notebooks: a row an exercise.

    rows = grade_notebook("ada", Path("ada/04_bptt.ipynb"), Limits())

The cells of the course are plain Python: they are run one after another in a fresh process, without
Jupyter. Where that process is stopped, another one begins, and what stopped the first is left out:
one cell or answer never costs the marks of the others.
"""

import re
import time
from collections import defaultdict
from typing import NamedTuple

from ..errors import InputError
from ..files import read_json
from .exercise import FAIL, PASS, UNSOLVED
from .exercises import EXERCISES
from .grading_session import MEMORY, REFERENCE, TOOK, Outcome, Session, Stopped

MISSING, UNREADABLE = "MISSING", "UNREADABLE"
MOST_BYTES = 1 << 28  # of a notebook; a pipe or a device has no end
REMEDY = "give the learner's notebook as Jupyter saves it"


class Row(NamedTuple):
    """The mark of one learner for one exercise."""

    learner: str
    notebook: str
    exercise: str  # "4.2"; "" where the notebook could not be read
    name: str
    status: str
    mistake: str
    message: str


class Cell(NamedTuple):
    """One cell of code."""

    number: int  # among all cells of the notebook
    source: str
    exercise: str  # whose answer it holds; "" where none


def submissions(path):
    """[(learner, notebook)] of a notebook, or of a folder with one learner a file or a subfolder;
    and what in that folder is neither, a sentence each. Where a file and a subfolder have one name,
    the file's learner keeps its suffix. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give a notebook, or a folder of them")
    if path.is_file():
        return [(_shown(path.stem), path)], []
    found, strange = [], []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            inside = [
                notebook for notebook in sorted(entry.rglob("*.ipynb"))
                if not any(part.startswith(".") for part in notebook.relative_to(entry).parts)
            ]  # fmt: skip
            found += [(_shown(entry.name), notebook) for notebook in inside]
            strange += [] if inside else [f"{entry}: holds no notebook, and is left out"]
        elif entry.suffix == ".ipynb":
            name = entry.name if entry.with_suffix("").is_dir() else entry.stem
            found.append((_shown(name), entry))
        else:
            strange.append(f"{entry}: is no notebook (.ipynb), and is left out")
    if not found:
        raise InputError(
            f"{path}: holds no notebook; give a notebook (.ipynb), or a folder of them"
        )
    return found, strange


def _shown(name):
    """The name of a file as a terminal and a table can show it."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)


def read_notebook(path):
    """(its cells of code, numbers of the exercises of its chapters). Raises InputError."""
    if path.exists() and not (path.is_file() and path.stat().st_size <= MOST_BYTES):
        raise InputError(f"{path}: is no file of at most {MOST_BYTES >> 20} MiB; {REMEDY}")
    content = read_json(path, remedy=REMEDY)
    try:
        entries = [
            (number, "".join(entry["source"]), str((entry.get("metadata") or {}).get("exercise")))
            for number, entry in enumerate(content["cells"])
            if entry["cell_type"] == "code"
        ]
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: is no notebook of Jupyter's; {REMEDY}") from None
    marked = {exercise for *_, exercise in entries}
    chapters = {number.split(".")[0] for number in marked & EXERCISES.keys()}
    if not chapters:  # another editor took the marks away
        found = re.findall(r"\b(?:ex|chapter)_([0-9]{2})", "\n".join(entry[1] for entry in entries))
        chapters = {str(int(chapter)) for chapter in found}
    numbers = [number for number in EXERCISES if number.split(".")[0] in chapters]
    if not numbers:
        raise InputError(f"{path}: asks for no exercise of the course; {REMEDY}")
    cells, named = [], {EXERCISES[n].name: n for n in numbers if n not in marked}
    for place, source, exercise in entries:
        if exercise not in numbers:  # the mark of its cell is gone: by the name of its function
            defined = [name for name in named if re.search(rf"^def {name}\(", source, re.M)]
            exercise = named[defined[0]] if defined else ""
        cells.append(Cell(place, source, exercise))
    return cells, numbers


def grade_notebook(learner, path, limits):
    """A Row for each exercise of the notebook's chapter. Raises InputError."""
    cells, numbers = read_notebook(path)
    deadline = time.monotonic() + limits.total
    outcomes, stopped = {}, {}  # {number: Outcome}; {cell that must not run again: Outcome}
    while len(outcomes) < len(numbers):
        try:
            with Session(numbers, limits, deadline, outcomes) as session:
                _grade(session, cells, stopped, outcomes)
        except Stopped as stop:
            if stop.exercise and stop.exercise not in outcomes:
                outcomes[stop.exercise] = stop.outcome
            elif stop.cell not in stopped and time.monotonic() < deadline:
                stopped[stop.cell] = stop.outcome
            else:  # no way of leaving out what stops it, or no time
                outcomes = dict.fromkeys(numbers, stop.outcome) | outcomes
    return [
        Row(learner, _shown(path.name), n, EXERCISES[n].name, *map(one_line, outcomes[n]))
        for n in numbers
    ]


def one_line(text):
    """One line, without what would move a terminal's cursor: it may be of a learner's making."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:500]).split())


def _grade(session, cells, stopped, outcomes):
    """Run the cells, and fill in the outcomes that are not there yet. Raises Stopped."""
    answers, problems = defaultdict(list), {}
    for cell in cells:
        if cell.number in stopped:
            problems[cell.exercise] = stopped[cell.number]
            continue
        problem, answer = session.run_cell(*cell)
        if answer is not None:
            answers[cell.exercise].insert(0, answer)  # of two cells the last one comes first
        elif problem:
            status = MEMORY if problem.startswith("MemoryError") else FAIL
            problems[cell.exercise] = Outcome(status, message=f"Its cell stopped with {problem}")
    session.forget_failures()
    for number, exercise in session.exercises.items():
        if number not in outcomes:
            found = [*answers[number], session.handed.get(number), session.look_up(exercise.name)]
            outcomes[number] = _best(session, number, found) or problems.get(
                number, Outcome(MISSING, message=f"No cell defines {exercise.name}.")
            )


def _best(session, number, answers):
    """The Outcome of the first answer that passes; else of the first that is more than its stub;
    None where there is none."""
    if number in session.used:
        return Outcome(REFERENCE, message=TOOK)
    outcomes = []
    for answer in answers:
        if answer is not None:
            outcomes.append(session.judge(number, answer))
            if outcomes[-1].status == PASS:
                return outcomes[-1]
    return min(outcomes, key=lambda outcome: outcome.status == UNSOLVED, default=None)
