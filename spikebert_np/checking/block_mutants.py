"""Wrong passes of blocks and models: the layers are right and put together wrongly.

A long file, because it is a list: each function is read by itself.
"""

from dataclasses import replace

import numpy as np

from ..blocks.classifier_head import classifier_head_backward
from ..blocks.distillation_tap import distillation_tap_backward
from ..blocks.encoder_block import encoder_block_backward
from ..blocks.mlp import mlp_backward
from ..blocks.self_attention import attention_sentence_backward
from ..blocks.spike_input import spike_input_backward
from ..blocks.spiking_linear import spiking_linear_backward
from ..blocks.ssa import (
    AttentionCache,
    attention_backward,
    attention_forward,
    attention_map,
    join_heads,
    split_heads,
    ssa_backward,
    ssa_forward,
    ssa_sentence_backward,
)
from ..layers.activations import gelu_backward
from ..layers.layernorm import layernorm_backward
from ..layers.lif import lif_backward, lif_forward
from ..layers.linear import linear_backward
from ..layers.parameters import with_prefix
from ..layers.pooling import mean_over_time_backward, mean_pool_backward
from ..models.spikebert import spikebert_backward
from ..training.distill import distillation_backward
from .mutant import wrong_backward, wrong_forward

# --- the spiking unit ---------------------------------------------------------------------------


def unit_gradients(dz, dgain, dbias, cache):
    dx, dweight, dlinear_bias = linear_backward(dz, cache.linear)
    return dx, {
        "weight": dweight, "bias": dlinear_bias, "norm.gain": dgain, "norm.bias": dbias,
    }  # fmt: skip


@wrong_backward("spiking_linear", "left out: lif", norm="layer")
def unit_without_lif(ds, cache):
    return unit_gradients(*layernorm_backward(ds, cache.norm), cache)


@wrong_backward("spiking_linear", "left out: layernorm", norm="layer")
def unit_without_norm(ds, cache):
    dy = lif_backward(ds, cache.lif)
    _, dgain, dbias = layernorm_backward(dy, cache.norm)
    return unit_gradients(dy, dgain, dbias, cache)


@wrong_backward("spiking_linear", "nothing carried back", norm="layer")
def unit_without_leak(ds, cache):
    steps = []
    for t in range(len(ds)):  # each as if it were the last
        step = cache.lif._replace(h=cache.lif.h[[t]], s=cache.lif.s[[t]])
        steps.append(lif_backward(ds[[t]], step))
    return unit_gradients(*layernorm_backward(np.concatenate(steps), cache.norm), cache)


# --- spiking attention: y = (q kᵀ) v scale ------------------------------------------------------


@wrong_backward("ssa_sentence", "k and v swapped")
def sentence_k_and_v_swapped(dy, q, k, v, *, heads, scale):
    dq, dk, dv = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
    return dq, dv, dk


@wrong_backward("ssa_sentence", "scale missing from dv")
def sentence_dv_unscaled(dy, q, k, v, *, heads, scale):
    dq, dk, _ = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
    a = attention_map(q, k, heads)
    return dq, dk, join_heads(a.swapaxes(-1, -2) @ split_heads(dy, heads))


@wrong_backward("ssa_sentence", "scale twice")
def sentence_scaled_twice(dy, q, k, v, *, heads, scale):
    return ssa_sentence_backward(dy * scale, q, k, v, heads=heads, scale=scale)


@wrong_backward("ssa_sentence", "map not transposed")
def sentence_dk_of_the_map_itself(dy, q, k, v, *, heads, scale):
    dq, _, dv = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
    da = split_heads(dy, heads) * scale @ split_heads(v, heads).swapaxes(-1, -2)
    return dq, join_heads(da @ split_heads(q, heads)), dv


@wrong_backward("ssa_sentence", "summary not transposed")
def sentence_dk_of_the_summary_itself(dy, q, k, v, *, heads, scale):
    dq, _, dv = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
    dsummary = split_heads(q, heads).mT @ split_heads(dy, heads) * scale
    return dq, join_heads(split_heads(v, heads) @ dsummary), dv


@wrong_backward("attention", "leaking across sentences")
def attention_of_one_long_sentence(dy, cache):
    return attention_backward(dy, cache._replace(offsets=cache.offsets[[0, -1]]))


@wrong_forward("attention", "leaking across sentences")
def attention_over_the_batch(q, k, v, offsets, *, heads, scale):
    y, _ = attention_forward(q, k, v, offsets[[0, -1]], heads=heads, scale=scale)
    return y, AttentionCache(q, k, v, offsets, heads, scale)


@wrong_backward("attention", "heads not split")
def attention_of_one_head(dy, cache):
    return attention_backward(dy, cache._replace(heads=1))


@wrong_backward("ssa", "path dropped: spiking_linear")
def ssa_without_the_path_through_q(dout, cache):
    dx, dparams = ssa_backward(dout, cache)
    ds, _ = spiking_linear_backward(dout, cache.out)
    dq, _, _ = attention_backward(lif_backward(ds, cache.attention_lif), cache.attention)
    return dx - spiking_linear_backward(dq, cache.q)[0], dparams


def ssa_from(dy, cache, dout_params):
    """The rest of `ssa_backward`, right, from the gradient of the attention's output."""
    parts = dict(zip("qkv", attention_backward(dy, cache.attention), strict=True))
    dx, dparams = 0, with_prefix(dout_params, "out.")
    for name, d in parts.items():
        dx_part, grads = spiking_linear_backward(d, getattr(cache, name))
        dx, dparams = dx + dx_part, dparams | with_prefix(grads, f"{name}.")
    return dx, dparams


@wrong_backward("ssa", "left out: lif")
def ssa_without_its_neuron(dout, cache):
    ds, dout_params = spiking_linear_backward(dout, cache.out)
    return ssa_from(ds, cache, dout_params)


@wrong_backward("ssa", "threshold not halved")
def ssa_at_the_full_threshold(dout, cache):
    ds, dout_params = spiking_linear_backward(dout, cache.out)
    lif = cache.attention_lif
    neuron = replace(lif.neuron, v_th=2 * lif.neuron.v_th)
    return ssa_from(lif_backward(ds, lif._replace(neuron=neuron)), cache, dout_params)


@wrong_backward("ssa", "k and v swapped")
def ssa_k_and_v_swapped(dout, cache):
    dx, dparams = ssa_backward(dout, cache)
    other = {"k": "v", "v": "k"}
    return dx, {other.get(key[0], key[0]) + key[1:]: value for key, value in dparams.items()}


# --- compositions -------------------------------------------------------------------------------


@wrong_backward("mlp", "left out: lif")
def mlp_without_its_last_neuron(ds, cache):
    dz, dgain, dbias = layernorm_backward(ds, cache.down.norm)
    dhidden, ddown = unit_gradients(dz, dgain, dbias, cache.down)
    dx, dup = spiking_linear_backward(dhidden, cache.up)
    return dx, with_prefix(dup, "up.") | with_prefix(ddown, "down.")


@wrong_backward("encoder_block", "straight path dropped", attention=True)
def block_without_residual(dy, cache):
    dx_mlp, dmlp = mlp_backward(dy, cache.mlp)
    dx_ssa, dssa = ssa_backward(dx_mlp, cache.ssa)
    return dx_mlp + dx_ssa, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


@wrong_backward("encoder_block", "straight path counted twice", attention=True)
def block_with_two_residuals(dy, cache):
    dx, dparams = encoder_block_backward(dy, cache)
    return dx + dy, dparams


@wrong_backward("encoder_block", "fed the block's own upstream: ssa", attention=True)
def block_ssa_reads_the_output(dy, cache):
    dx_mlp, dmlp = mlp_backward(dy, cache.mlp)
    dx_ssa, dssa = ssa_backward(dy, cache.ssa)
    dx = dy + dx_mlp + dx_ssa
    return dx, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


@wrong_backward("spike_encoding", "last step only", encoder="lif")
def encoding_of_the_last_step(ds, cache):
    return lif_backward(ds, cache.lif)[-1]


@wrong_backward("spike_encoding", "surrogate left out", encoder="heaviside")
def encoding_straight_through(ds, cache):
    return ds.sum(axis=0)


@wrong_backward("spike_input", "left out: dropout")
def input_without_mask(dx, cache):
    return spike_input_backward(dx, cache._replace(dropout=cache.dropout._replace(mask=None)))


@wrong_backward("classifier_head", "not divided by T")
def head_as_a_sum_over_time(dlogits, cache):
    return classifier_head_backward(dlogits * cache.time.steps, cache)


@wrong_backward("classifier_head", "left out: layernorm", dropout=0.0)
def head_without_norm(dlogits, cache):
    _, dparams = classifier_head_backward(dlogits, cache)
    dpooled, _, _ = linear_backward(mean_over_time_backward(dlogits, cache.time), cache.linear)
    return mean_pool_backward(dpooled, cache.pool), dparams


@wrong_backward("distillation_tap", "not divided by T", tap="none")
def tap_as_a_sum_over_time(dtap, cache):
    return np.broadcast_to(dtap, (cache.time.steps, *dtap.shape)), {}


@wrong_backward("distillation_tap", "left out: layernorm", tap="linear_norm")
def tap_without_its_norm(dtap, cache):
    _, dparams = distillation_tap_backward(dtap, cache)
    dmean, dparams["weight"], dparams["bias"] = linear_backward(dtap, cache.linear)
    return mean_over_time_backward(dmean, cache.time), dparams


@wrong_backward("distillation_tap", "variance term missing", tap="linear_norm")
def tap_with_a_fixed_variance(dtap, cache):
    _, dparams = distillation_tap_backward(dtap, cache)
    _, inv_std, gain = cache.norm
    dx_hat = dtap * gain
    dz = (dx_hat - dx_hat.mean(axis=-1, keepdims=True)) * inv_std
    dmean, dparams["weight"], dparams["bias"] = linear_backward(dz, cache.linear)
    return mean_over_time_backward(dmean, cache.time), dparams


# --- BERT ---------------------------------------------------------------------------------------


@wrong_backward("feed_forward", "straight path dropped")
def feed_forward_without_residual(dy, cache):
    return feed_forward_by(dy, cache, residual=0)


@wrong_backward("feed_forward", "left out: gelu")
def feed_forward_without_gelu(dy, cache):
    return feed_forward_by(dy, cache, gelu=lambda da, cache: da)


def feed_forward_by(dy, cache, *, residual=1, gelu=gelu_backward):
    """`feed_forward_backward` of another GELU or with another share of the residual."""
    grads = {}
    dsum, grads["norm.gain"], grads["norm.bias"] = layernorm_backward(dy, cache.norm)
    da, grads["down.weight"], grads["down.bias"] = linear_backward(dsum, cache.down)
    dx, grads["up.weight"], grads["up.bias"] = linear_backward(gelu(da, cache.gelu), cache.up)
    return residual * dsum + dx, grads


@wrong_backward("attention_sentence", "scale missing from dq and dk")
def scores_unscaled(dy, cache):
    dq, dk, dv = attention_sentence_backward(dy, cache)
    root = np.sqrt(cache.q.shape[-1])
    return dq * root, dk * root, dv


@wrong_backward("attention_sentence", "left out: softmax")
def scores_without_softmax(dy, cache):
    q, k, v = cache.q, cache.k, cache.v
    _, _, dv = attention_sentence_backward(dy, cache)
    dscores = dy @ v.swapaxes(1, 2) / np.sqrt(q.shape[2])
    return dscores @ k, dscores.swapaxes(1, 2) @ q, dv


# --- models and the distillation loss -----------------------------------------------------------


@wrong_backward("spikebert", "path dropped: distillation_tap")
def student_deaf_to_its_last_tap(dlogits, dtaps, cache):
    dparams = spikebert_backward(dlogits, dtaps, cache)
    deaf = spikebert_backward(dlogits, [dtaps[0], None], cache)
    return dparams | deaf


@wrong_backward("distillation", "loss overwritten")
def last_loss_wins(cache):
    _, dtaps, dembedding = distillation_backward(cache)
    return distillation_backward(cache._replace(ce=None))[0], dtaps, dembedding


@wrong_backward("distillation", "loss weight missing")
def tap_unweighted(cache):
    dlogits, dtaps, dembedding = distillation_backward(cache)
    return dlogits, [None, dtaps[1] / cache.weights.feat], dembedding


# --- wrong forward passes: the output differs from the reference's ------------------------------


@wrong_forward("lif", "reset left out", reset="hard")
def lif_without_reset(x, *, neuron, backend="numpy", frozen=None):
    s, cache = lif_forward(x, neuron=replace(neuron, reset="none"))
    return s, cache._replace(neuron=neuron)


@wrong_forward("lif", "another reset", reset="soft")
def lif_reset_to_rest(x, *, neuron, backend="numpy", frozen=None):
    s, cache = lif_forward(x, neuron=replace(neuron, reset="hard"), frozen=frozen)
    return s, cache._replace(neuron=neuron)


@wrong_forward("lif", "another charge", decay_input=True)
def lif_of_an_undivided_input(x, *, neuron, backend="numpy", frozen=None):
    s, cache = lif_forward(x, neuron=replace(neuron, decay_input=False), frozen=frozen)
    return s, cache._replace(neuron=neuron)


@wrong_forward("ssa", "heads not split")
def ssa_of_one_head(x, params, offsets, *, heads, scale, neuron, backend="numpy", frozen=None):
    return ssa_forward(x, params, offsets, heads=1, scale=scale, neuron=neuron, frozen=frozen)
