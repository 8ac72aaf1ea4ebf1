"""A case for each backward pass of `blocks/`.

Letters: T spike steps, N packed tokens, D width, H heads, E = D // H, F MLP width, V vocabulary.

A long file, because it is a list: each case is read by itself.
"""

from itertools import product

import numpy as np

from ..blocks import classifier_head as head_block
from ..blocks import distillation_tap as tap_block
from ..blocks import encoder_block as block
from ..blocks import feed_forward as feed_forward_block
from ..blocks import mlp as mlp_block
from ..blocks import self_attention as bert_attention
from ..blocks import spike_encoding as encoding
from ..blocks import spike_input as input_block
from ..blocks import spiking_conv1d as conv_block
from ..blocks import spiking_linear as unit
from ..blocks import ssa as attention_block
from ..layers.initializers import init_layernorm, init_linear
from ..layers.lif import LIFCache
from ..layers.parameters import with_prefix
from .case import Problem, case
from .passes import nodes

# What a block adds to its layers does not depend on the surrogate: it draws a smooth one.
RESETS = [
    {"reset": "hard", "detach_reset": True},
    {"reset": "hard", "detach_reset": False},
    {"reset": "soft", "detach_reset": True},
    {"reset": "soft", "detach_reset": False},
]
UNIT_RESETS = [
    {**reset, "surrogate": surrogate}
    for reset, surrogate in product(
        [*RESETS, {"reset": "none"}], ("atan", "sigmoid", "fast_sigmoid", "triangle")
    )
]


def sizes(draw):
    """D, H and F: E = 3, so no axis has the size of another but T and E (of two words, n and H)."""
    return 6, 2, draw.size(7, 8)


def hits_every_bump(cache):
    """No unit's parameters without a gradient: enough membranes near the threshold."""
    return (np.abs(cache.lif.h - cache.lif.neuron.v_th) * cache.lif.neuron.alpha < 1).mean() > 0.2


def zero_biases(params, norm):
    """The biases of spiking units whose batch norm subtracts them again, with the batch's mean."""
    if norm != "batch":
        return ()
    return tuple(key for key in params if key.endswith("bias") and f"{key[:-4]}norm.bias" in params)


def adapt_statistics(forward, backward):
    """What batch norm evaluates by lies among the parameters, but has no gradient."""

    def unit_forward(x, params, *, backend, statistics=None, **settings):
        return forward(x, params | (statistics or {}), backend=backend, **settings)

    return unit_forward, backward


@case(
    unit.spiking_linear_forward,
    unit.spiking_linear_backward,
    floor="block",
    variants=[
        *({"norm": "layer", **reset} for reset in UNIT_RESETS),
        *({"norm": "batch", **reset} for reset in UNIT_RESETS[::5]),
        *({"norm": "running", **reset} for reset in UNIT_RESETS[::5]),
    ],
    adapt=adapt_statistics,
    events=True,
)
def spiking_linear(draw):
    D_in, D_out = 4, draw.size(5, 6)
    params = draw.params(unit.init_spiking_linear(draw.rng, D_in, D_out))
    x = draw.spike_counts(draw.T, 4, D_in)
    settings = {"neuron": draw.neuron, "norm": draw.variant["norm"]}
    if settings["norm"] == "running":
        statistics = draw.normal(D_out), draw.rng.uniform(0.5, 2, D_out)
        settings["statistics"] = dict(zip(("norm.mean", "norm.variance"), statistics, strict=True))
    zero = zero_biases(params, draw.variant["norm"])
    return Problem({"x": x}, settings, params, hits_every_bump, zero)


@case(
    conv_block.spiking_conv1d_forward,
    conv_block.spiking_conv1d_backward,
    floor="block",
    variants=[
        {**reset, "width": width}
        for reset, width in zip([*RESETS, {"reset": "none"}], (3, 4, 5, 2, 3), strict=True)
    ],
)
def spiking_conv1d(draw):
    D_in, D_out, K = 3, draw.size(5, 6), draw.variant["width"]
    params = draw.params(unit.init_spiking_linear(draw.rng, K * D_in, D_out))
    x = draw.spike_counts(draw.T, draw.offsets[-1], D_in)
    settings = {"offsets": draw.offsets, "width": K, "neuron": draw.neuron}
    return Problem({"x": x}, settings, params)


def adapt_sentence(forward, backward):
    """The attention of one sentence keeps no cache: its arguments are one."""

    def sentence_forward(q, k, v, **settings):
        return forward(q, k, v, **settings), (q, k, v, settings)

    def sentence_backward(dy, cache):
        q, k, v, settings = cache
        return backward(dy, q, k, v, **settings)

    return sentence_forward, sentence_backward


@case(
    attention_block.by_words_forward,
    attention_block.by_words_backward,
    floor="block",
    adapt=adapt_sentence,
)
def by_words(draw):
    D, H, _ = sizes(draw)
    q, k, v = draw.normal(3, draw.T, H, draw.size(4, 5), D // H)
    return Problem({"q": q, "k": k, "v": v})


@case(
    attention_block.by_channels_forward,
    attention_block.by_channels_backward,
    floor="block",
    adapt=adapt_sentence,
)
def by_channels(draw):
    return by_words.draw(draw)


@case(
    attention_block.ssa_sentence_forward,
    attention_block.ssa_sentence_backward,
    floor="block",
    adapt=adapt_sentence,
    variants=[{"tokens": 2}, {"tokens": 5}],  # of either side of E: by words, by channels
)
def ssa_sentence(draw):
    D, H, _ = sizes(draw)
    q, k, v = draw.normal(3, draw.T, draw.variant["tokens"], D)
    settings = {"heads": H, "scale": float(draw.rng.uniform(0.2, 0.7))}
    return Problem({"q": q, "k": k, "v": v}, settings)


@case(attention_block.attention_forward, attention_block.attention_backward, floor="block")
def attention(draw):
    D, H, _ = sizes(draw)
    q, k, v = draw.normal(3, draw.T, draw.offsets[-1], D)
    settings = {"offsets": draw.offsets, "heads": H, "scale": float(draw.rng.uniform(0.2, 0.7))}
    return Problem({"q": q, "k": k, "v": v}, settings)


@case(attention_block.ssa_forward, attention_block.ssa_backward, floor="block", variants=RESETS)
def ssa(draw):
    D, H, _ = sizes(draw)
    params = draw.params(attention_block.init_ssa(draw.rng, D))
    x = draw.spike_counts(draw.T, draw.offsets[-1], D)
    settings = {"offsets": draw.offsets, "heads": H, "scale": float(draw.rng.uniform(0.6, 0.9))}
    return Problem({"x": x}, settings | {"neuron": draw.neuron}, params)


@case(mlp_block.mlp_forward, mlp_block.mlp_backward, floor="block", variants=RESETS)
def mlp(draw):
    D, _, F = sizes(draw)
    params = draw.params(mlp_block.init_mlp(draw.rng, D, F))
    return Problem({"x": draw.spike_counts(draw.T, 4, D)}, {"neuron": draw.neuron}, params)


@case(
    block.encoder_block_forward,
    block.encoder_block_backward,
    floor="block",
    variants=[{**reset, "attention": attended, "norm": norm} for reset, attended, norm in zip(
        [*RESETS, RESETS[0], RESETS[1]],
        (True, True, True, True, False, True),
        ("layer", "layer", "layer", "layer", "layer", "batch"),
        strict=True,
    )],
)  # fmt: skip
def encoder_block(draw):
    D, H, F = sizes(draw)
    attended = draw.variant["attention"]
    params = draw.params(block.init_encoder_block(draw.rng, D, F, attention=attended))
    x = draw.spike_counts(draw.T, draw.offsets[-1], D)
    zero = zero_biases(params, draw.variant["norm"])
    settings = {"heads": H, "scale": float(draw.rng.uniform(0.6, 0.9)), "attention": attended}
    settings |= {"offsets": draw.offsets, "neuron": draw.neuron, "norm": draw.variant["norm"]}
    return Problem({"x": x}, settings, params, zero=zero)


def all_spikes(cache):
    """The spikes (T, N, D) of each layer of a cache, each once, whoever reads them."""
    spikes = [lif.s for lif in nodes(cache, LIFCache)]
    for encoder in nodes(cache, encoding.SpikeEncodingCache):
        if encoder.lif is None:
            s, _ = encoding.spike_encoding_forward(
                encoder.current, steps=len(spikes[0]), encoder="heaviside", neuron=encoder.neuron
            )
            spikes.append(s)
    return spikes


def adapt_rate(forward, backward):
    """The output, and after it w_rate r, with r the share of all neurons that fire."""

    def rate_forward(*, w_rate, backend, frozen=None, **arguments):
        y, cache = forward(backend=backend, frozen=frozen and frozen[0], **arguments)
        spikes = all_spikes(cache)
        count = sum(s.size for s in spikes)
        r = sum(s.sum() for s in spikes) / count
        return np.append(y, y.dtype.type(w_rate * r)), (cache, y.shape, w_rate / count)

    def rate_backward(dy, cache):
        cache, shape, share = cache
        return backward(dy[:-1].reshape(shape), cache, dspike=float(dy[-1]) * share)

    return rate_forward, rate_backward


def with_rate(problem, draw):
    """The problem with the weight of the firing rate beside its outputs."""
    # So large that dspike is of the size of what else arrives at a spike.
    return problem._replace(
        settings=problem.settings | {"w_rate": float(draw.rng.uniform(300, 900))}
    )


@case(
    block.encoder_block_forward,
    block.encoder_block_backward,
    floor="block",
    variants=encoder_block.variants,
    adapt=adapt_rate,
)
def encoder_block_rate(draw):
    return with_rate(encoder_block.draw(draw), draw)


@case(
    encoding.spike_encoding_forward,
    encoding.spike_encoding_backward,
    floor="block",
    variants=[
        {"encoder": encoder, **reset} for encoder, reset in product(encoding.ENCODERS, RESETS)
    ],
)
def spike_encoding(draw):
    settings = {"steps": draw.T, "encoder": draw.variant["encoder"], "neuron": draw.neuron}
    return Problem({"current": draw.normal(5, 4, mean=0.3)}, settings)


def adapt_ids(forward, backward):
    """Ids have no gradient: the dict of parameter gradients comes alone."""
    return forward, lambda dy, cache: (backward(dy, cache),)


@case(
    input_block.spike_input_forward,
    input_block.spike_input_backward,
    floor="block",
    variants=[
        {"projection": projection, "positions": positions, "encoder": encoder, **RESETS[i % 4]}
        for i, (projection, positions, encoder) in enumerate(
            product((True, False), (True, False), encoding.ENCODERS)
        )
    ],
    adapt=adapt_ids,
)
def spike_input(draw):
    D, V = 6, 5  # fewer words than tokens: some stand twice
    D_emb = 4 if draw.variant["projection"] else D
    params = {"weight": draw.normal(V, D_emb)}
    if draw.variant["projection"]:
        params |= with_prefix(init_linear(draw.rng, draw.size(1, 3) * D_emb, D), "projection.")
        params |= with_prefix(init_layernorm(D), "norm.")
    if draw.variant["positions"]:
        params["positions"] = np.zeros((5, D))
    settings = {
        "ids": draw.ids(V),
        "offsets": draw.offsets,
        "steps": draw.T,
        "encoder": draw.variant["encoder"],
        "neuron": draw.neuron,
        "dropout": 0.3,
        "rng": draw.size(0, 10**6),
    }
    return Problem({}, settings, draw.params(params))


def no_row_is_constant(cache):
    """Near a variance of zero layer norm bends within √eps: no step is small against that."""
    return (cache.norm.inv_std < 10).all()


@case(
    head_block.classifier_head_forward,
    head_block.classifier_head_backward,
    floor="block",
    variants=[{"dropout": 0.3}, {"dropout": 0.0}],
)
def classifier_head(draw):
    D, C = 6, 4
    params = init_linear(draw.rng, D, C) | with_prefix(init_layernorm(D), "norm.")
    x = draw.spike_counts(draw.T, draw.offsets[-1], D)
    settings = {"offsets": draw.offsets, "rng": draw.size(0, 10**6), **draw.variant}
    return Problem({"x": x}, settings, draw.params(params), no_row_is_constant)


@case(
    tap_block.distillation_tap_forward,
    tap_block.distillation_tap_backward,
    floor="block",
    variants=[{"tap": tap} for tap in tap_block.TAPS],
)
def distillation_tap(draw):
    D, D_teacher = 6, draw.size(4, 5)
    params = tap_block.init_distillation_tap(draw.rng, D, D_teacher, **draw.variant)
    return Problem({"x": draw.spike_counts(draw.T, 7, D)}, {}, draw.params(params))


# --- BERT's blocks ------------------------------------------------------------------------------

EPS = 1e-3


@case(
    bert_attention.attention_sentence_forward,
    bert_attention.attention_sentence_backward,
    floor="block",
)
def attention_sentence(draw):
    q, k, v = draw.normal(3, 3, draw.size(4, 6), 5)  # (H, n, E)
    return Problem({"q": q, "k": k, "v": v})


@case(
    bert_attention.self_attention_forward,
    bert_attention.self_attention_backward,
    floor="block",
)
def self_attention(draw):
    D, H = 6, 3
    params = {}
    for name in ("q", "k", "v", "output"):
        params |= with_prefix(init_linear(draw.rng, D, D), f"{name}.")
    params = draw.params(params | with_prefix(init_layernorm(D), "norm."))
    settings = {"offsets": draw.offsets, "heads": H, "eps": EPS}
    # k.bias adds the same number to all scores of a row, which softmax does not see.
    zero = ("k.bias",)
    return Problem({"x": draw.normal(draw.offsets[-1], D)}, settings, params, zero=zero)


@case(
    feed_forward_block.feed_forward_forward,
    feed_forward_block.feed_forward_backward,
    floor="block",
)
def feed_forward(draw):
    D, F = 5, draw.size(7, 8)
    params = with_prefix(init_linear(draw.rng, D, F), "up.")
    params |= with_prefix(init_linear(draw.rng, F, D), "down.")
    params |= with_prefix(init_layernorm(D), "norm.")
    x = draw.normal(draw.size(6, 9), D)
    return Problem({"x": x}, {"eps": EPS}, draw.params(params))
