"""A frozen teacher reads a corpus: hidden states, features, and logits for a student to learn from.

Letters: N packed tokens and B sentences of the corpus, n and b those of a part, D the teacher's
width, K features of a sentence, C classes.
"""

import numpy as np

from ..data.batches import batch_indices, make_batch
from ..layers.pooling import mean_pool_forward
from ..models.bert import bert_forward
from .linear_head import DEFAULT_PENALTY, choose_penalty, fit_linear_head, held_out_logits

# A worker's batch: enough rows to keep its matrix products busy, few enough for BERT-base's arrays.
READING_TOKENS = 1024


def read_sentences(ids, offsets, params, config, layers, *, run=map, read=None):
    """What the teacher makes of a packed corpus ids (N,), offsets (B + 1,), or of a part of one.

    layers: which hidden states to give out (0: the embedding output, i: what block i, from 1, puts
    out). run: `map`, or that of `training.workers`. read: called with the number of
    tokens of each batch. A batch's numbers hang on its own sentences alone, whatever `run` is.

    Returns {layer: (N, D)} and {"features": (B, K), "logits": (B, C)}. The features of a sentence
    are its means over the tokens of these layers, the embedding output and the last block; C is 0
    where the teacher has no classifier.
    """
    pooled_layers = sorted({0, *layers, config.depth})

    def read_batch(index):
        batch = make_batch(ids, offsets, None, index)
        output, _ = bert_forward(batch.ids, batch.offsets, params, config, backend="numba")
        hidden = [output.embeddings, *output.hidden]  # depth + 1 of (n, D)
        features = [mean_pool_forward(hidden[i][None], batch.offsets)[0][0] for i in pooled_layers]
        logits = output.logits if config.classes else np.empty((len(index), 0), np.float32)
        return [hidden[layer] for layer in layers], np.concatenate(features, axis=1), logits

    batches = batch_indices(offsets, max_tokens=READING_TOKENS)
    lengths, parts = np.diff(offsets), []
    for index, part in zip(batches, run(read_batch, batches), strict=True):
        parts.append(part)
        if read:  # here, in one thread: a progress bar counts wrong in several
            read(int(lengths[index].sum()))
    states, features, logits = zip(*parts, strict=True)
    states = {layer: np.concatenate([rows[i] for rows in states]) for i, layer in enumerate(layers)}
    return states, {"features": np.concatenate(features), "logits": np.concatenate(logits)}


def linear_head_logits(features, labels, classes, splits):
    """Logits (B, C) of a linear head, fitted on the train split, chosen on the dev split if any.

    features: (B, K); labels: (B,), -1 where there is none; splits: {name: (first, last)}.

    A head is over-confident about the sentences it was fitted on, and a student would learn that
    from it. So the logits of a train sentence come from a head that has not seen it (see
    `held_out_logits`); all other splits' come from one head fitted on the whole of train.
    """
    train, dev = slice(*splits["train"]), slice(*splits.get("dev", (0, 0)))
    x, y = features[train], labels[train]
    penalty = DEFAULT_PENALTY
    if (labels[dev] >= 0).any():
        penalty = choose_penalty(x, y, classes, features[dev], labels[dev])
    weight, bias = fit_linear_head(x, y, classes, penalty=penalty)
    logits = features @ weight + bias  # (B, C)
    logits[train] = held_out_logits(x, y, classes, penalty=penalty)
    return logits
