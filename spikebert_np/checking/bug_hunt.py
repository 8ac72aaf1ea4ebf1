"""Exercises of the kind "find the bug": mutants of the bank, their names taken off.

BUGS = bugs(("linear", "linear_bias_averaged"), ...)     {"A": Mutant, "B": ...}
ex_00_5 = find_the_bugs("0.5", BUGS)
show_bugs(BUGS)                                          in the chapter
"""

import inspect
import re
from string import ascii_uppercase

from .exercise import Wrong, prediction
from .mistakes import explain
from .mutants import MUTANTS, try_mutant


def bugs(*chosen):
    """{letter: Mutant} of pairs (case, name of the wrong function). Raises KeyError."""
    bank = {(mutant.case, mutant.wrong.__name__): mutant for mutant in MUTANTS}
    return dict(zip(ascii_uppercase, (bank[pair] for pair in chosen), strict=False))


def source_of(mutant, letter):
    """The wrong function's source, without what tells its mistake."""
    lines = inspect.getsource(mutant.wrong).splitlines()
    lines = [line for line in lines if not line.startswith("@")]
    lines[0] = re.sub(r"def \w+", f"def bug_{letter}", lines[0])
    return "\n".join(line.split("  # ")[0] for line in lines)


def show_bugs(bugs, seed=1):
    """Print each one's source and report, no mistake named, and the names to choose from."""
    for letter, mutant in bugs.items():
        report = try_mutant(mutant, seed).report
        print(source_of(mutant, letter), report._replace(title=f"Report of bug {letter}",
              suggestions=(), faults=()), "", sep="\n")  # fmt: skip
    print("The mistakes, in another order:")
    for name in sorted(mutant.name for mutant in bugs.values()):
        print(f'  "{name}"')


def find_the_bugs(number, bugs, *, name="find_bugs"):
    """{letter: name of the mistake}. A wrong answer is told what its mistake would be."""
    right = {letter: mutant.name for letter, mutant in bugs.items()}
    wrong = [
        Wrong(f'{letter} is not "{taken}"', lambda letter=letter, taken=taken: {letter: taken},
              f'that would mean "{explain(taken)}"')
        for letter, mistake in right.items()
        for taken in right.values()
        if taken != mistake
    ]  # fmt: skip
    choices = tuple(right.values())
    return prediction(number, lambda: dict(right), name=name, wrong=wrong, choices=choices)
