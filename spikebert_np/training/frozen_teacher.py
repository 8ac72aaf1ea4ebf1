"""A frozen teacher reads a corpus: hidden states, features, and logits for a student to learn from.

Letters: N packed tokens and B sentences of the corpus, n and b those of a batch, D the teacher's
width, K features of a sentence, C classes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..data.batches import batch_indices, make_batch
from ..layers.pooling import mean_pool_forward
from ..models.bert import bert_forward

# Enough rows to keep the matrix products busy, few enough for the (n, F) arrays of BERT-base.
BATCH_TOKENS = 4096
FOLDS = 5


class TeacherReading(NamedTuple):
    """`features` and `logits` are filled as `states` is run through; read them after its end."""

    states: Iterator  # of {layer: (n, D)}, batch by batch in the corpus's order
    features: np.ndarray  # (B, K), per sentence the means over its tokens of some layers
    logits: np.ndarray  # (B, C) of the teacher's classifier; C = 0 where it has none


def read_corpus_with_teacher(ids, offsets, params, config, layers):
    """A TeacherReading of the packed corpus ids (N,), offsets (B + 1,), with a progress bar.

    layers: which hidden states to give out (0: the embedding output, i: what block i, from 1, puts
    out). The features are means of these, the embedding output and the last block.
    """
    sentences = len(offsets) - 1
    pooled_layers = sorted({0, *layers, config.depth})
    features = np.empty((sentences, len(pooled_layers), config.width), np.float32)
    logits = np.empty((sentences, config.classes), np.float32)

    def states():
        from tqdm import tqdm

        with tqdm(total=len(ids), desc="teacher", unit=" tokens", unit_scale=True) as bar:
            for index in batch_indices(offsets, max_tokens=BATCH_TOKENS):
                batch = make_batch(ids, offsets, None, index)
                output, _ = bert_forward(batch.ids, batch.offsets, params, config, backend="numba")
                hidden = [output.embeddings, *output.hidden]  # depth + 1 of (n, D)
                for k, layer in enumerate(pooled_layers):
                    pooled, _ = mean_pool_forward(hidden[layer][None], batch.offsets)  # (1, b, D)
                    features[index, k] = pooled[0]
                if config.classes:
                    logits[index] = output.logits
                bar.update(len(batch.ids))
                yield {layer: hidden[layer] for layer in layers}

    return TeacherReading(states(), features.reshape(sentences, -1), logits)


def linear_head_logits(features, labels, classes, splits, *, seed=0):
    """Logits (B, C) of a linear head, fitted on the train split, chosen on the dev split if any.

    features: (B, K); labels: (B,), -1 where there is none; splits: {name: (first, last)}.

    A head is over-confident about the sentences it was fitted on, and a student would learn that
    from it. So the logits of a train sentence come from a head that has not seen it: the train
    split is cut into FOLDS parts, and each part's logits come from the head fitted on the others.
    All other splits' come from one head fitted on the whole of train.
    """
    from .linear_head import fit_linear_head

    train = slice(*splits["train"])
    dev = slice(*splits.get("dev", (0, 0)))
    chosen_on = {}
    if (labels[dev] >= 0).any():
        chosen_on = {"dev_features": features[dev], "dev_labels": labels[dev]}
    weight, bias = fit_linear_head(features[train], labels[train], classes, **chosen_on)
    logits = features @ weight + bias  # (B, C)
    train_logits = logits[train]  # a view
    fold = np.random.default_rng(seed).permutation(len(train_logits)) % FOLDS
    for held_out in np.unique(fold):
        kept, held = fold != held_out, fold == held_out
        weight, bias = fit_linear_head(
            features[train][kept], labels[train][kept], classes, **chosen_on
        )
        train_logits[held] = features[train][held] @ weight + bias
    return logits
