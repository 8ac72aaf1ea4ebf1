"""The MLP of a block: two spiking linear units, wide in the middle.

The published code reshapes the middle in a way that cannot run as released; this is what it means.

Letters: T spike steps, N packed tokens, D width, F MLP width.
"""

from typing import NamedTuple

from ..layers.parameters import select, with_prefix
from .spiking_linear import (
    SpikingLinearCache,
    init_spiking_linear,
    spiking_linear_backward,
    spiking_linear_forward,
)


class MLPCache(NamedTuple):
    up: SpikingLinearCache
    down: SpikingLinearCache


def init_mlp(rng, width, mlp_width, *, norm="layer"):
    """The parameters of up (D -> F) and down (F -> D), each a `spiking_linear`."""
    return {
        **with_prefix(init_spiking_linear(rng, width, mlp_width, norm=norm), "up."),
        **with_prefix(init_spiking_linear(rng, mlp_width, width, norm=norm), "down."),
    }


def mlp_forward(x, params, *, neuron, norm="layer", backend="numpy", frozen=None):
    """s = spiking_linear(spiking_linear(x)). x: (T, N, D). Returns s (T, N, D) and the cache.

    norm: see `spiking_linear_forward`.
    """
    settings = {"neuron": neuron, "norm": norm, "backend": backend}
    hidden, up_cache = spiking_linear_forward(
        x, select(params, "up."), frozen=frozen and frozen.up, **settings
    )  # (T, N, F)
    s, down_cache = spiking_linear_forward(
        hidden, select(params, "down."), frozen=frozen and frozen.down, **settings
    )  # (T, N, D)
    return s, MLPCache(up_cache, down_cache)


def mlp_backward(ds, cache, *, dspike=0.0):
    """dx (T, N, D) and the dict of parameter gradients, from ds (T, N, D).

    dspike: see `spiking_linear_backward`.
    """
    dhidden, ddown = spiking_linear_backward(ds, cache.down, dspike=dspike)  # (T, N, F)
    dx, dup = spiking_linear_backward(dhidden, cache.up, dspike=dspike)  # (T, N, D)
    return dx, {**with_prefix(dup, "up."), **with_prefix(ddown, "down.")}
