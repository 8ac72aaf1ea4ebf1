"""The grader's side: verdicts on the answers that a learner's process holds.

The exercise's own `judge` runs here. The answer that it calls is a `Remote`: each call goes over to
the learner's process with arguments chosen here, and plain arrays come back. Nothing that code over
there rebinds, patches or prints is asked for a verdict.

What that process may have of ours it has from here, by a call, and each such call is watched for
the functions that the exercise in hand asks for.
"""

import io
import re
import secrets
import sys
import time
from collections import defaultdict
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from importlib import import_module
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .exercise import FAIL, UNSOLVED
from .exercises import EXERCISES
from .grading_copy import PACKAGE
from .grading_peer import Ended
from .grading_process import STARTING, Late, Process, alarm
from .grading_wire import ROWS, Remote
from .mutant import Mutant
from .passes import nodes

REFERENCE, MEMORY, TIMEOUT, CRASH = "reference used", "MEMORY", "TIMEOUT", "CRASH"
TOOK = "It calls our own answer, or reads a file that holds it."


class Outcome(NamedTuple):
    """The mark of one answer."""

    status: str
    mistake: str = ""  # the likeliest one's name
    message: str = ""


class Stopped(BaseException):
    """The learner's process was stopped, or ended by itself.

    exercise: whose answer was judged; "" where none. cell: the number of the one that ran last.
    """

    def __init__(self, exercise, cell, outcome):
        super().__init__(outcome.message)
        self.exercise, self.cell, self.outcome = exercise, cell, outcome


class Session:
    """A fresh process, for the exercises of these numbers. A context manager."""

    def __init__(self, numbers, limits, deadline, decided=None):
        """deadline: of `time.monotonic()`. decided: {number: Outcome} of those that are not to be
        tried again."""
        self.exercises = {number: EXERCISES[number] for number in numbers}
        self.limits, self.deadline = limits, deadline
        self.outcomes = dict(decided or {})  # by number, and by (number, number of the function)
        self.handed = {}  # {number: the answer that the notebook's own cell gave to the checker}
        self.judging = []  # the exercises in hand: an answer may call a checker, whose answer runs
        self.called = set()  # those of them whose reference was called meanwhile
        self.cell_of = ""  # the exercise whose cell is running
        self.cell = None  # the number of the cell that ran last
        self.used = set()  # numbers of the exercises that were given away in a cell

    def __enter__(self):
        targets = {
            "check": self._check, "given": self._given, "opened": self._opened,
            "ours": self._ours, "rows": self._rows, "shape": self._shape, "use": self._use,
        }  # fmt: skip
        names = {name for exercise in self.exercises.values() for name in exercise.hides}
        self.process = Process(names, self.limits, targets, self._watched)
        self.peer = self.process.peer
        self.ours = {
            (module, name): getattr(import_module(f"{PACKAGE.name}.{module}"), name)
            for module, name in self.process.emptied
        }
        try:
            with self._limited(self.limits.seconds + STARTING):
                self.peer.call("look_up", [])
        except BaseException as error:
            problem = self.process.last_error()
            self.process.end()
            if not isinstance(error, Stopped):  # Ctrl-C
                raise
            if time.monotonic() > self.deadline - 0.1:  # the notebook's own time was over
                raise
            raise InputError(
                f"no process for the answers begins ({problem}): give it more --memory or --seconds"
            ) from None
        return self

    def __exit__(self, *_):
        self.process.end()

    # --- what is asked of the learner's process ---------------------------------------------------

    def run_cell(self, number, source, exercise=""):
        """Run one cell, an answer's where `exercise` says so: what it raised, or "", and the
        answer, or None. Raises Stopped."""
        self.cell, self.cell_of = number, exercise
        names = [EXERCISES[exercise].name] if exercise else []
        with self._limited():
            problem, defined = self.peer.call("run_cell", number, source, names)
            found = str(problem), next(iter(dict(defined).values()), None)
        self.cell_of = ""
        return found

    def look_up(self, name):
        """The function that has this name after the last cell; None where there is none."""
        with self._limited():
            return dict(self.peer.call("look_up", [name])).get(name)

    def forget_failures(self):
        """Judge again what failed when its checker's cell ran: a helper may have come later."""
        self.outcomes = {
            key: outcome
            for key, outcome in self.outcomes.items()
            if outcome.status not in (FAIL, UNSOLVED)
        }

    def judge(self, number, answer):
        """The Outcome of an answer; the same function is judged once. Raises Stopped."""
        key = (number, answer.number) if isinstance(answer, Remote) else None
        if key is None or key not in self.outcomes:
            if not self.judging:
                self.called.clear()
            self.judging.append(number)
            with self._limited(), np.errstate(all="ignore"):
                self.outcomes[key] = self._judge(self.exercises[number], answer)
            self.judging.pop()
        return self.outcomes[key]

    def _judge(self, exercise, answer):
        self.peer.errors.clear()
        verdict = exercise.judge(answer)
        if verdict.passed and exercise.hides:
            # Once more, by numbers that no notebook can have by heart.
            seed = secrets.randbelow(1 << 31)
            again = exercise.judge(answer, seed)
            if not again.passed and exercise.judge(exercise.reference, seed).passed:
                verdict = again
        if exercise.number in self.called | self.used:
            return Outcome(REFERENCE, message=TOOK)
        if "MemoryError" in self.peer.errors:
            gib = self.limits.memory / (1 << 30)
            return Outcome(MEMORY, message=f"It needs more than the limit of {gib:g} GiB.")
        found = verdict.report.suggestions if verdict.report and verdict.status == FAIL else ()
        message = verdict.message if verdict.status == FAIL and not found else ""
        return Outcome(verdict.status, found[0].name if found else "", message)

    @contextmanager
    def _limited(self, seconds=None):
        """What is asked within takes so many seconds at most. Raises Stopped."""
        seconds = seconds or self.limits.seconds
        left = self.deadline - time.monotonic()
        try:
            with alarm(min(seconds, max(left, 0.001))):
                yield
        except Late:
            words = f"It was stopped after {seconds:g} seconds."
            if left < seconds:
                words = f"The {self.limits.total:g} seconds of its notebook were over."
            raise self._stopped(TIMEOUT, words) from None
        except Ended as end:
            raise self._stopped(CRASH, self.process.how_it_ended(end)) from None
        except Exception as error:  # whatever came back
            raise self._stopped(CRASH, f"What came back makes no sense ({error!r}).") from None

    def _stopped(self, status, words):
        return Stopped("".join(self.judging[-1:]), self.cell, Outcome(status, message=words))

    # --- what the learner's process may ask -------------------------------------------------------

    def _check(self, number, answer):
        """A checker's cell: status and message."""
        exercise = self.exercises[number]
        self.handed[number] = answer
        outcome = self.outcomes.get(number) or self.judge(exercise.number, answer)
        return outcome.status, outcome.message

    def _use(self, number, args, settings):
        """Ours, in place of an answer that did not pass."""
        return self._watched(self.exercises[number].reference, args, settings)

    def _ours(self, module, name, args, settings):
        """A function that was emptied over there."""
        return self._watched(self.ours[module, name], args, settings)

    def _given(self, chapter, name):
        """What a chapter's notebook takes from its file of exercises."""
        if not re.fullmatch(r"chapter_\d\d", chapter):
            raise AttributeError(chapter)
        module = import_module(f".{chapter}", __package__)
        if name not in getattr(module, "__all__", ()):
            raise AttributeError(f"{chapter} gives no {name}")
        value = getattr(module, name)
        # A bug that is to be found knows its own name.
        return None if any(nodes(value, Mutant)) else value

    def _rows(self, thing, rows):
        """A slice of what an exercise hands over as rows on disk."""
        return thing[rows] if ROWS.fullmatch(type(thing).__module__) else None

    def _shape(self, thing):
        return thing.shape if ROWS.fullmatch(type(thing).__module__) else None

    def _opened(self):
        """A file with answers was to be read over there: it is refused."""
        self.called.update(self.judging)
        if not self.judging:
            self.used.add(self.cell_of)

    # --- whether ours was called ------------------------------------------------------------------

    @cached_property
    def _numbers_of(self):
        """{code, or function that has none: the numbers of the exercises that ask for it}."""
        numbers = defaultdict(set)
        for number, exercise in self.exercises.items():
            hidden = [f for (_, name), f in self.ours.items() if name in exercise.hides]
            for function in (exercise.reference, *hidden):
                numbers[getattr(function, "__code__", function)].add(number)
        return numbers

    def _watched(self, function, args, settings):
        """Call a function of ours for the learner's process, and note whose reference it is.

        Within an answer its own exercise's counts, called by whatever else. What gives a
        prediction away counts always: it could be called beforehand. Cells may show the rest.
        """
        seen = set(self._numbers_of.get(getattr(function, "__code__", function), ()))

        def see(frame, event, _):
            if event == "call" and frame.f_code in self._numbers_of:
                seen.update(self._numbers_of[frame.f_code])

        before = sys.getprofile()
        sys.setprofile(see if self.judging else None)
        try:
            with redirect_stdout(io.StringIO()):
                return function(*args, **settings)
        finally:
            sys.setprofile(before)
            for number in seen:
                if number in self.judging:
                    self.called.add(number)
                if not self.exercises[number].hides:
                    self.used.add(number)
