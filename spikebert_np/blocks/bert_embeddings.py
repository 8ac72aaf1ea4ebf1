"""What BERT's first block reads: word, position and type, added up and normalised
(Devlin et al. 2019, arXiv 1810.04805, figure 2).

Letters: N packed tokens, B sentences, V vocabulary, L positions, D width.

Parameters: word (V, D), position (L, D), type (token types, D), norm.gain and norm.bias (D,).
"""

from typing import NamedTuple

import numpy as np

from ..layers.dropout import DropoutCache, dropout_backward, dropout_forward
from ..layers.embedding import (
    EmbeddingCache,
    PositionsCache,
    embedding_backward,
    embedding_forward,
    positions_backward,
    positions_forward,
)
from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward


class BertEmbeddingsCache(NamedTuple):
    """How many token types there are: all but type 0 have the gradient 0."""

    words: EmbeddingCache
    positions: PositionsCache
    token_types: int  # rows of the type embedding
    norm: LayerNormCache
    dropout: DropoutCache


def bert_embeddings_forward(ids, offsets, params, *, eps, dropout=0.0, rng=None, backend="numpy"):
    """y = dropout(norm(word + position + type)), every token of type 0.

    ids: (N,), offsets: (B + 1,), eps: the layer norm's. rng: a Generator in training, None without
    dropout. Returns y (N, D) and the cache. Raises ValueError where a sentence is longer than L.
    """
    # 1. The sum of three embeddings.
    words, words_cache = embedding_forward(ids, params["word"], backend=backend)  # (N, D)
    x, positions_cache = positions_forward(words, params["position"], offsets, backend=backend)
    x = x + params["type"][0]  # (N, D)
    # 2. Layer norm, dropout.
    y, norm_cache = layernorm_forward(x, params["norm.gain"], params["norm.bias"], eps=eps)
    y, dropout_cache = dropout_forward(y, rate=dropout, rng=rng)  # (N, D)
    return y, BertEmbeddingsCache(
        words_cache, positions_cache, len(params["type"]), norm_cache, dropout_cache
    )


def bert_embeddings_backward(dy, cache):
    """The gradients of all parameters, from dy (N, D); that of the words is a RowGradient."""
    grads = {}
    # y = dropout(norm(x))
    dy = dropout_backward(dy, cache.dropout)  # (N, D)
    dx, grads["norm.gain"], grads["norm.bias"] = layernorm_backward(dy, cache.norm)  # (N, D)
    # x = word + position + type: each of the three receives dx; every token is of type 0.
    grads["type"] = np.zeros((cache.token_types, dx.shape[1]), dx.dtype)
    grads["type"][0] = dx.sum(axis=0)
    _, grads["position"] = positions_backward(dx, cache.positions)  # (L, D)
    grads["word"] = embedding_backward(dx, cache.words)
    return grads
