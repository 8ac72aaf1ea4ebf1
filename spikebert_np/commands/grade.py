"""`spikebert grade`: the learners' notebooks of the course, marked."""

import argparse
import csv
import json
import sys
from collections import Counter
from pathlib import Path

from ..errors import InputError
from ..files import write_atomically
from .options import aligned, at_least


def register(commands):
    """Add `grade`."""
    grade = commands.add_parser(
        "grade",
        help="mark learners' notebooks of the course",
        description="Runs notebooks of the course and marks each exercise. PATH is a notebook, or "
        "a folder with one learner a file, or one learner a subfolder.\n\n"
        "Each notebook runs in a fresh process, as plain Python, without Jupyter and without a "
        "network. The marks are not made there: the checker runs in the grader's own process, "
        "sends arguments of its choice over, and judges the arrays that come back. What a notebook "
        "rebinds, patches, prints or writes changes no mark. It can write to its own temporary "
        "folder alone.\n\n"
        "The package that a notebook finds is a copy without the answers. Where a cell needs a "
        "function that an exercise asks for, the grader runs it and takes note.\n\n"
        "The marks:\n"
        "  PASS            right, also on numbers that no notebook has seen\n"
        "  FAIL            wrong; with the likely mistake, or the error it stopped with\n"
        "  UNSOLVED        its stub is still there\n"
        "  MISSING         no cell defines the function\n"
        "  reference used  it calls the package's own answer, by whatever way, or reads a file "
        "that holds answers. To call what a checker's `.use` has put in place of another exercise "
        "that the learner did not solve is no such use: the course offers it\n"
        "  TIMEOUT         a cell or an answer was stopped, or the notebook's time was over\n"
        "  MEMORY          an answer met the limit of memory\n"
        "  CRASH           an answer or its cell ended its process\n"
        "  UNREADABLE      the file is no notebook of the course\n\n"
        "Of several answers to one exercise the best counts.\n\n"
        "What is not defended against: the notebook runs under your account, and it can read your "
        "files. A learner who knows how calls native code (ctypes), which nothing here holds; for "
        "strangers' notebooks use a container or another account. An answer that carries our "
        "source as text, or asks another function of the package that holds the same formula, "
        "passes. Read the code of full marks.",
        epilog="examples:\n"
        "  spikebert grade 04_bptt.ipynb\n"
        "  spikebert grade submissions/ --csv marks.csv\n"
        "  spikebert grade submissions/ --seconds 20 --memory 2 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    grade.add_argument("path", metavar="PATH", type=Path, help="a notebook, or a folder of them")
    grade.add_argument("--csv", metavar="FILE", type=Path, help="also write the rows here")
    grade.add_argument(
        "--seconds",
        metavar="S",
        type=at_least(1),
        default=120,
        help="seconds that one cell or one answer may take (default: 120); what the package "
        "compiles is compiled anew for each notebook",
    )
    grade.add_argument(
        "--total",
        metavar="S",
        type=at_least(1),
        default=900,
        help="seconds that one notebook may take (default: 900)",
    )
    grade.add_argument(
        "--memory",
        metavar="GIB",
        type=at_least(1),
        default=4,
        help="address space that a notebook may take, in GiB (default: 4; macOS has no such limit)",
    )
    grade.add_argument("--json", action="store_true", help="print one line of JSON last")
    grade.set_defaults(run=run_grade)


def run_grade(args):
    """Mark, print the table, and return 1 where a file could not be read."""
    from tqdm import tqdm

    if sys.platform == "win32":
        raise InputError("grade needs the limits of Linux or macOS: run it there, or under WSL")
    from ..checking.grading import UNREADABLE, Row, grade_notebook, one_line, submissions
    from ..checking.grading_process import Limits

    if args.csv and (args.csv.is_dir() or not args.csv.absolute().parent.is_dir()):
        raise InputError(f"{args.csv}: is no file in a folder that exists; name another file")
    found, strange = submissions(args.path)
    limits = Limits(args.seconds, args.total, args.memory << 30)
    rows, unread = [], []
    for learner, path in tqdm(found, file=sys.stderr, desc="grade", unit="notebook"):
        try:
            rows += grade_notebook(learner, path, limits)
        except InputError as error:
            unread.append(one_line(str(error)))
            rows.append(Row(learner, one_line(path.name), "", "", UNREADABLE, "", unread[-1]))
    if len(unread) == len(found):
        raise InputError(unread[0])
    print("\n".join(_table(rows)))
    for sentence in (*strange, *unread):
        print(f"spikebert: {one_line(sentence)}", file=sys.stderr)
    if args.csv:
        write_atomically(args.csv, lambda path: _write_csv(path, rows))
    if args.json:
        result = {"learners": len({row.learner for row in rows}), **Counter(r.status for r in rows)}
        print(json.dumps(result | {"rows": [row._asdict() for row in rows]}))
    return int(bool(unread))


def _table(rows):
    """A line a row; then a line a learner, and one of all."""
    cells = [("learner", "exercise", "mark", "likely mistake")]
    for row in rows:
        told = row.mistake or (row.message if len(row.message) < 80 else row.message[:77] + "...")
        cells.append((row.learner, f"{row.exercise} {row.name}".strip() or "-", row.status, told))
    yield from aligned(cells)
    yield ""
    learners = dict.fromkeys(row.learner for row in rows)
    for learner in learners:
        own = [row for row in rows if row.learner == learner and row.exercise]
        if own:
            yield f"{learner}: {sum(row.status == 'PASS' for row in own)} of {len(own)} passed"
    counts = ", ".join(f"{n} {status}" for status, n in Counter(r.status for r in rows).items())
    yield f"{len(learners)} learner{'s' * (len(learners) > 1)}, {len(rows)} rows: {counts}"


def _write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0]._fields)
        # A table would take a name that begins so for a formula, and run it.
        formula = ("=", "+", "-", "@")
        writer.writerows([f"'{c}" if c.startswith(formula) else c for c in row] for row in rows)
