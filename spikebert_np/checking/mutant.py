"""A mutant: one wrong forward or backward pass, with the name of its mistake."""

from collections.abc import Callable
from typing import NamedTuple

from .mistakes import explain


class Mutant(NamedTuple):
    """A function that stands in for the right one of a case."""

    name: str  # a mistake of `mistakes.py`
    case: str
    wrong: Callable  # takes and returns what the case's own function does
    where: dict  # settings without which the mistake is none
    forward: bool = False  # whether it stands in for the forward pass

    @property
    def sentence(self):
        """What is wrong, and what would be right."""
        return explain(self.name)


def wrong_backward(case, name, **where):
    """Make a Mutant of a wrong backward pass."""
    return lambda wrong: Mutant(name, case, wrong, where)


def wrong_forward(case, name, **where):
    """Make a Mutant of a wrong forward pass."""
    return lambda wrong: Mutant(name, case, wrong, where, forward=True)
