"""Spiking self-attention (Zhou et al. 2023, arXiv 2209.15425; over words in arXiv 2308.15122).

    q, k, v = spiking_linear(x)                one each
    y = (q kᵀ) v scale                         per sentence, head and step; no softmax
    spiking_linear(LIF(y, v_th / 2))

q, k, v are spikes, so q kᵀ counts the channels in which two words fire together. Without a softmax
(q kᵀ) v = q (kᵀ v): a sentence of more tokens than a head has channels takes the second order.

Letters: T spike steps, N packed tokens, n tokens of one sentence, D width, H heads, E = D // H.
"""

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..layers.lif import LIFCache, lif_backward, lif_forward
from ..layers.parameters import select, with_prefix
from .spiking_linear import (
    SpikingLinearCache,
    init_spiking_linear,
    spiking_linear_backward,
    spiking_linear_forward,
)


def split_heads(x, heads):
    """(T, n, D) -> (T, H, n, E)."""
    steps, tokens, width = x.shape
    return x.reshape(steps, tokens, heads, width // heads).transpose(0, 2, 1, 3)


def join_heads(x):
    """(T, H, n, E) -> (T, n, D)."""
    steps, heads, tokens, head_width = x.shape
    return x.transpose(0, 2, 1, 3).reshape(steps, tokens, heads * head_width)


def attention_map(q, k, heads):
    """q kᵀ of one sentence, unscaled: (T, n, D) twice -> (T, H, n, n), row i what word i reads."""
    return split_heads(q, heads) @ split_heads(k, heads).mT


def by_words_forward(q, k, v):
    """z = (q kᵀ) v, 4 n² E operations a step and head. q, k, v, z: (T, H, n, E)."""
    a = q @ k.mT  # (T, H, n, n)
    return a @ v


def by_words_backward(dz, q, k, v):
    """dq, dk, dv from dz, all (T, H, n, E)."""
    a = q @ k.mT  # (T, H, n, n)
    # z = a v
    da = dz @ v.mT  # (T, H, n, n)
    dv = a.mT @ dz
    # a = q kᵀ
    return da @ k, da.mT @ q, dv


def by_channels_forward(q, k, v):
    """z = q (kᵀ v), 4 n E² operations a step and head. q, k, v, z: (T, H, n, E)."""
    summary = k.mT @ v  # (T, H, E, E)
    return q @ summary


def by_channels_backward(dz, q, k, v):
    """dq, dk, dv from dz, all (T, H, n, E)."""
    summary = k.mT @ v  # (T, H, E, E)
    # z = q summary
    dq = dz @ summary.mT
    dsummary = q.mT @ dz  # (T, H, E, E)
    # summary = kᵀ v
    return dq, v @ dsummary.mT, k @ dsummary


def ssa_sentence_forward(q, k, v, *, heads, scale):
    """y = (q kᵀ) v scale for one sentence, the brackets where they are cheaper.

    q, k, v: (T, n, D). Returns y (T, n, D). Both orders are the same sum, on spikes to the bit.
    """
    q, k, v = (split_heads(x, heads) for x in (q, k, v))  # (T, H, n, E)
    n, E = q.shape[2:]
    attend = by_channels_forward if n > E else by_words_forward  # 4 n E² < 4 n² E
    return join_heads(attend(q, k, v)) * q.dtype.type(scale)  # (T, n, D)


def ssa_sentence_backward(dy, q, k, v, *, heads, scale):
    """dq, dk, dv (T, n, D) from dy (T, n, D)."""
    q, k, v = (split_heads(x, heads) for x in (q, k, v))  # (T, H, n, E)
    # y = join(z) scale
    dz = split_heads(dy, heads) * dy.dtype.type(scale)  # (T, H, n, E)
    n, E = q.shape[2:]
    attend_back = by_channels_backward if n > E else by_words_backward  # 10 n E² < 10 n² E
    return tuple(join_heads(grad) for grad in attend_back(dz, q, k, v))


class AttentionCache(NamedTuple):
    """Neither map nor summary is kept: each is cheaper to make again than to store."""

    q: np.ndarray  # (T, N, D)
    k: np.ndarray  # (T, N, D)
    v: np.ndarray  # (T, N, D)
    offsets: np.ndarray  # (B + 1,)
    heads: int
    scale: float


def attention_forward(q, k, v, offsets, *, heads, scale):
    """`ssa_sentence_forward` on each sentence of the batch: no word sees another sentence.

    q, k, v: (T, N, D), offsets: (B + 1,). Returns y (T, N, D) and the cache.
    """
    y = np.empty_like(q)  # (T, N, D)
    for first, last in pairwise(offsets):
        words = np.s_[:, first:last]
        y[words] = ssa_sentence_forward(q[words], k[words], v[words], heads=heads, scale=scale)
    return y, AttentionCache(q, k, v, offsets, heads, scale)


def attention_backward(dy, cache):
    """dq, dk, dv (T, N, D) from dy (T, N, D)."""
    q, k, v, offsets, heads, scale = cache
    dq, dk, dv = np.empty_like(q), np.empty_like(q), np.empty_like(q)  # (T, N, D)
    for first, last in pairwise(offsets):
        words = np.s_[:, first:last]
        dq[words], dk[words], dv[words] = ssa_sentence_backward(
            dy[words], q[words], k[words], v[words], heads=heads, scale=scale
        )
    return dq, dk, dv


class SSACache(NamedTuple):
    q: SpikingLinearCache
    k: SpikingLinearCache
    v: SpikingLinearCache
    attention: AttentionCache
    attention_lif: LIFCache
    out: SpikingLinearCache


def init_ssa(rng, width, *, norm="layer"):
    """The parameters of q, k, v and out, each a `spiking_linear` D -> D."""
    params = {}
    for name in ("q", "k", "v", "out"):
        params |= with_prefix(init_spiking_linear(rng, width, width, norm=norm), f"{name}.")
    return params


def ssa_forward(
    x, params, offsets, *, heads, scale, neuron, norm="layer", backend="numpy", frozen=None
):
    """Spiking self-attention. x: (T, N, D). Returns spikes (T, N, D) and the cache.

    norm: see `spiking_linear_forward`.
    """

    def project(name, x):
        return spiking_linear_forward(
            x,
            select(params, f"{name}."),
            neuron=neuron,
            norm=norm,
            backend=backend,
            frozen=frozen and getattr(frozen, name),
        )

    # 1. Queries, keys, values.
    q, q_cache = project("q", x)  # (T, N, D)
    k, k_cache = project("k", x)  # (T, N, D)
    v, v_cache = project("v", x)  # (T, N, D)
    # 2. y = (q kᵀ) v scale.
    y, attention_cache = attention_forward(q, k, v, offsets, heads=heads, scale=scale)  # (T, N, D)
    # 3. Fire, at half the threshold.
    s, attention_lif_cache = lif_forward(
        y,
        neuron=replace(neuron, v_th=neuron.v_th / 2),
        backend=backend,
        frozen=frozen and frozen.attention_lif,
    )  # (T, N, D)
    # 4. Mix the heads.
    out, out_cache = project("out", s)  # (T, N, D)
    cache = SSACache(q_cache, k_cache, v_cache, attention_cache, attention_lif_cache, out_cache)
    return out, cache


def ssa_backward(dout, cache, *, dspike=0.0):
    """dx (T, N, D) and the dict of parameter gradients, from dout (T, N, D).

    dspike: see `spiking_linear_backward`.
    """
    # out = spiking_linear(s)
    ds, dout_params = spiking_linear_backward(dout, cache.out, dspike=dspike)  # (T, N, D)
    if dspike:
        ds = ds + dspike
    # s = LIF(y)
    dy = lif_backward(ds, cache.attention_lif)  # (T, N, D)
    # y = (q kᵀ) v scale
    dq, dk, dv = attention_backward(dy, cache.attention)  # (T, N, D)
    # q, k, v = spiking_linear(x): x is read three times, so three gradients meet in it.
    dx_q, dq_params = spiking_linear_backward(dq, cache.q, dspike=dspike)  # (T, N, D)
    dx_k, dk_params = spiking_linear_backward(dk, cache.k, dspike=dspike)  # (T, N, D)
    dx_v, dv_params = spiking_linear_backward(dv, cache.v, dspike=dspike)  # (T, N, D)
    dparams = {
        **with_prefix(dq_params, "q."),
        **with_prefix(dk_params, "k."),
        **with_prefix(dv_params, "v."),
        **with_prefix(dout_params, "out."),
    }
    return dx_q + dx_k + dx_v, dparams
