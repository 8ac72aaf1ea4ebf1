"""Builds the notebooks of the course from their sources, `tutorials/src/NN_name.py`.

    python tutorials/build.py            write tutorials/NN_name.ipynb, for the learner,
                                         and tutorials/solutions/NN_name.ipynb
    python tutorials/build.py --check    fail where a notebook is stale or shows a solution
    python tutorials/build.py --table    every exercise: the solution passes, wrong answers fail
    python tutorials/build.py --pictures FOLDER     the figures, to be looked at

A source is Python in the percent format: a line `# %% [markdown]` begins a cell of text, each line
of it a comment; a line `# %%` begins a cell of code. A cell that asks for an answer defines one
function, and holds one region:

    def lif_backward(ds, cache):
        \"\"\"What it takes and returns: the learner sees this.\"\"\"
        # BEGIN SOLUTION 4.2
        ...
        # END SOLUTION

In the learner's notebook the region is `raise NotImplementedError("Exercise 4.2 lif_backward")`. A
later cell calls its checker, `checks.ex_04_2(lif_backward)`.

Under the title, the first line of each source, comes a badge that opens the notebook in Colab, and
then a cell that installs the package where there is none. No source holds either.

jupytext and nbformat are not used. What the course needs of the percent format and of the notebook
format is this file; a dependency would add more than it takes away, and its next release could
change the bytes.
"""

import argparse
import ast
import json
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
REGION = re.compile(r"^( *)# BEGIN SOLUTION (\d+\.\d+)\n(.*?)^ *# END SOLUTION\n", re.M | re.S)
# Where the repository is published on GitHub: the one place that says so. Colab reads it there.
REPOSITORY = "spikebert-np/spikebert_np"
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/tutorials/{name})\n"
)
SETUP = """\
# For Colab: installs the package. Where it is installed already, this does nothing.
import importlib
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("spikebert_np") is None:
    address = "git+https://github.com/{repository}.git"
    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", address])
    importlib.invalidate_caches()
"""
TELLING = 30  # a line of a solution at least this long is found nowhere in the learner's notebook


class SourceError(Exception):
    """What is wrong with a source: the file, the line, the cure."""


class Cell(NamedTuple):
    """One cell of a source, its region as it stands there."""

    kind: str  # markdown or code
    source: str  # ends in a newline
    line: int  # of the source, where the cell begins

    @property
    def solution(self):
        """The body of the region; "" where there is none."""
        found = REGION.search(self.source)
        return found[3] if found else ""

    @property
    def exercise(self):
        """The number, such as 4.2, of the exercise that the cell asks for; "" where none."""
        found = REGION.search(self.source)
        return found[2] if found else ""

    @property
    def answer(self):
        """The name of the function that the learner writes."""
        return re.search(r"^def (\w+)\(", self.source, re.M)[1]

    @property
    def checker(self):
        """The number of the exercise whose checker the cell calls; "" where none."""
        found = re.search(r"\bchecks\.ex_(\d\d)_(\d+)\(", self.source)
        return f"{int(found[1])}.{found[2]}" if found and self.kind == "code" else ""

    def for_learner(self):
        """The source with a stub for the region."""

        def stub(found):
            return f'{found[1]}raise NotImplementedError("Exercise {found[2]} {self.answer}")\n'

        return REGION.sub(stub, self.source)

    def for_solution(self):
        """The source with the region, and without its marks."""
        return REGION.sub(lambda found: found[3], self.source)


def read_cells(path):
    """The cells of a source. Raises SourceError."""
    cells, kind, lines, begin = [], None, [], 0
    text = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate([*text, "# %%"], 1):
        if line in ("# %%", "# %% [markdown]"):
            if kind is not None:
                source = "\n".join(lines).strip("\n") + "\n"
                cells.append(_checked(Cell(kind, source, begin), path))
            kind, lines, begin = "markdown" if "[" in line else "code", [], number
        elif line.startswith("# %%"):
            raise SourceError(f"{path.name}:{number}: write `# %%` or `# %% [markdown]` alone")
        elif kind is None:
            if line:
                raise SourceError(f"{path.name}:{number}: the first line must begin a cell")
        elif kind == "code":
            lines.append(line)
        elif line and line != "#" and not line.startswith("# "):
            raise SourceError(f"{path.name}:{number}: a line of text must begin with `# `")
        else:
            lines.append(line[2:])
    return cells


def _checked(cell, path):
    """The cell, where its region has its function."""
    where = f"{path.name}:{cell.line}"
    if not cell.source.strip():
        raise SourceError(f"{where}: the cell is empty")
    regions = len(REGION.findall(cell.source))
    if cell.source.count("BEGIN SOLUTION") != regions or regions > 1:
        raise SourceError(f"{where}: one region, `# BEGIN SOLUTION 4.2` to `# END SOLUTION`")
    if regions and len(re.findall(r"^def ", cell.source, re.M)) != 1:
        raise SourceError(f"{where}: a cell with a solution defines one function, the answer")
    if cell.kind == "code" and re.search(r"^[%!]", cell.source, re.M):
        raise SourceError(f"{where}: plain Python alone, no line that begins with % or !")
    return cell


def ready_for_colab(cells, path, name):
    """The cells of a source, and the badge and the set-up cell of the notebook `name`."""
    title, *rest = cells
    heading, _, text = title.source.partition("\n")
    if title.kind != "markdown" or not heading.startswith("# "):
        raise SourceError(
            f"{path.name}:{title.line}: the first cell is text, and begins `# # Title`"
        )
    badge = BADGE.format(repository=REPOSITORY, name=name)
    setup = Cell("code", SETUP.format(repository=REPOSITORY), title.line)
    return [title._replace(source=f"{heading}\n\n{badge}{text}"), setup, *rest]


def notebook(cells, *, solved):
    """The notebook as text: the same cells give the same bytes."""
    entries = []
    for number, cell in enumerate(cells):
        source = cell.for_solution() if solved else cell.for_learner()
        entry = {"cell_type": cell.kind, "id": f"cell-{number:03d}", "metadata": {}}
        if cell.exercise:  # where a grader finds the answer
            entry["metadata"] = {"exercise": cell.exercise, "answer": cell.answer}
        if cell.kind == "code":
            entry |= {"execution_count": None, "outputs": []}
        entry["source"] = source.rstrip("\n").splitlines(keepends=True)
        entries.append(entry)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    content = {"cells": entries, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def sources():
    """The chapters' sources, in order."""
    return sorted((HERE / "src").glob("[0-9][0-9]_*.py"))


def outputs():
    """{path: text} of all notebooks, as they should be."""
    made = {}
    for path in sources():
        for folder in ("", "solutions/"):
            name = folder + path.with_suffix(".ipynb").name
            cells = ready_for_colab(read_cells(path), path, name)
            made[HERE / name] = notebook(cells, solved=bool(folder))
    return made


def faults():
    """What is wrong with sources and notebooks, a sentence each."""
    expected = outputs()
    on_disk = {*HERE.glob("*.ipynb"), *HERE.glob("solutions/*.ipynb")}
    for path in sorted(on_disk | expected.keys()):
        name = path.relative_to(HERE)
        if path not in expected:
            yield f"{name} has no source: remove it"
        elif path not in on_disk or path.read_text(encoding="utf-8") != expected[path]:
            yield f"{name} is stale: run `python tutorials/build.py`"
    for path in sources():
        learner = HERE / path.with_suffix(".ipynb").name
        if learner in on_disk:
            yield from leaks(read_cells(path), learner)
        yield from misplaced(read_cells(path), path)
        yield from not_given(read_cells(path), path)


def leaks(cells, learner):
    """What the learner's notebook shows of the solutions."""
    entries = json.loads(learner.read_text(encoding="utf-8"))["cells"]
    shown = "\n".join("".join(entry["source"]) for entry in entries)
    if "SOLUTION" in shown:
        yield f"{learner.name} holds the mark of a solution"
    lines = {line.strip() for line in shown.splitlines()}
    for cell in filter(lambda cell: cell.exercise, cells):
        if cell.solution.strip() in shown:
            yield f"{learner.name} shows the solution of {cell.exercise}"
        for line in map(str.strip, cell.solution.splitlines()):
            if len(line) >= TELLING and line in lines:
                yield f"{learner.name} shows a line of the solution of {cell.exercise}: {line}"


def misplaced(cells, path):
    """Exercises without a checker, and code of ours that is shown before its exercise's checker."""
    from spikebert_np.checking.exercises import EXERCISES

    asked = [cell.exercise for cell in cells if cell.exercise]
    checked = [cell.checker for cell in cells if cell.checker]
    chapter = int(path.name[:2])
    declared = [number for number in EXERCISES if int(number.split(".")[0]) == chapter]
    if not asked == checked == declared:
        yield (
            f"{path.name} asks for {asked}, its checkers are {checked}, chapter_{chapter:02d}.py "
            f"declares {declared}: these must be the same, in the same order"
        )
        return
    open_until = {number: cells.index(cell) for cell in cells if (number := cell.checker)}
    for position, cell in enumerate(cells):
        for number, checker in open_until.items():
            for hidden in EXERCISES[number].hides:
                shown = rf"getsource\((\w+\.)*{hidden}\)"
                if position <= checker and re.search(shown, cell.source):
                    yield f"{path.name}:{cell.line} shows {hidden} before {number} is checked"
        if cell.exercise and cell.answer != EXERCISES[cell.exercise].name:
            yield (
                f"{path.name}:{cell.line}: {cell.exercise} asks for {cell.answer}; its exercise is "
                f"named {EXERCISES[cell.exercise].name}"
            )


def not_given(cells, path):
    """What a notebook takes from a file of exercises that does not give it: a grader would not."""
    source = "\n".join(cell.source for cell in cells if cell.kind == "code")
    nodes, package = list(ast.walk(ast.parse(source))), "spikebert_np.checking"
    chapters, taken = {}, set()  # {name in the notebook: chapter_NN}; {(chapter_NN, name)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == package:
            chapters |= {a.asname or a.name: a.name for a in node.names if "chapter_" in a.name}
        if isinstance(node, ast.ImportFrom) and node.module.startswith(f"{package}.chapter_"):
            taken |= {(node.module.rpartition(".")[2], alias.name) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken |= {(chapters[node.value.id], node.attr)} if node.value.id in chapters else set()
    for chapter, name in sorted(taken):
        if name not in getattr(import_module(f"{package}.{chapter}"), "__all__", ()):
            yield f"{path.name} takes {name} from {chapter}.py: write it into __all__ there"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where one should")
    parser.add_argument("--table", action="store_true", help="try every exercise's answers")
    parser.add_argument(
        "--pictures", metavar="FOLDER", help="run the solutions, write figures here"
    )
    parser.add_argument(
        "chapter", nargs="?", default="", help="with --table, --pictures: this alone"
    )
    args = parser.parse_args()
    if args.table or args.pictures:
        import trials

        return (
            trials.draw(args.pictures, args.chapter)
            if args.pictures
            else trials.table(args.chapter)
        )
    try:
        if args.check:
            found = list(faults())
            print("\n".join(found) or "The notebooks are as their sources say.")
            return int(bool(found))
        for path, text in outputs().items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"{len(sources())} chapters written")
    except SourceError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
