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

from ..blocks.feed_forward import feed_forward_forward
from ..blocks.self_attention import self_attention_forward
from ..layers.activations import tanh_forward
from ..layers.embedding import embedding_forward, positions_forward
from ..layers.layernorm import layernorm_forward
from ..layers.linear import linear_forward
from ..layers.parameters import select


@dataclass(frozen=True)
class BertConfig:
    """The sizes of one BERT; `classes` is 0 where it has no classifier."""

    vocab_size: int  # V
    width: int  # D
    depth: int  # blocks
    heads: int  # H
    mlp_width: int  # F
    max_positions: int  # L, the longest sentence in tokens
    token_types: int
    norm_eps: float
    classes: int = 0  # C


class BertOutput(NamedTuple):
    embeddings: np.ndarray  # (N, D), what the first block reads
    hidden: list  # the output of each block, (N, D)
    logits: np.ndarray | None  # (B, C); None where there is no classifier


def bert_forward(ids, offsets, params, config, *, backend="numpy"):
    """The hidden states of every block, and the classifier's logits where there is one.

    ids: (N,) integers, [CLS] and [SEP] included; offsets: (B + 1,). Each sentence's positions start
    at 0 and its token type is 0. There is no dropout: this is BERT as it is used, not trained.
    Raises ValueError where a sentence is longer than config.max_positions.
    """
    # 1. The sum of three embeddings, normalised.
    words, _ = embedding_forward(ids, params["embeddings.word"])  # (N, D)
    x, _ = positions_forward(words, params["embeddings.position"], offsets)  # (N, D)
    gain, bias = params["embeddings.norm.gain"], params["embeddings.norm.bias"]
    x, _ = layernorm_forward(x + params["embeddings.type"][0], gain, bias, eps=config.norm_eps)
    embeddings = x
    # 2. The blocks.
    hidden = []
    for block in range(config.depth):
        attention = select(params, f"blocks.{block}.attention.")
        x, _ = self_attention_forward(
            x, offsets, attention, heads=config.heads, eps=config.norm_eps
        )  # (N, D)
        feed_forward = select(params, f"blocks.{block}.feed_forward.")
        x, _ = feed_forward_forward(x, feed_forward, eps=config.norm_eps, backend=backend)  # (N, D)
        hidden.append(x)
    if not config.classes:
        return BertOutput(embeddings, hidden, None)
    # 3. The classifier reads each sentence's first token, [CLS], through one more layer.
    first = x[offsets[:-1]]  # (B, D)
    pooled, _ = linear_forward(first, params["pooler.weight"], params["pooler.bias"])  # (B, D)
    pooled, _ = tanh_forward(pooled)
    logits, _ = linear_forward(pooled, params["classifier.weight"], params["classifier.bias"])
    return BertOutput(embeddings, hidden, logits)  # logits (B, C)
