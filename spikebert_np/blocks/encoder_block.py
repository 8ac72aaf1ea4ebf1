"""One block of SpikeBERT: x = x + ssa(x), then x = x + mlp(x).

The sums are spike counts: integers from 0 up, no longer 0 or 1.

Letters: T spike steps, N packed tokens, D width, H heads, F MLP width.
"""

from typing import NamedTuple

from ..layers.parameters import select, with_prefix
from .mlp import MLPCache, init_mlp, mlp_backward, mlp_forward
from .ssa import SSACache, init_ssa, ssa_backward, ssa_forward


class EncoderBlockCache(NamedTuple):
    ssa: SSACache | None  # None where the block has no attention
    mlp: MLPCache


def init_encoder_block(rng, width, mlp_width, *, attention=True, norm="layer"):
    """The parameters of `ssa` and `mlp`."""
    ssa = with_prefix(init_ssa(rng, width, norm=norm), "ssa.") if attention else {}
    return {**ssa, **with_prefix(init_mlp(rng, width, mlp_width, norm=norm), "mlp.")}


def encoder_block_forward(
    x,
    params,
    offsets,
    *,
    heads,
    scale,
    neuron,
    attention=True,
    norm="layer",
    backend="numpy",
    frozen=None,
):
    """x: (T, N, D) -> (T, N, D), and the cache.

    attention=False leaves x = x + mlp(x): words then do not meet in a block.
    norm: see `spiking_linear_forward`.
    """
    settings = {"neuron": neuron, "norm": norm, "backend": backend}
    ssa_cache = None
    # 1. Words look at each other.
    if attention:
        attended, ssa_cache = ssa_forward(
            x,
            select(params, "ssa."),
            offsets,
            heads=heads,
            scale=scale,
            frozen=frozen and frozen.ssa,
            **settings,
        )  # (T, N, D)
        x = x + attended
    # 2. Each word by itself.
    thought, mlp_cache = mlp_forward(
        x, select(params, "mlp."), frozen=frozen and frozen.mlp, **settings
    )  # (T, N, D)
    return x + thought, EncoderBlockCache(ssa_cache, mlp_cache)


def encoder_block_backward(dy, cache, *, dspike=0.0):
    """dx (T, N, D) and the dict of parameter gradients, from dy (T, N, D).

    dspike: see `spiking_linear_backward`. The sums x are not penalised, the spikes in them are: so
    dspike goes into `ssa` and `mlp`, and not down the straight path.
    """
    # y = x + mlp(x): the straight path and the path through the MLP.
    dx_mlp, dmlp = mlp_backward(dy, cache.mlp, dspike=dspike)  # (T, N, D)
    dx = dy + dx_mlp
    dparams = with_prefix(dmlp, "mlp.")
    if cache.ssa is not None:
        # x = x + ssa(x)
        dx_ssa, dssa = ssa_backward(dx, cache.ssa, dspike=dspike)  # (T, N, D)
        dx = dx + dx_ssa
        dparams |= with_prefix(dssa, "ssa.")
    return dx, dparams
