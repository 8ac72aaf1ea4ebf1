"""BERT's self-attention block: softmax attention, residual, layer norm (Vaswani et al. 2017,
arXiv 1706.03762; Devlin et al. 2019, arXiv 1810.04805).

Letters: N packed tokens, n tokens of one sentence, B sentences, D width, H heads, E = D // H.

Parameters: q, k, v and output, each .weight (D, D) and .bias (D,); norm.gain and norm.bias (D,).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..layers.dropout import DropoutCache, dropout_backward, dropout_forward
from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.softmax import SoftmaxCache, softmax_backward, softmax_forward


class SentenceCache(NamedTuple):
    """The matrix products' factors; the attention map before dropout is in softmax's cache."""

    q: np.ndarray  # (H, n, E)
    k: np.ndarray  # (H, n, E)
    v: np.ndarray  # (H, n, E)
    softmax: SoftmaxCache  # (H, n, n)
    dropout: DropoutCache  # (H, n, n)
    dropped: np.ndarray  # (H, n, n), the map that gathers the values


def attention_sentence_forward(q, k, v, *, dropout=0.0, rng=None):
    """y = dropout(softmax(q kᵀ / √E)) v for one sentence, each head on its own.

    q, k, v: (H, n, E). Returns y (H, n, E) and the cache.
    """
    # 1. How well each word's query meets each word's key; √E keeps the spread near 1.
    scores = q @ k.swapaxes(1, 2) * q.dtype.type(q.shape[2] ** -0.5)  # (H, n, n)
    # 2. Each word has one unit of attention to give away.
    attention, softmax_cache = softmax_forward(scores)  # (H, n, n)
    # 3. In training some of it is lost.
    dropped, dropout_cache = dropout_forward(attention, rate=dropout, rng=rng)  # (H, n, n)
    # 4. Each word gathers the values it attends to.
    y = dropped @ v  # (H, n, E)
    return y, SentenceCache(q, k, v, softmax_cache, dropout_cache, dropped)


def attention_sentence_backward(dy, cache):
    """dq, dk and dv (H, n, E) from dy (H, n, E)."""
    q, k, v, softmax_cache, dropout_cache, dropped = cache
    # y = dropped v
    dv = dropped.swapaxes(1, 2) @ dy  # (H, n, E)
    ddropped = dy @ v.swapaxes(1, 2)  # (H, n, n)
    # dropped = dropout(attention)
    dattention = dropout_backward(ddropped, dropout_cache)  # (H, n, n)
    # attention = softmax(scores)
    dscores = softmax_backward(dattention, softmax_cache)  # (H, n, n)
    # scores = q kᵀ / √E
    dscores *= q.dtype.type(q.shape[2] ** -0.5)
    return dscores @ k, dscores.swapaxes(1, 2) @ q, dv  # (H, n, E) each


class SelfAttentionCache(NamedTuple):
    """Softmax's maps are kept, sentence by sentence, and the offsets that say whose they are."""

    offsets: np.ndarray  # (B + 1,)
    q: LinearCache
    k: LinearCache
    v: LinearCache
    sentences: list  # B of SentenceCache
    output: LinearCache
    dropout: DropoutCache
    norm: LayerNormCache


def self_attention_forward(
    x, offsets, params, *, heads, eps, attention_dropout=0.0, dropout=0.0, rng=None
):
    """y = norm(x + dropout(output(attention(q(x), k(x), v(x))))), no word seeing another sentence.

    x: (N, D), offsets: (B + 1,), heads: H, eps: the layer norm's. The two rates of dropout, of the
    attention maps and of the mixed heads, count only where rng is a Generator, in training.
    Returns y (N, D) and the cache.
    """
    # 1. Queries, keys and values of all tokens at once.
    q, q_cache = linear_forward(x, params["q.weight"], params["q.bias"])  # (N, D)
    k, k_cache = linear_forward(x, params["k.weight"], params["k.bias"])  # (N, D)
    v, v_cache = linear_forward(x, params["v.weight"], params["v.bias"])  # (N, D)
    # 2. Attention within each sentence.
    q, k, v = _split_heads(q, heads), _split_heads(k, heads), _split_heads(v, heads)  # (H, N, E)
    gathered = np.empty_like(x)  # (N, D)
    gathered_heads = _split_heads(gathered, heads)  # (H, N, E), a view that fills `gathered`
    sentences = []
    for start, stop in pairwise(offsets):
        words = np.s_[:, start:stop]
        gathered_heads[words], cache = attention_sentence_forward(
            q[words], k[words], v[words], dropout=attention_dropout, rng=rng
        )
        sentences.append(cache)
    # 3. Mix the heads.
    mixed, output_cache = linear_forward(gathered, params["output.weight"], params["output.bias"])
    # 4. Dropout, residual, layer norm.
    kept, dropout_cache = dropout_forward(mixed, rate=dropout, rng=rng)  # (N, D)
    y, norm_cache = layernorm_forward(x + kept, params["norm.gain"], params["norm.bias"], eps=eps)
    return y, SelfAttentionCache(
        offsets, q_cache, k_cache, v_cache, sentences, output_cache, dropout_cache, norm_cache
    )


def self_attention_backward(dy, cache):
    """dx (N, D) and the gradients of all parameters, from dy (N, D)."""
    grads = {}
    # y = norm(x + kept)
    dsum, grads["norm.gain"], grads["norm.bias"] = layernorm_backward(dy, cache.norm)  # (N, D)
    # kept = dropout(mixed)
    dmixed = dropout_backward(dsum, cache.dropout)  # (N, D)
    # mixed = output(gathered)
    dgathered, grads["output.weight"], grads["output.bias"] = linear_backward(dmixed, cache.output)
    # gathered = attention(q, k, v), sentence by sentence
    heads = cache.sentences[0].q.shape[0]
    dgathered = _split_heads(dgathered, heads)  # (H, N, E)
    dq, dk, dv = np.empty_like(dsum), np.empty_like(dsum), np.empty_like(dsum)  # (N, D) each
    views = [_split_heads(d, heads) for d in (dq, dk, dv)]  # (H, N, E) each
    for (start, stop), sentence in zip(pairwise(cache.offsets), cache.sentences, strict=True):
        dsentence = attention_sentence_backward(dgathered[:, start:stop], sentence)
        for view, d in zip(views, dsentence, strict=True):
            view[:, start:stop] = d
    # q, k and v read x; so does the residual.
    dx_q, grads["q.weight"], grads["q.bias"] = linear_backward(dq, cache.q)
    dx_k, grads["k.weight"], grads["k.bias"] = linear_backward(dk, cache.k)
    dx_v, grads["v.weight"], grads["v.bias"] = linear_backward(dv, cache.v)
    return dsum + dx_q + dx_k + dx_v, grads


def _split_heads(x, heads):
    """(N, D) -> (H, N, E), a view: head h owns the columns h*E to (h+1)*E."""
    return x.reshape(len(x), heads, -1).swapaxes(0, 1)
