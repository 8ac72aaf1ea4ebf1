"""The bank of wrong passes, and the proof that the checks see them.

for mutant in MUTANTS:
    print(mutant.case, mutant.name, mutant.sentence)
print(try_mutant(MUTANTS[0]).report)
"""

from typing import NamedTuple

from . import block_mutants, layer_mutants, lif_mutants, rate_mutants, textcnn_mutants
from .case import check_run, prepare
from .cases import CASES
from .diagnosis import diagnose
from .mutant import Mutant
from .report import FAIL, GradReport

MUTANTS = tuple(
    entry
    for module in (layer_mutants, lif_mutants, block_mutants, textcnn_mutants, rate_mutants)
    for entry in vars(module).values()
    if isinstance(entry, Mutant)
)


class Trial(NamedTuple):
    """What a check made of one mutant."""

    mutant: Mutant
    report: GradReport

    @property
    def caught_by(self):
        """The arrays that failed; `y` where a forward pass differs from the reference."""
        return tuple(row.name for row in self.report.rows if row.status == FAIL)

    @property
    def diagnosed(self):
        """Whether the mistake's own name is among the first two suggestions."""
        return self.mutant.name in [suggestion.name for suggestion in self.report.suggestions[:2]]


def try_mutant(mutant, seed=0, *, T=None, tau=None):
    """Run the mutant's case with the wrong function in the right one's place: a Trial."""
    chosen = CASES[mutant.case]
    variants = chosen.variants_with(mutant.where)
    run = prepare(chosen, seed, variants[seed % len(variants)], T=T, tau=tau)
    wrong = {"forward": mutant.wrong} if mutant.forward else {"backward": mutant.wrong}
    return Trial(mutant, diagnose(check_run(run, **wrong), run))
