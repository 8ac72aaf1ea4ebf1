"""A case for each backward pass of `layers/`.

Letters: T spike steps, N packed tokens, B sentences, D width, V vocabulary, C classes.
"""

from itertools import product

import numpy as np

from ..layers import losses, pooling
from ..layers.activations import (
    gelu_backward,
    gelu_forward,
    relu_backward,
    relu_forward,
    tanh_backward,
    tanh_forward,
)
from ..layers.batchnorm import batchnorm_backward, batchnorm_forward
from ..layers.conv1d import conv1d_backward, conv1d_forward, windows_backward, windows_forward
from ..layers.dropout import dropout_backward, dropout_forward
from ..layers.embedding import (
    embedding_backward,
    embedding_forward,
    positions_backward,
    positions_forward,
)
from ..layers.layernorm import layernorm_backward, layernorm_forward
from ..layers.lif import (
    LIFCache,
    firing_floor,
    lif_backward,
    lif_forward,
    lif_step_backward,
    lif_step_forward,
)
from ..layers.linear import linear_backward, linear_forward
from ..layers.softmax import softmax_backward, softmax_forward
from ..layers.surrogate import SURROGATES
from .case import Problem, case


@case(linear_forward, linear_backward, variants=[{"x": "dense"}, {"x": "sparse"}], events=True)
def linear(draw):
    N, D_in, D_out = draw.size(6, 8), draw.size(3, 4), draw.size(5, 6)
    x, weight = draw.normal(draw.T, N, D_in), draw.normal(D_in, D_out)
    if draw.variant["x"] == "sparse":
        x[draw.rng.random(x.shape) < 0.85] = 0  # the compiled twin then goes by events
    return Problem({"x": x, "weight": weight, "bias": draw.normal(D_out)})


@case(layernorm_forward, layernorm_backward, variants=[{"eps": 1e-5}, {"eps": 0.3}])
def layernorm(draw):
    D = draw.size(6, 8)
    gain, bias = draw.normal(D, mean=0.5), draw.normal(D)
    return Problem({"x": draw.normal(draw.T, 5, D), "gain": gain, "bias": bias}, draw.variant)


@case(
    batchnorm_forward,
    batchnorm_backward,
    variants=[{"running": False}, {"running": True}, {"running": False, "eps": 0.3}],
)
def batchnorm(draw):
    D = draw.size(4, 5)
    gain, bias = draw.normal(D, mean=0.5), draw.normal(D)
    settings = {"eps": draw.variant.get("eps", 1e-5)}
    if draw.variant["running"]:
        settings["running"] = draw.normal(D), draw.rng.uniform(0.5, 2, D)
    return Problem({"x": draw.normal(draw.T, 6, D), "gain": gain, "bias": bias}, settings)


RESETS = [
    {"reset": reset, "detach_reset": detach, "decay_input": decay}
    for reset, detach, decay in product(("hard", "soft", "none"), (True, False), (True, False))
]


def kinks(neuron):
    """Where σ or its slope has a corner, as values of u."""
    width = 1 / neuron.alpha
    return {
        "triangle": (-width, 0, width),
        "rectangle": (-width / 2, width / 2),
        "fast_sigmoid": (0,),
    }.get(neuron.surrogate, ())


def hits_the_bump(cache):
    """A surrogate of compact support must be hit, or every gradient is zero; no H on a kink."""
    u, neuron = cache.h - cache.neuron.v_th, cache.neuron
    slopes = SURROGATES[neuron.surrogate].derivative(u, neuron.alpha)
    clear = all(np.abs(u - kink).min() > 1e-3 for kink in kinks(neuron))
    return clear and (slopes > 0).mean() > 0.2


def resets_count(cache):
    """A neuron must fire and later still have a slope, or the reset's gradient meets only zeros."""
    if len(cache.s) == 1:
        return True
    slopes = SURROGATES[cache.neuron.surrogate].derivative(
        cache.h - cache.neuron.v_th, cache.neuron.alpha
    )
    later = np.flip(np.maximum.accumulate(np.flip(slopes, axis=0), axis=0), axis=0)
    return (cache.s[:-1] * later[1:]).max() > 1e-2


@case(
    lif_forward,
    lif_backward,
    variants=[
        {"surrogate": surrogate, **reset} for surrogate, reset in product(SURROGATES, RESETS)
    ],
)
def lif(draw):
    N, D = draw.size(2, 3), 2
    drive = firing_floor(draw.neuron, draw.T)
    x = drive * draw.rng.normal(0.8, 0.6, (draw.T, N, D))

    def usable(cache):
        return hits_the_bump(cache) and resets_count(cache)

    return Problem({"x": x}, {"neuron": draw.neuron}, usable=usable)


def adapt_lif_step(forward, backward):
    """One step gives S and V: stacked, so that there is one output."""

    def step_forward(x, v, neuron, frozen=None):
        s, h, v = forward(x, v, neuron, None if frozen is None else frozen.s)
        return np.stack([s, v]), LIFCache(h, s, neuron, "numpy")

    def step_backward(dy, cache):
        return backward(*dy, cache.h, cache.s, cache.neuron)

    return step_forward, step_backward


@case(lif_step_forward, lif_step_backward, variants=RESETS, adapt=adapt_lif_step)
def lif_step(draw):
    shape = draw.size(4, 6), 3
    drive = firing_floor(draw.neuron, 1)
    x, v = drive * draw.rng.normal(0.8, 0.6, shape), draw.rng.uniform(-0.2, 0.3, shape)
    return Problem({"x": x, "v": v}, {"neuron": draw.neuron}, usable=hits_the_bump)


@case(embedding_forward, embedding_backward)
def embedding(draw):
    V, D = 5, draw.size(3, 4)  # fewer words than tokens: some stand twice
    return Problem({"weight": draw.normal(V, D)}, {"ids": draw.ids(V)})


@case(positions_forward, positions_backward)
def positions(draw):
    D, L = draw.size(3, 4), 6
    x, rows = draw.normal(draw.offsets[-1], D), draw.normal(L, D)
    return Problem({"x": x, "positions": rows}, {"offsets": draw.offsets})


@case(dropout_forward, dropout_backward)
def dropout(draw):
    settings = {"rate": float(draw.rng.uniform(0.3, 0.6)), "rng": draw.size(0, 10**6)}
    return Problem({"x": draw.normal(draw.T, 4, 5)}, settings)


@case(relu_forward, relu_backward)
def relu(draw):
    return Problem({"x": draw.normal(draw.size(3, 5), 7)})


@case(gelu_forward, gelu_backward)
def gelu(draw):
    return Problem({"x": draw.normal(draw.size(3, 5), 7)})


@case(tanh_forward, tanh_backward)
def tanh(draw):
    return Problem({"x": draw.normal(draw.size(3, 5), 7)})


@case(softmax_forward, softmax_backward)
def softmax(draw):
    return Problem({"x": 2 * draw.normal(2, draw.size(3, 4), draw.size(5, 6))})


@case(windows_forward, windows_backward, variants=[{"width": K} for K in (3, 4, 5, 1)])
def windows(draw):
    x = draw.normal(draw.T, draw.offsets[-1], draw.size(3, 4))
    return Problem({"x": x}, {"offsets": draw.offsets, **draw.variant})


@case(
    conv1d_forward,
    conv1d_backward,
    variants=[
        {"width": width, "steps": steps} for width, steps in product((3, 4, 5), (True, False))
    ],
)
def conv1d(draw):
    D_in, D_out = draw.size(2, 3), draw.size(4, 5)
    leading = [draw.T] if draw.variant["steps"] else []  # (T, N, D_in), or (N, D_in)
    x = draw.normal(*leading, draw.offsets[-1], D_in)
    weight, bias = draw.normal(draw.variant["width"] * D_in, D_out), draw.normal(D_out)
    return Problem({"x": x, "weight": weight, "bias": bias}, {"offsets": draw.offsets})


@case(
    pooling.max_pool_forward,
    pooling.max_pool_backward,
    variants=[{"steps": True}, {"steps": False}],
)
def max_pool(draw):
    leading = [draw.T] if draw.variant["steps"] else []
    x = draw.normal(*leading, draw.offsets[-1], draw.size(3, 4))
    return Problem({"x": x}, {"offsets": draw.offsets})


@case(pooling.mean_pool_forward, pooling.mean_pool_backward)
def mean_pool(draw):
    x = draw.normal(draw.T, draw.offsets[-1], draw.size(3, 4))
    return Problem({"x": x}, {"offsets": draw.offsets})


@case(pooling.mean_over_time_forward, pooling.mean_over_time_backward)
def mean_over_time(draw):
    return Problem({"x": draw.normal(draw.T, draw.size(6, 7), 4)})


@case(losses.cross_entropy_forward, losses.cross_entropy_backward)
def cross_entropy(draw):
    B, C = draw.size(4, 6), 3
    labels = draw.rng.integers(0, C, B)
    labels[draw.rng.integers(B)] = -1  # has none
    return Problem({"logits": draw.normal(B, C)}, {"labels": labels})


@case(losses.kl_divergence_forward, losses.kl_divergence_backward)
def kl_divergence(draw):
    shape = draw.size(4, 6), 3
    settings = {
        "teacher_logits": 2 * draw.normal(*shape),
        "temperature": float(draw.rng.uniform(1.5, 3.5)),
    }
    return Problem({"logits": draw.normal(*shape)}, settings)


@case(losses.mse_forward, losses.mse_backward)
def mse(draw):
    shape = draw.size(4, 6), 3
    return Problem({"features": draw.normal(*shape)}, {"target": draw.normal(*shape)})


@case(losses.sentence_mse_forward, losses.sentence_mse_backward)
def sentence_mse(draw):
    shape = draw.offsets[-1], 3
    settings = {"target": draw.normal(*shape), "offsets": draw.offsets}
    return Problem({"features": draw.normal(*shape)}, settings)


@case(losses.cosine_forward, losses.cosine_backward, variants=[{"eps": 1e-6}, {"eps": 0.5}])
def cosine(draw):
    shape = draw.size(4, 6), 3
    settings = {"target": draw.normal(*shape), **draw.variant}
    return Problem({"features": draw.normal(*shape)}, settings)
