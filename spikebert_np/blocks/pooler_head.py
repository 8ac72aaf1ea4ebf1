"""BERT's classifier: one vector a sentence, a tanh layer (the pooler), a linear layer
(Devlin et al. 2019, arXiv 1810.04805, section 4.1 and its code).

Letters: N packed tokens, B sentences, D width, C classes.

Parameters: pooler.weight (D, D), pooler.bias (D,), classifier.weight (D, C), classifier.bias (C,).
"""

from typing import NamedTuple

import numpy as np

from ..layers.activations import TanhCache, tanh_backward, tanh_forward
from ..layers.dropout import DropoutCache, dropout_backward, dropout_forward
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.pooling import MeanPoolCache, mean_pool_backward, mean_pool_forward

POOLINGS = ("first", "mean")


class PoolerHeadCache(NamedTuple):
    """The offsets say which tokens are first, where only those were read."""

    offsets: np.ndarray  # (B + 1,)
    mean: MeanPoolCache | None  # None where the first token is read
    pooler: LinearCache
    tanh: TanhCache
    dropout: DropoutCache
    classifier: LinearCache


def pooler_head_forward(x, offsets, params, *, pooling, dropout=0.0, rng=None):
    """logits = classifier(dropout(tanh(pooler(sentence)))).

    x: (N, D), offsets: (B + 1,). pooling: the sentence is its "first" token, [CLS], or the "mean"
    of all its tokens. rng: a Generator in training, None without dropout. Returns logits (B, C) and
    the cache.
    """
    # 1. One vector a sentence.
    if pooling == "mean":
        sentence, mean_cache = mean_pool_forward(x[None], offsets)
        sentence = sentence[0]  # (B, D)
    else:
        sentence, mean_cache = x[offsets[:-1]], None  # (B, D)
    # 2. One more layer.
    h, pooler_cache = linear_forward(sentence, params["pooler.weight"], params["pooler.bias"])
    pooled, tanh_cache = tanh_forward(h)  # (B, D)
    kept, dropout_cache = dropout_forward(pooled, rate=dropout, rng=rng)  # (B, D)
    # 3. The classes.
    logits, classifier_cache = linear_forward(
        kept, params["classifier.weight"], params["classifier.bias"]
    )  # (B, C)
    return logits, PoolerHeadCache(
        offsets, mean_cache, pooler_cache, tanh_cache, dropout_cache, classifier_cache
    )


def pooler_head_backward(dlogits, cache):
    """dx (N, D) and the gradients of all parameters, from dlogits (B, C)."""
    grads = {}
    # logits = classifier(kept)
    dkept, grads["classifier.weight"], grads["classifier.bias"] = linear_backward(
        dlogits, cache.classifier
    )  # (B, D)
    # kept = dropout(pooled)
    dpooled = dropout_backward(dkept, cache.dropout)  # (B, D)
    # pooled = tanh(h)
    dh = tanh_backward(dpooled, cache.tanh)  # (B, D)
    # h = pooler(sentence)
    dsentence, grads["pooler.weight"], grads["pooler.bias"] = linear_backward(dh, cache.pooler)
    # sentence = mean of the tokens
    if cache.mean is not None:
        return mean_pool_backward(dsentence[None], cache.mean)[0], grads
    # sentence = x[first token]
    dx = np.zeros((cache.offsets[-1], dsentence.shape[1]), dsentence.dtype)  # (N, D)
    dx[cache.offsets[:-1]] = dsentence
    return dx, grads
