"""Linear, layer norm, LIF: the unit SpikeBERT is made of; or with batch norm in the middle.

Letters: T spike steps, N packed tokens, D_in and D_out widths.
"""

from typing import NamedTuple

from ..layers.batchnorm import BatchNormCache, batchnorm_backward, batchnorm_forward
from ..layers.initializers import init_batchnorm, init_layernorm, init_linear
from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from ..layers.lif import LIFCache, lif_backward, lif_forward
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.parameters import with_prefix


class SpikingLinearCache(NamedTuple):
    linear: LinearCache
    norm: LayerNormCache | BatchNormCache
    lif: LIFCache


def init_spiking_linear(rng, width_in, width_out, *, norm="layer"):
    """weight (D_in, D_out), bias, norm.gain and norm.bias (D_out,).

    norm "batch": norm.mean and norm.variance (D_out,) too, which no gradient moves: what training
    saw on the average, for evaluation.
    """
    init_norm = init_batchnorm if norm == "batch" else init_layernorm
    return {**init_linear(rng, width_in, width_out), **with_prefix(init_norm(width_out), "norm.")}


def spiking_linear_forward(x, params, *, neuron, norm="layer", backend="numpy", frozen=None):
    """s = LIF(layer norm(x W + b)).

    x: (T, N, D_in) spikes or spike counts. Returns s (T, N, D_out) and the cache.
    norm: "layer"; "batch" for batch norm by the statistics of x itself; "running" for batch norm by
    those kept in params.
    frozen: the cache of another pass, whose spikes drive the reset (see `lif_forward`).
    """
    # 1. Linear.
    z, linear_cache = linear_forward(
        x, params["weight"], params["bias"], backend=backend
    )  # (T, N, D_out)
    gain, bias = params["norm.gain"], params["norm.bias"]
    reset_trace = None if frozen is None else frozen.lif
    if backend != "numpy" and norm == "layer":
        # 2. and 3. in one pass over memory, which turns z into x_hat in place.
        from .spiking_linear_numba import norm_lif_forward

        s, inv_std, h = norm_lif_forward(z, gain, bias, neuron, reset_trace)
        norm_cache = LayerNormCache(z, inv_std, gain)
        return s, SpikingLinearCache(linear_cache, norm_cache, LIFCache(h, s, neuron, backend))
    # 2. Layer norm, or batch norm.
    if norm == "layer":
        y, norm_cache = layernorm_forward(z, gain, bias)  # (T, N, D_out)
    else:
        running = (params["norm.mean"], params["norm.variance"]) if norm == "running" else None
        y, norm_cache = batchnorm_forward(z, gain, bias, running=running)  # (T, N, D_out)
    # 3. Fire.
    s, lif_cache = lif_forward(
        y, neuron=neuron, backend=backend, frozen=reset_trace
    )  # (T, N, D_out)
    return s, SpikingLinearCache(linear_cache, norm_cache, lif_cache)


def spiking_linear_backward(ds, cache, *, dspike=0.0):
    """dx (T, N, D_in) and the dict of parameter gradients, from ds (T, N, D_out).

    dspike: of a penalty on every spike, the gradient that each has of it: one number for all,
    beside what comes from those that read it, ds.
    """
    batch_norm = isinstance(cache.norm, BatchNormCache)
    if cache.lif.backend != "numpy" and not batch_norm:
        from .spiking_linear_numba import norm_lif_backward

        dz, dgain, dbias = norm_lif_backward(ds, cache.norm, cache.lif, dspike=dspike)
    else:
        if dspike:
            ds = ds + dspike  # a new array: a residual may read the old one
        # s = LIF(y)
        dy = lif_backward(ds, cache.lif)  # (T, N, D_out)
        # y = layer norm(z), or batch norm(z)
        if batch_norm:
            dz, dgain, dbias = batchnorm_backward(dy, cache.norm)  # (T, N, D_out)
        else:
            dz, dgain, dbias = layernorm_backward(dy, cache.norm)  # (T, N, D_out)
    # z = x W + b
    dx, dweight, dlinear_bias = linear_backward(dz, cache.linear)  # (T, N, D_in)
    return dx, {
        "weight": dweight,
        "bias": dlinear_bias,
        "norm.gain": dgain,
        "norm.bias": dbias,
    }
