"""The teacher: BERT's encoder (Devlin et al. 2019, arXiv 1810.04805), on packed tokens.

Letters: N packed tokens, B sentences, V vocabulary, D width, H heads, F MLP width, C classes.

Parameters, with i = 0 ... depth - 1:

    embeddings.*              as in blocks/bert_embeddings.py
    blocks.i.attention.*      as in blocks/self_attention.py
    blocks.i.feed_forward.*   as in blocks/feed_forward.py
    pooler.*, classifier.*    as in blocks/pooler_head.py, where there is a classifier
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..blocks.bert_embeddings import (
    BertEmbeddingsCache,
    bert_embeddings_backward,
    bert_embeddings_forward,
)
from ..blocks.feed_forward import FeedForwardCache, feed_forward_backward, feed_forward_forward
from ..blocks.pooler_head import (
    POOLINGS,
    PoolerHeadCache,
    pooler_head_backward,
    pooler_head_forward,
)
from ..blocks.self_attention import (
    SelfAttentionCache,
    self_attention_backward,
    self_attention_forward,
)
from ..layers.parameters import select, with_prefix


@dataclass(frozen=True)
class BertConfig:
    """The sizes of one BERT; `classes` is 0 where it has no classifier.

    pooling: what the classifier reads of a sentence, its "first" token (BERT's own way, and all
    that Hugging Face's BertForSequenceClassification knows) or the "mean" of all its tokens.
    Raises ValueError for another pooling, a rate of dropout outside [0, 1), or a norm_eps that is
    not above 0.
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
        if not 0 < self.norm_eps < 1:
            raise ValueError(f"the layer norm's epsilon is {self.norm_eps}; it is small, above 0")


class BertOutput(NamedTuple):
    embeddings: np.ndarray  # (N, D), what the first block reads
    hidden: list  # the output of each block, (N, D)
    logits: np.ndarray | None  # (B, C); None where there is no classifier


class BertCache(NamedTuple):
    embeddings: BertEmbeddingsCache
    attentions: list[SelfAttentionCache]
    feed_forwards: list[FeedForwardCache]
    head: PoolerHeadCache | None


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
    # 1. Words, positions and types.
    x, embeddings_cache = bert_embeddings_forward(
        ids,
        offsets,
        select(params, "embeddings."),
        eps=config.norm_eps,
        backend=backend,
        **rates,
    )  # (N, D)
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
        logits, head_cache = pooler_head_forward(
            x, offsets, params, pooling=config.pooling, **rates
        )  # (B, C)
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
        dx, grads = pooler_head_backward(dlogits, cache.head)  # (N, D)
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
    dembeddings = bert_embeddings_backward(dx, cache.embeddings)
    return grads | with_prefix(dembeddings, "embeddings.")
