"""What a block shows the teacher: mean over time, linear, layer norm.

Letters: T spike steps, N packed tokens, D width, D_teacher the teacher's width.
"""

from typing import NamedTuple

from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.pooling import MeanOverTimeCache, mean_over_time_backward, mean_over_time_forward


class DistillationTapCache(NamedTuple):
    time: MeanOverTimeCache
    linear: LinearCache
    norm: LayerNormCache


def distillation_tap_forward(x, params):
    """x (T, N, D) -> (N, D_teacher), to be compared with the teacher's features; and the cache."""
    mean, time_cache = mean_over_time_forward(x)  # (N, D)
    z, linear_cache = linear_forward(mean, params["weight"], params["bias"])  # (N, D_teacher)
    tap, norm_cache = layernorm_forward(z, params["norm.gain"], params["norm.bias"])
    return tap, DistillationTapCache(time_cache, linear_cache, norm_cache)


def distillation_tap_backward(dtap, cache):
    """dx (T, N, D) and the dict of parameter gradients, from dtap (N, D_teacher)."""
    dparams = {}
    dz, dparams["norm.gain"], dparams["norm.bias"] = layernorm_backward(dtap, cache.norm)
    dmean, dparams["weight"], dparams["bias"] = linear_backward(dz, cache.linear)  # (N, D)
    return mean_over_time_backward(dmean, cache.time), dparams
