"""A case for each of the teacher's own backward passes: its ends, and BERT whole.

Letters: N packed tokens, D width, F MLP width, H heads, L positions, V vocabulary, C classes.
"""

import numpy as np

from ..blocks.bert_embeddings import bert_embeddings_backward, bert_embeddings_forward
from ..blocks.masked_lm_head import masked_lm_head_backward, masked_lm_head_forward
from ..blocks.pooler_head import pooler_head_backward, pooler_head_forward
from ..layers.initializers import init_layernorm, init_linear
from ..layers.parameters import with_prefix
from ..models.bert import BertConfig, bert_backward, bert_forward
from .block_cases import adapt_ids
from .case import Problem, case

EPS = 1e-3
V, D, F, H, L, C = 5, 6, 8, 3, 6, 3  # fewer words than tokens: some stand twice


def init_embeddings(draw):
    """Word, position and type rows, and their norm."""
    rows = {name: draw.normal(n, D) for name, n in (("word", V), ("position", L), ("type", 2))}
    return draw.params(rows | with_prefix(init_layernorm(D), "norm."))


def init_head(draw):
    """The pooler and the classifier."""
    pooler = with_prefix(init_linear(draw.rng, D, D), "pooler.")
    return draw.params(pooler | with_prefix(init_linear(draw.rng, D, C), "classifier."))


@case(bert_embeddings_forward, bert_embeddings_backward, floor="block", adapt=adapt_ids)
def bert_embeddings(draw):
    settings = {"ids": draw.ids(V), "offsets": draw.offsets, "eps": EPS, "dropout": 0.3}
    return Problem({}, settings | {"rng": draw.size(0, 10**6)}, init_embeddings(draw))


@case(
    pooler_head_forward,
    pooler_head_backward,
    floor="block",
    variants=[{"pooling": "first"}, {"pooling": "mean"}],
)
def pooler_head(draw):
    settings = {"offsets": draw.offsets, "dropout": 0.3, "rng": draw.size(0, 10**6)}
    x = draw.normal(draw.offsets[-1], D)
    return Problem({"x": x}, settings | {"pooling": draw.variant["pooling"]}, init_head(draw))


@case(masked_lm_head_forward, masked_lm_head_backward, floor="block")
def masked_lm_head(draw):
    N = draw.size(6, 8)
    params = with_prefix(init_linear(draw.rng, D, D), "dense.")
    params |= with_prefix(init_layernorm(D), "norm.") | {"bias": np.zeros(V)}
    settings = {"positions": draw.rng.permutation(N)[:4], "eps": EPS}
    inputs = {"x": draw.normal(N, D), "words": draw.normal(V, D)}
    return Problem(inputs, settings, draw.params(params))


def adapt_bert(forward, backward):
    """Logits and the last block's output laid end to end, so that there is one output."""

    def model_forward(params, *, backend, **settings):
        output, cache = forward(params=params, backend=backend, keep_cache=True, **settings)
        parts = output.logits, output.hidden[-1]
        return np.concatenate([part.ravel() for part in parts]), ([p.shape for p in parts], cache)

    def model_backward(dy, cache):
        (logits, hidden), cache = cache
        dlogits, dhidden = np.split(dy, [np.prod(logits)])
        return (backward(dlogits.reshape(logits), cache, dhidden=dhidden.reshape(hidden)),)

    return model_forward, model_backward


@case(
    bert_forward,
    bert_backward,
    floor="model",
    variants=[{"pooling": "first"}, {"pooling": "mean"}],
    adapt=adapt_bert,
    directional=True,
)
def bert(draw):
    config = BertConfig(
        vocab_size=V, width=D, depth=2, heads=H, mlp_width=F, max_positions=L, token_types=2,
        norm_eps=EPS, classes=C, pooling=draw.variant["pooling"], dropout=0.2,
        attention_dropout=0.1,
    )  # fmt: skip
    params = with_prefix(init_embeddings(draw), "embeddings.") | init_head(draw)
    for i in range(config.depth):
        block = {}
        for name in ("q", "k", "v", "output"):
            block |= with_prefix(init_linear(draw.rng, D, D), f"attention.{name}.")
        block |= with_prefix(init_linear(draw.rng, D, F), "feed_forward.up.")
        block |= with_prefix(init_linear(draw.rng, F, D), "feed_forward.down.")
        for half in ("attention", "feed_forward"):
            block |= with_prefix(init_layernorm(D), f"{half}.norm.")
        params |= with_prefix(draw.params(block), f"blocks.{i}.")
    settings = {"ids": draw.ids(V), "offsets": draw.offsets, "config": config}
    # They add the same number to all scores of a row, which softmax does not see.
    zero = tuple(f"blocks.{i}.attention.k.bias" for i in range(config.depth))
    return Problem({}, settings | {"rng": draw.size(0, 10**6)}, params, zero=zero)
