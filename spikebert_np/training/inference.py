"""Logits of a whole corpus, batch by batch.

Letters: S sentences, N packed tokens, C classes.
"""

import numpy as np

from ..data.batches import batch_indices, make_batch
from ..models.kinds import kind_of


def predict_logits(params, config, ids, offsets, *, max_tokens=2048, backend="numba"):
    """(S, C) float32 in the corpus' order, from ids (N,) and offsets (S + 1,)."""
    forward = kind_of(config).forward
    logits = np.empty((len(offsets) - 1, config.classes), np.float32)
    for index in batch_indices(offsets, max_tokens=max_tokens):
        batch = make_batch(ids, offsets, None, index)
        output, _ = forward(batch.ids, batch.offsets, params, config, backend=backend, taps=False)
        logits[index] = output.logits
    return logits


def accuracy(logits, labels):
    """The share of sentences whose largest logit is their label's."""
    return float((logits.argmax(axis=-1) == labels).mean())
