"""What the student is asked to match: the losses of both stages, and their gradients.

    L = w_ce CE(logits, labels) + w_kl KL(teacher's logits || logits)
      + w_feat sum over mapped blocks distance(tap, teacher's hidden states)
      + w_emb MSE(embedding rows of the batch's distinct ids, the teacher's rows)
      + w_rate r

The distance is the MSE, or another of FEATURE_LOSSES. r, the share of all neurons that fire, is
the spikes' own and no output's: `step.py` adds it, and its gradient.

Stage 1 (general, unlabelled text) is w_ce = w_kl = 0; stage 2 (the task) uses the first four terms
(arXiv 2308.15122, section 3.3).

Letters: B sentences, C classes, N packed tokens, V vocabulary, R distinct ids of the batch.
"""

from typing import NamedTuple

import numpy as np

from ..layers.embedding import RowGradient
from ..layers.losses import (
    CosineCache,
    CrossEntropyCache,
    KLDivergenceCache,
    MSECache,
    SentenceMSECache,
    cosine_backward,
    cosine_forward,
    cross_entropy_backward,
    cross_entropy_forward,
    kl_divergence_backward,
    kl_divergence_forward,
    mse_backward,
    mse_forward,
    sentence_mse_backward,
    sentence_mse_forward,
)

# The MSE over all entries; 1 - cosine of each token; the MSE between the sentences' means.
FEATURE_LOSSES = ("mse", "cosine", "sentence")


class LossWeights(NamedTuple):
    """A weight of 0 leaves its loss out: it is then neither computed nor reported.

    feature_loss: one of FEATURE_LOSSES. rate: of the firing rate, which `step.py` weighs.
    """

    ce: float = 0.0
    kl: float = 0.0
    feat: float = 0.0
    emb: float = 0.0
    temperature: float = 1.0
    feature_loss: str = "mse"
    rate: float = 0.0


class Targets(NamedTuple):
    """What a batch is compared with. None where a loss has weight 0."""

    labels: np.ndarray | None = None  # (B,), -1 where a sentence has none
    logits: np.ndarray | None = None  # (B, C) the teacher's
    hidden: dict | None = None  # student block -> (N, D_teacher)
    word_rows: np.ndarray | None = None  # (V, D_emb) the teacher's word embeddings, to our scale


class DistillationCache(NamedTuple):
    weights: LossWeights
    ce: CrossEntropyCache | None
    kl: KLDivergenceCache | None
    feat: dict[int, MSECache | CosineCache | SentenceMSECache]  # by student block
    emb: MSECache | None
    ids: np.ndarray  # (R,) distinct
    blocks: int


def distillation_forward(output, ids, offsets, embedding, targets, weights):
    """The weighted loss of a batch.

    output: SpikeBertOutput. ids: (N,), offsets: (B + 1,). embedding: (V, D_emb), the student's
    `embedding.weight`.
    Returns the loss, the dict of its unweighted parts, and the cache.
    """
    parts = {}
    ce_cache = kl_cache = emb_cache = None
    feat_caches = {}
    distinct = np.unique(ids)  # (R,)
    if weights.ce:
        parts["ce"], ce_cache = cross_entropy_forward(output.logits, targets.labels)
    if weights.kl:
        parts["kl"], kl_cache = kl_divergence_forward(
            output.logits, targets.logits, temperature=weights.temperature
        )
    if weights.feat:
        parts["feat"] = 0.0
        for block, hidden in targets.hidden.items():
            tap = output.taps[block]  # (N, D_teacher)
            if weights.feature_loss == "cosine":
                loss, feat_caches[block] = cosine_forward(tap, hidden)
            elif weights.feature_loss == "sentence":
                loss, feat_caches[block] = sentence_mse_forward(tap, hidden, offsets)
            else:
                loss, feat_caches[block] = mse_forward(tap, hidden)
            parts["feat"] += loss
    if weights.emb:
        # Only the rows of this batch: never a product or a difference over the whole V.
        parts["emb"], emb_cache = mse_forward(embedding[distinct], targets.word_rows[distinct])
    loss = sum(getattr(weights, name) * part for name, part in parts.items())
    return (
        loss,
        parts,
        DistillationCache(
            weights, ce_cache, kl_cache, feat_caches, emb_cache, distinct, len(output.taps)
        ),
    )


def distillation_backward(cache):
    """dlogits (B, C), dtaps (a list of (N, D_teacher)) and dembedding; None where no loss looks.

    They are the gradients of the weighted loss itself (dloss = 1). dembedding is a RowGradient, to
    be added to that of the forward pass (see `add_row_gradients`).
    """
    weights = cache.weights
    dlogits = None
    if cache.ce is not None:
        dlogits = cross_entropy_backward(weights.ce, cache.ce)
    if cache.kl is not None:
        dkl = kl_divergence_backward(weights.kl, cache.kl)
        dlogits = dkl if dlogits is None else dlogits + dkl
    dtaps = [None] * cache.blocks
    for block, feat_cache in cache.feat.items():
        if weights.feature_loss == "cosine":
            dtaps[block] = cosine_backward(weights.feat, feat_cache)  # (N, D_teacher)
        elif weights.feature_loss == "sentence":
            dtaps[block] = sentence_mse_backward(weights.feat, feat_cache)  # (N, D_teacher)
        else:
            dtaps[block] = mse_backward(weights.feat, feat_cache)  # (N, D_teacher)
    dembedding = None
    if cache.emb is not None:
        dembedding = RowGradient(cache.ids, mse_backward(weights.emb, cache.emb))
    return dlogits, dtaps, dembedding


def add_row_gradients(a, b):
    """The sum of two RowGradients over the same ids: the batch's distinct ids, ascending."""
    return RowGradient(a.ids, a.rows + b.rows)
