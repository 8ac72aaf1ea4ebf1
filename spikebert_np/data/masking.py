"""Masked words: what BERT is pre-trained on (Devlin et al. 2019, arXiv 1810.04805, section 3.1).

Letters: N packed tokens, B sentences, K masked tokens.
"""

from typing import NamedTuple

import numpy as np

SHARE = 0.15


class Masked(NamedTuple):
    ids: np.ndarray  # (N,) what the network reads
    positions: np.ndarray  # (K,) ascending, the tokens to be guessed
    targets: np.ndarray  # (K,) what stood there


def mask_tokens(ids, offsets, *, specials, mask_id, vocab_size, rng):
    """Hide 15 % of the words, and at least one of each sentence that has a word.

    Of those to be guessed, 80 % become [MASK], 10 % any id, and 10 % stay: so the network cannot
    tell which words it will be asked for. ids: (N,), offsets: (B + 1,). specials: ids, such as
    [CLS], that are never asked for.
    """
    draw = rng.random(len(ids))  # (N,)
    draw[np.isin(ids, specials)] = 2
    least = np.repeat(np.minimum.reduceat(draw, offsets[:-1]), np.diff(offsets))  # (N,)
    positions = np.flatnonzero((draw < SHARE) | ((draw == least) & (draw < 2)))  # (K,)
    targets = ids[positions]
    read = ids.copy()
    kind = rng.random(len(positions))  # (K,)
    anything = rng.integers(0, vocab_size, len(positions))  # (K,)
    read[positions] = np.where(kind < 0.8, mask_id, np.where(kind < 0.9, anything, targets))
    return Masked(read, positions, targets)
