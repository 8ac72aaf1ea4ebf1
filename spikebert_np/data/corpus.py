"""A packed corpus in memory, with what the teacher says of it: what a student trains on.

Letters: S sentences, N packed tokens, C classes.
"""

from typing import NamedTuple

import numpy as np


class Corpus(NamedTuple):
    ids: np.ndarray  # (N,)
    offsets: np.ndarray  # (S + 1,)
    labels: np.ndarray | None = None  # (S,)
    logits: np.ndarray | None = None  # (S, C) the teacher's
    hidden: dict | None = None  # student block -> (N, D_teacher), memory-mapped


def slice_corpus(corpus, first, last):
    """The sentences first, ..., last - 1: views, nothing is copied or read from disk."""
    start, stop = corpus.offsets[first], corpus.offsets[last]
    hidden = corpus.hidden
    return Corpus(
        corpus.ids[start:stop],
        corpus.offsets[first : last + 1] - start,
        None if corpus.labels is None else corpus.labels[first:last],
        None if corpus.logits is None else corpus.logits[first:last],
        None if hidden is None else {block: rows[start:stop] for block, rows in hidden.items()},
    )
