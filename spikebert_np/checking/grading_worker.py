"""The process in which a learner's cells and answers run. It knows no answer of ours.

Its package is a copy without them (see `grading_copy.py`). Where a chapter's cells need ours, they
ask the grader, which runs it over there and takes note. In place of the checkers stands what asks
for a verdict; what that says in here counts for nothing but how the chapter goes on.
"""

import ast
import linecache
import os
import re
import sys
from codeop import Compile
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import NamedTuple

from .grading_guard import guard, limit
from .grading_peer import Peer, told

PEER = None  # the grader


def ask(target, *args, **settings):
    """What the grader answers."""
    return PEER.call(target, *args, **settings)


class Verdict(NamedTuple):
    """As `exercise.Verdict`, without the report."""

    status: str
    message: str
    use: object

    @property
    def passed(self):
        return self.status == "PASS"


class Checker(NamedTuple):
    """In place of an Exercise."""

    number: str

    def __call__(self, answer):
        status, message = ask("check", self.number, answer)
        return Verdict(status, message, answer if status == "PASS" else self.reference)

    judge = __call__

    @property
    def reference(self):
        """Ours: run by the grader."""
        return lambda *args, **settings: ask("use", self.number, args, settings)


class Standin(ModuleType):
    """A module whose names are looked up by `find`."""

    def __init__(self, name, find):
        super().__init__(f"{__package__}.{name}")
        self.__dict__["__getattr__"] = find
        sys.modules[self.__name__] = self
        setattr(sys.modules[__package__], name, self)


def find_checker(name):
    """checks.ex_04_2"""
    if found := re.fullmatch(r"ex_(\d\d)_(\d+)", name):
        return Checker(f"{int(found[1])}.{found[2]}")
    raise AttributeError(name)


def find_show_bugs(name):
    """Bugs are shown to nobody: their sources tell what they are called."""
    if name == "show_bugs":
        return lambda bugs, seed=1: None
    raise AttributeError(name)


def finder(chapter):
    """What looks up the names of a chapter's file of exercises."""

    def find(name):
        if name.startswith("__"):  # asked for by the import
            raise AttributeError(name)
        value = ask("given", chapter, name)
        # A function, which `inspect` can show.
        return (lambda *args, **settings: value(*args, **settings)) if callable(value) else value

    return find


def stand_in(chapters):
    """What a notebook imports from `checking/` and would tell answers."""
    Standin("exercises", find_checker)
    Standin("bug_hunt", find_show_bugs)
    for chapter in chapters:
        Standin(chapter, finder(chapter))


class Notebook:
    """The cells of one notebook, run one after another in one namespace."""

    def __init__(self):
        self.compile = Compile()  # keeps what was imported from __future__
        self.namespace = {"__name__": "__main__", "display": lambda *args, **settings: None}

    def run_cell(self, number, source, names):
        """Run it: what it raised first ("" where nothing), and {name: function} of those it
        defined. A statement that raises stops no other: what a learner imports may be missing here.
        """
        name, problem, before = f"cell {number}", "", self.look_up(names)
        with suppress(OSError):  # where Numba looks for it, `cache=True` asked for
            Path(name).write_text(source, encoding="utf-8", errors="replace")
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
        try:
            statements = ast.parse(plain(source), name).body
        except Exception as error:
            statements, problem = [], ": ".join(told(error))
        for statement in statements:
            try:
                exec(self.compile(ast.Module([statement], []), name, "exec"), self.namespace)
            except BaseException as error:  # whatever a learner's code raises
                problem = problem or ": ".join(told(error))
        found = self.look_up(names)
        return problem, {key: f for key, f in found.items() if f is not before.get(key)}

    def look_up(self, names):
        """{name: function} of those that are defined by now."""
        found = {name: self.namespace.get(name) for name in names}
        return {name: function for name, function in found.items() if callable(function)}


# %matplotlib inline, !pip, ?np.dot; files = !ls; np.dot?
JUPYTER = re.compile(r"\s*([%!?]|[\w, ]+=\s*[%!]|[\w.]+\?)")


def plain(source):
    """The source without the lines of Jupyter: those that are not Python and look like them."""
    lines = dedent(source).split("\n")
    for _ in lines:
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            place = (error.lineno or 1) - 1
            if place >= len(lines) or not JUPYTER.match(lines[place]):
                break
            end = place
            while lines[end].endswith("\\") and end + 1 < len(lines):
                end += 1
            timed = re.sub(r"^(\s*)%time\s+(?=\S)", r"\1", lines[place])  # its names are kept
            line = timed if timed != lines[place] else re.sub(r"\S.*", "pass", timed)
            lines[place : end + 1] = [line, *[""] * (end - place)]
        else:
            break
    return "\n".join(lines)


def run(function, args, settings):
    """Call an answer; what would end the process becomes an error of this answer alone."""
    try:
        return function(*args, **settings)
    except Exception:
        raise
    except BaseException as error:  # SystemExit, KeyboardInterrupt
        raise RuntimeError(f"it ended with {type(error).__name__}") from error


def compiled(function, args):
    """The function's values, compiled by Numba."""
    from numba import njit

    return njit(error_model="numpy")(getattr(function, "py_func", function))(*args)


def main(reader, writer, memory, seconds, folder, package, chapters):
    """Serve the grader until it is gone."""
    global PEER
    limit(memory, seconds)
    notebook = Notebook()
    targets = {"run_cell": notebook.run_cell, "look_up": notebook.look_up, "compiled": compiled}
    PEER = Peer(os.fdopen(reader, "rb"), os.fdopen(writer, "wb"), targets, run)
    stand_in(chapters)
    guard(folder, package, lambda: ask("opened"))
    PEER.serve()
