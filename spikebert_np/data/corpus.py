"""A packed corpus in memory, with what the teacher says of it: what a student trains on.

Letters: S sentences, N packed tokens, C classes.
"""

from typing import NamedTuple

import numpy as np

from .hidden_rows import HiddenRows


class Corpus(NamedTuple):
    ids: np.ndarray  # (N,)
    offsets: np.ndarray  # (S + 1,)
    labels: np.ndarray | None = None  # (S,), -1 where a sentence has none
    logits: np.ndarray | None = None  # (S, C) the teacher's
    hidden: dict | None = None  # student block -> (N, D_teacher): memory maps, HiddenRows or arrays


def slice_corpus(corpus, first, last):
    """The sentences first, ..., last - 1: views but for the offsets; nothing is read from disk."""
    start, stop = corpus.offsets[first], corpus.offsets[last]
    hidden = corpus.hidden
    return Corpus(
        corpus.ids[start:stop],
        corpus.offsets[first : last + 1] - start,
        None if corpus.labels is None else corpus.labels[first:last],
        None if corpus.logits is None else corpus.logits[first:last],
        None if hidden is None else {block: rows[start:stop] for block, rows in hidden.items()},
    )


def join_corpora(corpora):
    """All sentences of several corpora, one corpus after the other; hidden states stay on disk.

    Sentences of a corpus without labels get -1. Logits are kept where all of the corpora have them,
    a block's hidden states where all have them for every token.
    """
    if len(corpora) == 1:
        return corpora[0]
    ids, offsets, labels, logits, hidden = zip(*corpora, strict=True)
    starts = np.cumsum([0, *(part[-1] for part in offsets)])  # (corpora + 1,)
    joined_offsets = [part[:-1] + start for part, start in zip(offsets, starts, strict=False)]
    if any(part is not None for part in labels):
        labels = [
            np.full(len(part) - 1, -1) if known is None else known
            for part, known in zip(offsets, labels, strict=True)
        ]
    blocks = set.intersection(
        *(
            {block for block, states in (rows or {}).items() if len(states) == tokens[-1]}
            for rows, tokens in zip(hidden, offsets, strict=True)
        )
    )
    return Corpus(
        np.concatenate(ids),
        np.concatenate([*joined_offsets, starts[-1:]]),
        None if labels[0] is None else np.concatenate(labels),
        None if any(part is None for part in logits) else np.concatenate(logits),
        {block: HiddenRows([rows[block] for rows in hidden], None) for block in blocks},
    )
