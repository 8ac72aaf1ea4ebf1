"""What the order of attention's two products costs.

Without softmax (q kᵀ) v = q (kᵀ v), exactly on spikes. The first makes n x n numbers a head, which
tell who looks at whom; the second E x E, and is the D x D form v (qᵀ k) of vision with the roles
renamed. The first costs 4 n² E operations a head and step, the second 4 n E²: for n = E the same.

Letters: T spike steps, n tokens of one sentence, D width, H heads, E = D // H.
"""

from time import process_time
from typing import NamedTuple

import numpy as np

from ..blocks.ssa import by_channels_forward, by_words_forward


class AttentionCost(NamedTuple):
    tokens: int  # n
    by_words: float  # milliseconds of CPU, (q kᵀ) v
    by_channels: float  # milliseconds of CPU, q (kᵀ v)


def attention_costs(lengths, *, steps=4, width=128, heads=8, seconds=0.05):
    """An AttentionCost for each n in lengths, on random spikes, each timed for `seconds`."""
    rng = np.random.default_rng(0)
    costs = []
    for tokens in lengths:
        shape = (3, steps, heads, tokens, width // heads)
        q, k, v = (rng.random(shape) < 0.1).astype(np.float32)
        times = []
        for attend in (by_words_forward, by_channels_forward):
            count, started = 0, process_time()
            while (spent := process_time() - started) < seconds:
                attend(q, k, v)
                count += 1
            times.append(1000 * spent / max(count, 1))
        costs.append(AttentionCost(tokens, *times))
    return costs
