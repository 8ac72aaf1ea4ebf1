"""The teacher: BERT's encoder (Devlin et al. 2019, arXiv 1810.04805), on packed tokens.

Letters: N packed tokens, B sentences, V vocabulary, D width, H heads, F MLP width, C classes.

Parameters, with i = 0 ... depth - 1:

    embeddings.word (V, D), embeddings.position (L, D), embeddings.type (token types, D),
    embeddings.norm.gain, .bias (D,)
    blocks.i.attention.*      as in blocks/self_attention.py
    blocks.i.feed_forward.*   as in blocks/feed_forward.py
    pooler.weight (D, D), .bias (D,); classifier.weight (D, C), .bias (C,)   where there is a head
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..blocks.feed_forward import (
    FeedForwardCache,
    feed_forward_backward,
    feed_forward_forward,
)
from ..blocks.self_attention import (
    SelfAttentionCache,
    self_attention_backward,
    self_attention_forward,
)
from ..layers.activations import TanhCache, tanh_backward, tanh_forward
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
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.parameters import select, with_prefix
from ..layers.pooling import MeanPoolCache, mean_pool_backward, mean_pool_forward

POOLINGS = ("first", "mean")


@dataclass(frozen=True)
class BertConfig:
    """The sizes of one BERT; `classes` is 0 where it has no classifier.

    pooling: what the classifier reads of a sentence, its "first" token (BERT's own way, and all
    that Hugging Face's BertForSequenceClassification knows) or the "mean" of all its tokens.
    Raises ValueError for another pooling or a rate of dropout outside [0, 1).
    """

    vocab_size: int  # V
    width: int  # D
    depth: int  # blocks
    heads: int  # H
    mlp_width: int  # F
    max_positions: int  # L, the longest sentence in tokens
    token_types: int
    norm_eps: float
    classes: int = 0  # C
    pooling: str = "first"
    dropout: float = 0.1  # of the embedding, of what each block adds, and of the pooled sentence
    attention_dropout: float = 0.1  # of the attention maps

    def __post_init__(self):
        if self.pooling not in POOLINGS:
            raise ValueError(f'pooling = "{self.pooling}": choose "first" or "mean"')
        if not (0 <= self.dropout < 1 and 0 <= self.attention_dropout < 1):
            raise ValueError("dropout and attention_dropout must be from 0 to below 1")


class BertOutput(NamedTuple):
    embeddings: np.ndarray  # (N, D), what the first block reads
    hidden: list  # the output of each block, (N, D)
    logits: np.ndarray | None  # (B, C); None where there is no classifier


class EmbeddingsCache(NamedTuple):
    words: EmbeddingCache
    positions: PositionsCache
    token_types: int
    norm: LayerNormCache
    dropout: DropoutCache


class HeadCache(NamedTuple):
    offsets: np.ndarray  # (B + 1,)
    mean: MeanPoolCache | None  # None where the first token is read
    pooler: LinearCache
    tanh: TanhCache
    dropout: DropoutCache
    classifier: LinearCache


class BertCache(NamedTuple):
    embeddings: EmbeddingsCache
    attentions: list[SelfAttentionCache]
    feed_forwards: list[FeedForwardCache]
    head: HeadCache


def bert_forward(ids, offsets, params, config, *, backend="numpy", rng=None, keep_cache=False):
    """The hidden states of every block, and the classifier's logits where there is one.

    ids: (N,) integers, [CLS] and [SEP] included; offsets: (B + 1,). Each sentence's positions start
    at 0 and its token type is 0. rng: a Generator in training; without one there is no dropout.
    keep_cache: keep what bert_backward needs. Without it, which is what a corpus is read with, each
    block's intermediate arrays are free as soon as the next one runs.

    Returns a BertOutput and the BertCache (None unless kept). Raises ValueError where a sentence is
    longer than config.max_positions.
    """
    rates = {"dropout": config.dropout, "rng": rng}
    # 1. The sum of three embeddings, normalised.
    x, embeddings_cache = _embeddings_forward(ids, offsets, params, config, backend, rng)  # (N, D)
    embeddings = x
    # 2. The blocks.
    hidden, attentions, feed_forwards = [], [], []
    for block in range(config.depth):
        x, cache = self_attention_forward(
            x,
            offsets,
            select(params, f"blocks.{block}.attention."),
            heads=config.heads,
            eps=config.norm_eps,
            attention_dropout=config.attention_dropout,
            **rates,
        )  # (N, D)
        attentions += [cache] if keep_cache else []
        x, cache = feed_forward_forward(
            x,
            select(params, f"blocks.{block}.feed_forward."),
            eps=config.norm_eps,
            backend=backend,
            **rates,
        )  # (N, D)
        feed_forwards += [cache] if keep_cache else []
        hidden.append(x)
    # 3. The classifier.
    logits = head_cache = None
    if config.classes:
        logits, head_cache = _head_forward(x, offsets, params, config, rng)  # (B, C)
    cache = None
    if keep_cache:
        cache = BertCache(embeddings_cache, attentions, feed_forwards, head_cache)
    return BertOutput(embeddings, hidden, logits), cache


def bert_backward(dlogits, cache, *, dhidden=None):
    """The gradients of all parameters; that of the words is a RowGradient.

    dlogits: (B, C), or None where no loss looks at the logits; dhidden: (N, D), the gradient of the
    last block's output, where a loss looks at that.
    """
    grads, dx = {}, dhidden
    # logits = head(x)
    if dlogits is not None:
        dx, grads = _head_backward(dlogits, cache.head)  # (N, D)
        dx = dx if dhidden is None else dx + dhidden
    # The blocks, from the last to the first.
    for block in reversed(range(len(cache.attentions))):
        # x = feed_forward(x)
        dx, dblock = feed_forward_backward(dx, cache.feed_forwards[block])  # (N, D)
        grads |= with_prefix(dblock, f"blocks.{block}.feed_forward.")
        # x = self_attention(x)
        dx, dblock = self_attention_backward(dx, cache.attentions[block])  # (N, D)
        grads |= with_prefix(dblock, f"blocks.{block}.attention.")
    # x = embeddings(ids)
    return grads | _embeddings_backward(dx, cache.embeddings)


def _embeddings_forward(ids, offsets, params, config, backend, rng):
    """y = dropout(norm(word + position + type)), (N, D), and the cache."""
    words, words_cache = embedding_forward(ids, params["embeddings.word"], backend=backend)
    x, positions_cache = positions_forward(
        words, params["embeddings.position"], offsets, backend=backend
    )  # (N, D)
    gain, bias = params["embeddings.norm.gain"], params["embeddings.norm.bias"]
    y, norm_cache = layernorm_forward(
        x + params["embeddings.type"][0], gain, bias, eps=config.norm_eps
    )
    y, dropout_cache = dropout_forward(y, rate=config.dropout, rng=rng)
    return y, EmbeddingsCache(
        words_cache, positions_cache, config.token_types, norm_cache, dropout_cache
    )


def _embeddings_backward(dy, cache):
    """The gradients of the embeddings and their norm, from dy (N, D)."""
    grads = {}
    # y = dropout(norm(x))
    dy = dropout_backward(dy, cache.dropout)
    dx, grads["embeddings.norm.gain"], grads["embeddings.norm.bias"] = layernorm_backward(
        dy, cache.norm
    )  # (N, D)
    # x = word + position + type: each of the three receives dx.
    _, grads["embeddings.position"] = positions_backward(dx, cache.positions)  # (L, D)
    grads["embeddings.word"] = embedding_backward(dx, cache.words)
    # Every token is of type 0.
    grads["embeddings.type"] = np.zeros((cache.token_types, dx.shape[1]), dx.dtype)
    grads["embeddings.type"][0] = dx.sum(axis=0)
    return grads


def _head_forward(x, offsets, params, config, rng):
    """logits = classifier(dropout(tanh(pooler(first token, or mean, of x)))); and the cache."""
    # 1. One vector a sentence.
    if config.pooling == "mean":
        sentence, mean_cache = mean_pool_forward(x[None], offsets)
        sentence = sentence[0]  # (B, D)
    else:
        sentence, mean_cache = x[offsets[:-1]], None  # (B, D), of [CLS]
    # 2. One more layer.
    pooled, pooler_cache = linear_forward(sentence, params["pooler.weight"], params["pooler.bias"])
    pooled, tanh_cache = tanh_forward(pooled)  # (B, D)
    pooled, dropout_cache = dropout_forward(pooled, rate=config.dropout, rng=rng)
    # 3. The classes.
    logits, classifier_cache = linear_forward(
        pooled, params["classifier.weight"], params["classifier.bias"]
    )  # (B, C)
    return logits, HeadCache(
        offsets, mean_cache, pooler_cache, tanh_cache, dropout_cache, classifier_cache
    )


def _head_backward(dlogits, cache):
    """dx (N, D) and the gradients of the pooler and the classifier, from dlogits (B, C)."""
    grads = {}
    # logits = classifier(pooled)
    dpooled, grads["classifier.weight"], grads["classifier.bias"] = linear_backward(
        dlogits, cache.classifier
    )  # (B, D)
    # pooled = dropout(tanh(pooler(sentence)))
    dpooled = tanh_backward(dropout_backward(dpooled, cache.dropout), cache.tanh)
    dsentence, grads["pooler.weight"], grads["pooler.bias"] = linear_backward(dpooled, cache.pooler)
    # sentence = mean of the tokens
    if cache.mean is not None:
        return mean_pool_backward(dsentence[None], cache.mean)[0], grads
    # sentence = x[first token]
    dx = np.zeros((cache.offsets[-1], dsentence.shape[1]), dsentence.dtype)  # (N, D)
    dx[cache.offsets[:-1]] = dsentence
    return dx, grads
