"""Batches of packed sentences: shuffled, capped by tokens, gathered from one packed corpus.

Letters: S sentences and M tokens of the corpus, B sentences and N packed tokens of a batch.
"""

from typing import NamedTuple

import numpy as np

from .corpus import Corpus


class Batch(NamedTuple):
    ids: np.ndarray  # (N,)
    offsets: np.ndarray  # (B+1,), sentence b is ids[offsets[b]:offsets[b+1]]
    labels: np.ndarray | None  # (B,)
    index: np.ndarray  # (B,), the sentences' numbers in the corpus


def gather_offsets(offsets, index):
    """Offsets (B+1,) of the batch that takes the sentences `index` (B,) of a corpus (S+1,)."""
    batch_offsets = np.zeros(len(index) + 1, np.int64)  # (B+1,)
    np.cumsum(offsets[index + 1] - offsets[index], out=batch_offsets[1:])
    return batch_offsets


def gather_sentences(packed, offsets, index):
    """The rows of the sentences `index`, in that order.

    packed: (M, ...) one row a token (ids, features, a memory map of them), offsets: (S+1,),
    index: (B,). Returns (N, ...), read into memory.
    """
    batch_offsets = gather_offsets(offsets, index)  # (B+1,)
    # Row n of the batch lies in the corpus as far behind its sentence's start as in the batch.
    shift = offsets[index] - batch_offsets[:-1]  # (B,)
    rows = np.arange(batch_offsets[-1]) + np.repeat(shift, np.diff(batch_offsets))  # (N,)
    return packed[rows]


def select_sentences(corpus, index):
    """The Corpus of the sentences `index`, in that order, read into memory."""
    offsets = corpus.offsets

    def of_sentences(values):
        return None if values is None else values[index]

    return Corpus(
        gather_sentences(corpus.ids, offsets, index),
        gather_offsets(offsets, index),
        of_sentences(corpus.labels),
        of_sentences(corpus.logits),
        corpus.hidden
        and {b: gather_sentences(rows, offsets, index) for b, rows in corpus.hidden.items()},
    )


def batch_indices(offsets, *, max_tokens, rng=None):
    """Cut the corpus into batches: a list of index arrays (B,), each sentence in exactly one.

    offsets: (S+1,); rng: the numpy.random.Generator that shuffles, or None for corpus order. A
    batch is filled until the next sentence would bring it above `max_tokens` tokens; a sentence
    that alone is longer is a batch of its own.
    """
    sentences = len(offsets) - 1
    order = np.arange(sentences) if rng is None else rng.permutation(sentences)  # (S,)
    ends = gather_offsets(offsets, order)  # (S+1,)
    batches, start = [], 0
    while start < sentences:
        stop = np.searchsorted(ends, ends[start] + max_tokens, side="right") - 1
        stop = max(stop, start + 1)
        batches.append(order[start:stop])  # (B,)
        start = stop
    return batches


def make_batch(ids, offsets, labels, index):
    """Batch of the sentences `index` (B,) of a corpus: ids (M,), offsets (S+1,), labels (S,)."""
    return Batch(
        gather_sentences(ids, offsets, index),  # (N,)
        gather_offsets(offsets, index),  # (B+1,)
        None if labels is None else labels[index],  # (B,)
        index,
    )
