"""An exercise of the course: a question, its right answer, and wrong ones that must fail.

An answer is always a function. There are three kinds, and each is declared in a line or a few, in
the chapter's own file (`chapter_04.py`), under the name by which its checker is called:

    ex_04_2 = backward("4.2", "lif")                       a backward pass: a case of `cases.py`
    ex_02_2 = function("2.2", lif_step_forward, draw, wrong=[...])    like ours, on drawn arguments
    ex_00_4 = prediction("0.4", truth, wrong=[...])        {question: value}, before it is run

A checker prints the table, the verdict and the likely mistake, and returns the Verdict. Whatever
the answer does, it raises nothing.
"""

import linecache
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from itertools import permutations
from typing import NamedTuple

import numpy as np

from .cases import CASES, check
from .mistakes import explain
from .mutants import MUTANTS
from .passes import argument_names, copied, written
from .report import FAIL, PASS, Answer, AnswerReport, GradReport, Suggestion, compare

UNSOLVED = "UNSOLVED"


class Wrong(NamedTuple):
    """A wrong answer. Its name is a mistake of `mistakes.py`, or it brings its own sentence."""

    name: str
    answer: Callable
    sentence: str = ""

    @property
    def suggestion(self):
        sentence = self.sentence or explain(self.name)
        return Suggestion(self.name, sentence, 1.0)


class Verdict(NamedTuple):
    """What a checker found."""

    exercise: "Exercise"
    status: str  # PASS, FAIL or UNSOLVED
    report: GradReport | None  # None where the answer could not be run to its end
    message: str
    use: Callable  # the answer where it passed; else ours, so that what follows can run

    @property
    def passed(self):
        return self.status == PASS

    def __str__(self):
        table = f"{self.report}\n" if self.report else ""
        return f"{table}{self.status}  Exercise {self.exercise.title}. {self.message}"

    def _ipython_display_(self):
        """Nothing: the checker has printed it."""


class Exercise(NamedTuple):
    """Call it with an answer."""

    number: str  # "4.2"
    name: str  # of the function that the learner writes
    reference: Callable  # ours
    wrong: tuple  # Wrong: each must fail
    examine: Callable  # of an answer and a seed: a GradReport
    hides: tuple  # names of our functions that are not shown before the checker

    @property
    def title(self):
        return f"{self.number} {self.name}"

    def __call__(self, answer):
        """Print and return the Verdict."""
        verdict = self.judge(answer)
        print(verdict)
        return verdict

    def judge(self, answer, seed=0):
        """The Verdict on an answer, by the numbers that the seed draws."""
        if not callable(answer):
            message = f"The answer is a function; this is a {type(answer).__name__}."
            return Verdict(self, FAIL, None, message, self.reference)
        try:
            report = self.examine(answer, seed)._replace(title=f"Exercise {self.title}")
        except NotImplementedError:
            message = "Not solved yet: what follows goes on with our own answer."
            return Verdict(self, UNSOLVED, None, message, self.reference)
        except Exception as error:  # whatever the learner's code raises
            return Verdict(self, FAIL, None, _told(error, answer), self.reference)
        if report.passed:
            return Verdict(self, PASS, report, "Every row is right.", answer)
        message = "No known mistake explains this answer. See where it fails, or open a hint."
        if report.suggestions:
            message = f"The likeliest mistake: {report.suggestions[0].name}."
        elif report.faults and any(row.status == FAIL for row in report.rows):
            message = f"See the line that says {FAIL}: the numbers may be wrong for that alone."
        elif report.faults:
            message = f"The numbers are not at fault: see the line that says {FAIL}."
        return Verdict(self, FAIL, report, message, self.reference)


def _told(error, answer):
    """The error, and where in the answer's own file it came up."""
    message = f"It stopped with {type(error).__name__}: {error}"
    message += "" if message.endswith((".", "?")) else "."
    own = getattr(getattr(answer, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    if frames:
        line = linecache.getline(own, frames[-1].lineno).strip()
        message += f" Line {frames[-1].lineno} of its cell{': ' + line if line else ''}"
    return message


def backward(number, case, *, name=None, variant=None, wrong=(), hides=()):
    """A backward pass, checked as `cases.check` does: by differences, in each setting of the case.

    case: its name in `CASES`. name: of the answer, by default that of ours. variant: settings that
    are asked for, by default all. wrong: beside the mutants of the bank that fit the variant.
    hides: names of functions, beside the reference, that would give the answer away.
    """
    chosen, wanted = CASES[case], variant or {}
    bank = [
        Wrong(mutant.name, mutant.wrong)
        for mutant in MUTANTS
        if mutant.case == case and not mutant.forward
        and all(wanted.get(key, value) == value for key, value in mutant.where.items())
    ]  # fmt: skip

    def examine(answer, seed):
        return check(case, backward=answer, variant=variant, seed=seed)

    own = chosen.backward.__name__
    return Exercise(number, name or own, chosen.backward, (*bank, *wrong), examine, (own, *hides))


def function(number, reference, draw, *, name=None, outputs=("output",), wrong=(), bound=1e-9,
             draws=4, hides=()):  # fmt: skip
    """A function that gives what ours gives, on drawn arguments.

    draw: of a Generator, the arguments. outputs: names of what is returned, an array each. Where
    the numbers are those of a wrong answer, on all outputs, they are taken for its mistake. The
    patterns of wrong gradients say nothing here: these are values.
    hides: names of functions, beside the reference, that would give the answer away.
    """

    def run(answer, args):
        given = copied(args)
        returned = answer(*given)
        if len(outputs) == 1:
            returned = (returned,)
        elif not isinstance(returned, tuple | list) or len(returned) != len(outputs):
            raise TypeError(f"it must return {len(outputs)} values: {', '.join(outputs)}")
        for output, value in zip(outputs, returned, strict=True):
            if value is None:
                raise TypeError("it returned None: does it end in `return`?")
            if isinstance(value, tuple | list):
                raise TypeError(f"{output} is a {type(value).__name__} and should be an array")
        names = argument_names(reference, len(args))
        faults = written("your function", args, given, names)
        return tuple(np.asarray(value, dtype=np.float64) for value in returned), faults

    def examine(answer, seed):
        for number in range(seed, seed + draws):
            args = draw(np.random.default_rng(number))
            expected, _ = run(reference, args)
            ours, faults = run(answer, args)
            triples = zip(outputs, ours, expected, strict=True)
            rows = tuple(compare(*triple, bound) for triple in triples)
            report = GradReport("", rows, faults=faults)
            if not report.passed:
                return report._replace(suggestions=suggest(args, ours, expected))
        return report

    def suggest(args, ours, expected):
        with np.errstate(all="ignore"):  # of the planted answers
            matched = [
                entry.suggestion
                for entry in wrong
                if _alike(ours, _quietly(run, entry.answer, args))
            ]
        if not matched and any(_alike(ours, order) for order in permutations(expected)):
            exchanged = f"they are right, but come in another order: return {', '.join(outputs)}"
            matched = [Suggestion("results exchanged", exchanged, 1.0)]
        return tuple(matched)

    own = reference.__name__
    return Exercise(number, name or own, reference, tuple(wrong), examine, (own, *hides))


def _quietly(run, answer, args):
    """What a planted wrong answer returns; None where it cannot run on these arguments."""
    try:
        return run(answer, args)[0]
    except Exception:
        return None


def _alike(ours, wrong):
    """Whether the arrays are those of a planted answer, where it gave any."""
    return wrong is not None and all(
        compare("", *pair, 1e-9).status != FAIL for pair in zip(ours, wrong, strict=True)
    )


def _word(answer):
    """An answer as a word is compared, None where it is none: True and False are yes and no."""
    if isinstance(answer, bool | np.bool_):
        return "yes" if answer else "no"
    return answer.strip().lower() if isinstance(answer, str) else None


def prediction(number, truth, *, name="prediction", wrong=(), tolerance=1e-2, choices=()):
    """Values or words that the learner writes down before running what gives them.

    truth: a function without arguments that runs it: {question: number, array, or word}; a number
    is right within the tolerance, beside 1 or its own size. wrong: their answers are {question:
    value} of some of the questions, and tell the mistake of whoever wrote that value. choices: the
    words that an answer may be, where it is a word. The right values are not printed.
    """

    def examine(answer, seed):
        given, right = answer(), truth()
        if not isinstance(given, dict):
            raise TypeError(f"it must return a dict with the keys {', '.join(right)}")
        rows = tuple(judge(key, given, right[key]) for key in right)
        return AnswerReport("", rows, tuple(unknown(given, right)), suggest(given))

    def unknown(given, right):
        for key in given:
            if key not in right:
                near = get_close_matches(str(key), right, 1)
                yield f"unknown key {key!r}" + (f": did you mean {near[0]!r}?" if near else "")

    def judge(key, given, value):
        if key not in given:
            return Answer(key, "-", FAIL, "no answer")
        fault = wrong_in(given[key], value)
        return Answer(key, f"{given[key]}", PASS if fault is None else FAIL, fault or "")

    def wrong_in(answer, value):
        """None where the answer is the value; else what can be said of it, if anything."""
        if isinstance(value, str):
            word = _word(answer)
            if word == _word(value):
                return None
            return "" if not choices or word in map(_word, choices) else "not one of the choices"
        value = np.asarray(value, np.float64)
        try:
            answer = np.asarray(answer, np.float64)
        except (TypeError, ValueError):
            return "not a number" if not value.ndim else "not numbers"
        if answer.shape != value.shape:
            return f"{value.size} numbers are due" if value.ndim else "one number is due"
        with np.errstate(invalid="ignore"):  # ∞ - ∞
            near = np.abs(answer - value) <= tolerance * np.maximum(1, np.abs(value))
        off = ~(near & np.isfinite(value) | (answer == value))
        if not off.any():
            return None
        return f"first at {[int(i) for i in np.argwhere(off)[0]]}" if value.ndim else ""

    def same(answer, value):
        return wrong_in(answer, value) is None

    def suggest(given):
        right, found = truth(), []
        for entry in wrong:
            telling = {k: v for k, v in entry.answer().items() if not same(v, right[k])}
            if telling and all(k in given and same(given[k], v) for k, v in telling.items()):
                found.append((len(telling), entry.suggestion))
        # Those that explain most answers come first.
        return tuple(entry for _, entry in sorted(found, key=lambda pair: -pair[0]))

    def completed(entry):
        return entry._replace(answer=lambda: truth() | entry.answer())

    return Exercise(number, name, truth, tuple(map(completed, wrong)), examine, ())
