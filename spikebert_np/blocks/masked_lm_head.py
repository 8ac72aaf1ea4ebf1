"""BERT's head for masked words (Devlin et al. 2019, arXiv 1810.04805, section 3.1 and its code).

    y = norm(gelu(dense(x)))        at the masked tokens only
    logits = y Wᵀ + bias            W the word embeddings: the network says a word as it reads it

Letters: N packed tokens, K masked ones, D width, V vocabulary.

Parameters: dense.weight (D, D), dense.bias (D,), norm.gain and norm.bias (D,), bias (V,).
"""

from typing import NamedTuple

import numpy as np

from ..layers.activations import GeluCache, gelu_backward, gelu_forward
from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from ..layers.linear import LinearCache, linear_backward, linear_forward


class MaskedLMHeadCache(NamedTuple):
    """Where the masked words stand among how many: all other tokens have the gradient 0."""

    tokens: int  # N
    positions: np.ndarray  # (K,)
    dense: LinearCache
    gelu: GeluCache
    norm: LayerNormCache
    words: LinearCache


def masked_lm_head_forward(x, positions, params, words, *, eps, backend="numpy"):
    """The logits (K, V) of the word at each masked position, and the cache.

    x: (N, D), positions: (K,) different numbers below N, words: (V, D).
    """
    # 1. One more layer, at the masked tokens only.
    masked = x[positions]  # (K, D)
    h, dense_cache = linear_forward(masked, params["dense.weight"], params["dense.bias"])  # (K, D)
    a, gelu_cache = gelu_forward(h, backend=backend)  # (K, D)
    y, norm_cache = layernorm_forward(
        a, params["norm.gain"], params["norm.bias"], eps=eps
    )  # (K, D)
    # 2. How well it meets each word's embedding.
    logits, words_cache = linear_forward(y, words.T, params["bias"])  # (K, V)
    return logits, MaskedLMHeadCache(
        len(x), positions, dense_cache, gelu_cache, norm_cache, words_cache
    )


def masked_lm_head_backward(dlogits, cache):
    """dx (N, D), dwords (V, D) and the gradients of all parameters, from dlogits (K, V)."""
    grads = {}
    # logits = y Wᵀ + bias
    dy, dwords, grads["bias"] = linear_backward(dlogits, cache.words)  # (K, D), (D, V)
    # y = norm(a)
    da, grads["norm.gain"], grads["norm.bias"] = layernorm_backward(dy, cache.norm)  # (K, D)
    # a = gelu(h)
    dh = gelu_backward(da, cache.gelu)  # (K, D)
    # h = dense(masked)
    dmasked, grads["dense.weight"], grads["dense.bias"] = linear_backward(dh, cache.dense)
    # masked = x[positions]
    dx = np.zeros((cache.tokens, dmasked.shape[1]), dmasked.dtype)  # (N, D)
    dx[cache.positions] = dmasked
    return dx, dwords.T, grads
