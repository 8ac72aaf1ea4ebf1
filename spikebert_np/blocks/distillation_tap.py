"""What a block shows the teacher: mean over time, linear, layer norm, the last two at choice.

Letters: T spike steps, N packed tokens, D width, D_teacher the teacher's width.
"""

from typing import NamedTuple

from ..layers.initializers import init_layernorm, init_linear
from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.parameters import with_prefix
from ..layers.pooling import MeanOverTimeCache, mean_over_time_backward, mean_over_time_forward

TAPS = ("linear_norm", "linear", "none")


class DistillationTapCache(NamedTuple):
    time: MeanOverTimeCache
    linear: LinearCache | None
    norm: LayerNormCache | None


def init_distillation_tap(rng, width, teacher_width, *, tap="linear_norm"):
    """weight (D, D_teacher), bias, norm.gain and norm.bias (D_teacher,): those that `tap`, one of
    TAPS, names; none for "none"."""
    linear = {} if tap == "none" else init_linear(rng, width, teacher_width)
    norm = with_prefix(init_layernorm(teacher_width), "norm.") if tap == "linear_norm" else {}
    return linear | norm


def distillation_tap_forward(x, params):
    """x (T, N, D) -> (N, D_teacher), to be compared with the teacher's features; and the cache.

    params: those of `init_distillation_tap`; a layer whose parameters are absent is left out.
    """
    linear_cache = norm_cache = None
    tap, time_cache = mean_over_time_forward(x)  # (N, D)
    if "weight" in params:
        tap, linear_cache = linear_forward(tap, params["weight"], params["bias"])  # (N, D_teacher)
    if "norm.gain" in params:
        tap, norm_cache = layernorm_forward(tap, params["norm.gain"], params["norm.bias"])
    return tap, DistillationTapCache(time_cache, linear_cache, norm_cache)


def distillation_tap_backward(dtap, cache):
    """dx (T, N, D) and the dict of parameter gradients, from dtap (N, D_teacher)."""
    dparams = {}
    if cache.norm is not None:
        dtap, dparams["norm.gain"], dparams["norm.bias"] = layernorm_backward(dtap, cache.norm)
    if cache.linear is not None:
        dtap, dparams["weight"], dparams["bias"] = linear_backward(dtap, cache.linear)  # (N, D)
    return mean_over_time_backward(dtap, cache.time), dparams
