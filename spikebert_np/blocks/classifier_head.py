"""From spike counts to logits: layer norm, mean over the sentence, linear, mean over time.

Letters: T spike steps, N packed tokens, B sentences, D width, C classes.
"""

from typing import NamedTuple

from ..layers.dropout import DropoutCache, dropout_backward, dropout_forward
from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.pooling import (
    MeanOverTimeCache,
    MeanPoolCache,
    mean_over_time_backward,
    mean_over_time_forward,
    mean_pool_backward,
    mean_pool_forward,
)


class ClassifierHeadCache(NamedTuple):
    norm: LayerNormCache
    pool: MeanPoolCache
    dropout: DropoutCache
    linear: LinearCache
    time: MeanOverTimeCache


def classifier_head_forward(x, offsets, params, *, dropout=0.0, rng=None):
    """x (T, N, D) -> logits (B, C), and the cache."""
    x, norm_cache = layernorm_forward(x, params["norm.gain"], params["norm.bias"])  # (T, N, D)
    pooled, pool_cache = mean_pool_forward(x, offsets)  # (T, B, D)
    pooled, dropout_cache = dropout_forward(pooled, rate=dropout, rng=rng)
    logits, linear_cache = linear_forward(pooled, params["weight"], params["bias"])  # (T, B, C)
    logits, time_cache = mean_over_time_forward(logits)  # (B, C)
    return logits, ClassifierHeadCache(
        norm_cache, pool_cache, dropout_cache, linear_cache, time_cache
    )


def classifier_head_backward(dlogits, cache):
    """dx (T, N, D) and the dict of parameter gradients, from dlogits (B, C)."""
    dparams = {}
    dlogits = mean_over_time_backward(dlogits, cache.time)  # (T, B, C)
    dpooled, dparams["weight"], dparams["bias"] = linear_backward(dlogits, cache.linear)
    dpooled = dropout_backward(dpooled, cache.dropout)  # (T, B, D)
    dx = mean_pool_backward(dpooled, cache.pool)  # (T, N, D)
    dx, dparams["norm.gain"], dparams["norm.bias"] = layernorm_backward(dx, cache.norm)
    return dx, dparams
