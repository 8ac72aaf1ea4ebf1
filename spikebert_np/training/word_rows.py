"""What a student's word embeddings start from: the teacher's, or what it makes of words in use.

Letters: V vocabulary, D_emb the teacher's width, N packed tokens.
"""

import numpy as np

from ..errors import InputError
from .corpora import split_corpus

# A word's mean over n occurrences is trusted n times for every OWN times the guess from its row.
OWN = 3.0
# Ridge penalty of that guess, as a share of the mean variance of a row's entry.
RIDGE = 1e-2
_CHUNK = 1 << 15  # tokens read from disk at a time


def teacher_word_rows(cache):
    """The teacher's word embeddings (V, D_emb) scaled to a standard deviation of 1, and the scale.

    MiniLM's rows have a standard deviation of 0.056: unscaled, the encoder's neurons would see a
    current far below their threshold wherever no layer norm stands between.
    """
    rows = cache.word_embeddings.astype(np.float32)
    scale = float(1 / rows.std())
    return rows * np.float32(scale), scale


def contextual_word_rows(cache, corpus):
    """What the teacher makes of each word in its sentences, on the average: (V, D_emb).

        row(v) = (sum of the hidden states of v's n occurrences + OWN guess(v)) / (n + OWN)

    The hidden states are those of the lowest layer in the cache, over the tokens of `corpus` that
    have them (a train split: nothing is learnt from dev). guess(v), which is all there is of words
    that never occur, is the ridge regression of the means on the teacher's word embeddings. Such
    rows say more of a word than the embeddings do (Bommasani, Davis and Cardie 2020,
    doi 10.18653/v1/2020.acl-main.431). Each column is scaled to mean 0 and standard deviation 1.
    Raises InputError where the cache has no hidden states.
    """
    if not corpus.hidden:
        raise InputError(
            f"{cache.tokenizer.parent}: has no hidden states to average; make it with --layers, or "
            'set embedding = "teacher"'
        )
    states = corpus.hidden[min(corpus.hidden)]
    ids = np.asarray(corpus.ids[: len(states)])  # (N,)
    given = cache.word_embeddings.astype(np.float64)  # (V, D_emb)
    total = np.zeros_like(given)
    for first in range(0, len(ids), _CHUNK):
        index = np.arange(first, min(first + _CHUNK, len(ids)))
        order = np.argsort(ids[index], kind="stable")
        words, starts = np.unique(ids[index][order], return_index=True)
        rows = np.asarray(states[index], np.float64)[order]
        total[words] += np.add.reduceat(rows, starts, axis=0)
    count = np.bincount(ids, minlength=len(given))[:, None]  # (V, 1)
    rows = (total + OWN * _guess(given, total, count)) / (count + OWN)
    rows -= rows.mean(axis=0)
    return (rows / (rows.std(axis=0) + 1e-6)).astype(np.float32)


def _guess(given, total, count):
    """The affine map of the given rows (V, D_emb) that best predicts the means, weighted by how
    often a word occurs, 20 times at most: a frequent word's mean is no more exact than that."""
    known = np.flatnonzero(count)
    weight = np.minimum(count[known], 20.0)
    mean = total[known] / count[known]
    centre, middle = ((weight * rows).sum(axis=0) / weight.sum() for rows in (given[known], mean))
    x = given[known] - centre
    gram = x.T @ (weight * x)  # (D_emb, D_emb)
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    return (given - centre) @ np.linalg.solve(gram, x.T @ (weight * (mean - middle))) + middle


def starting_rows(cache, settings):
    """The rows that w_emb holds the embeddings to, and that they start from unless settings say
    "random"; of words in use, those of the cache's train split."""
    if settings.embedding == "contextual":
        return contextual_word_rows(cache, split_corpus(cache, "train"))
    return teacher_word_rows(cache)[0]
