"""The health of a network while it trains: every so many steps it is looked at, and spoken of."""

import sys
from itertools import chain

import numpy as np

from ..analysis.health import findings, sentence, step_health

EVERY = 10  # steps
_APART = 1.05  # records grow sparser: each is this many times as late as the one before


class Checkups:
    """The checkups of one run.

    records: dicts of plain numbers, some 50 of a run of 1,000 steps and 140 of one of 100,000
    (`step_health`; step, from 1; findings, in words). warnings: the sentences that were said, each
    layer's once.
    """

    def __init__(self):
        self.records, self.warnings = [], []
        self._before, self._said, self._next = set(), set(), 0

    def due(self, step):
        """Whether this step, from 0, is to be looked at."""
        return step % EVERY == 0

    def examine(self, step, result):
        """Look at a Step, from 0, whose gradients are not clipped yet.

        What is wrong is said where the checkup before found the same: one batch may be odd. All of
        it is said at once where something is not finite, for training ends here.
        """
        health = step_health(result.caches, result.grads, result.spike_gradients)
        found = findings(health, step)
        names = {(kind, layer) for kind, layers in found.items() for layer in layers}
        ends = "not finite" in found or not np.isfinite(result.loss)
        sure = names if ends else names & self._before
        for kind, layers in found.items():
            new = [what for layer, what in layers.items() if (kind, layer) in sure - self._said]
            if new:
                self._say(f"step {step + 1}: {sentence(kind, new)}")
        self._before, self._said = names, self._said | sure
        if step >= self._next:
            whats = [*chain.from_iterable(layers.values() for layers in found.values())]
            self.records.append({"step": step + 1, **health, "findings": whats})
            self._next = _APART * step

    def _say(self, warning):
        self.warnings.append(warning)
        say(warning)


def say(warning):
    """A line on standard error, above a progress bar if there is one."""
    from tqdm import tqdm

    if sys.stderr:
        tqdm.write(warning, file=sys.stderr)
