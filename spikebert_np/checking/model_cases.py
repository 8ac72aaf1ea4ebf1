"""A case for each whole model that can be trained, and for the loss of both stages of distillation.

Letters: T spike steps, N packed tokens, B sentences, D width, V vocabulary, C classes.
"""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np

from ..models.spikebert import (
    SpikeBertConfig,
    SpikeBertOutput,
    init_spikebert,
    spikebert_backward,
    spikebert_forward,
)
from ..models.spiking_textcnn import (
    SpikingTextCNNConfig,
    init_spiking_textcnn,
    spiking_textcnn_backward,
    spiking_textcnn_forward,
)
from ..models.textcnn import TextCNNConfig, init_textcnn, textcnn_backward, textcnn_forward
from ..training.distill import (
    FEATURE_LOSSES,
    LossWeights,
    Targets,
    distillation_backward,
    distillation_forward,
)
from .block_cases import RESETS, adapt_rate, with_rate, zero_biases
from .case import Problem, case


def adapt_model(forward, backward):
    """Logits and taps, where there are any, laid end to end, so that there is one output."""

    def model_forward(params, *, config, backend, neuron=None, frozen=None, **settings):
        if neuron is not None:
            config = replace(config, neuron=neuron)
            settings["frozen"] = frozen and frozen[1]
        output, cache = forward(params=params, config=config, backend=backend, **settings)
        parts = [output.logits, *output.taps]
        return np.concatenate([part.ravel() for part in parts]), ([p.shape for p in parts], cache)

    def model_backward(dy, cache, **penalty):
        shapes, cache = cache
        cuts = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
        parts = [
            part.reshape(shape) for part, shape in zip(np.split(dy, cuts), shapes, strict=True)
        ]
        return (backward(parts[0], parts[1:], cache, **penalty),)

    return model_forward, model_backward


STATISTICS = ("norm.mean", "norm.variance")


@case(
    spikebert_forward,
    spikebert_backward,
    floor="model",
    variants=[
        *({"original": original, **reset} for original, reset in product((False, True), RESETS)),
        {"original": False, "norm": "batch", "tap": "none", **RESETS[2]},
        {"original": False, "tap": "linear", **RESETS[0]},
    ],
    adapt=adapt_model,
    directional=True,
    events=True,
)
def spikebert(draw):
    V = 5  # fewer words than tokens: some stand twice
    shape = {
        "vocab_size": V,
        "width": 6,
        "heads": 2,
        "mlp_width": draw.size(7, 8),
        "steps": draw.T,
        "classes": 3,
        "teacher_width": 6 if draw.variant.get("tap") == "none" else 5,
        "scale": float(draw.rng.uniform(0.6, 0.9)),
        "dropout": 0.2,
    }
    if draw.variant["original"]:
        config = SpikeBertConfig.original(**shape)
    else:
        config = SpikeBertConfig(
            **shape,
            embedding_width=4,
            kernel_width=draw.size(1, 3),
            max_tokens=7,
            norm=draw.variant.get("norm", "layer"),
            tap=draw.variant.get("tap", "linear_norm"),
        )
    settings = {
        "ids": draw.ids(V),
        "offsets": draw.offsets,
        "config": config,
        "neuron": draw.neuron,
        "rng": draw.size(0, 10**6),
    }
    params = init_spikebert(config, draw.rng)
    # What batch norm evaluates by has no gradient, and training does not read it.
    params = {key: value for key, value in params.items() if not key.endswith(STATISTICS)}
    blocks = {key: value for key, value in params.items() if key.startswith("blocks.")}
    zero = zero_biases(blocks, config.norm)
    return Problem({}, settings, draw.params(params), zero=zero)


def adapt_model_rate(forward, backward):
    return adapt_rate(*adapt_model(forward, backward))


@case(
    spikebert_forward,
    spikebert_backward,
    floor="model",
    variants=spikebert.variants,
    adapt=adapt_model_rate,
    directional=True,
    events=True,
)
def spikebert_rate(draw):
    return with_rate(spikebert.draw(draw), draw)


CNN_SHAPE = {"vocab_size": 5, "classes": 3, "embedding_width": 4, "kernel_widths": (3, 2, 5)}


def no_corner_near(cache):
    """No ReLU and no two tokens' race for a maximum within reach of a difference."""
    _, cache = cache
    for kernel in cache.kernels:
        y = kernel.relu.y  # (N, F)
        if y[y > 0].min(initial=1) < 1e-3:
            return False
        for start, end in pairwise(kernel.pool.offsets):
            first, second = -np.sort(-np.pad(y[start:end], ((0, 1), (0, 0))), axis=0)[:2]
            if ((first - second < 1e-3) & (first > 0)).any():
                return False
    return True


@case(
    textcnn_forward,
    textcnn_backward,
    floor="model",
    variants=[{"dropout": 0.3}, {"dropout": 0.0}],
    adapt=adapt_model,
    directional=True,
)
def textcnn(draw):
    config = TextCNNConfig(**CNN_SHAPE, filters=draw.size(6, 7), **draw.variant)
    settings = {
        "ids": draw.ids(config.vocab_size),
        "offsets": draw.offsets,
        "config": config,
        "rng": draw.size(0, 10**6),
    }
    return Problem({}, settings, draw.params(init_textcnn(config, draw.rng)), no_corner_near)


@case(
    spiking_textcnn_forward,
    spiking_textcnn_backward,
    floor="model",
    variants=[
        {"dropout": dropout, **reset}
        for dropout, reset in zip(
            (0.3, 0.0, 0.3, 0.3, 0.3), [*RESETS, {"reset": "none"}], strict=True
        )
    ],
    adapt=adapt_model,
    directional=True,
)
def spiking_textcnn(draw):
    config = SpikingTextCNNConfig(
        **CNN_SHAPE, width=6, filters=draw.size(7, 8), steps=draw.T, dropout=draw.variant["dropout"]
    )
    settings = {
        "ids": draw.ids(config.vocab_size),
        "offsets": draw.offsets,
        "config": config,
        "neuron": draw.neuron,
        "rng": draw.size(0, 10**6),
    }
    return Problem({}, settings, draw.params(init_spiking_textcnn(config, draw.rng)))


@case(
    spiking_textcnn_forward,
    spiking_textcnn_backward,
    floor="model",
    variants=spiking_textcnn.variants,
    adapt=adapt_model_rate,
    directional=True,
)
def spiking_textcnn_rate(draw):
    return with_rate(spiking_textcnn.draw(draw), draw)


def adapt_distillation(forward, backward):
    """The loss of an output whose last block's tap is moved; its other tap meets no loss."""

    def loss_forward(logits, tap, embedding, ids, offsets, targets, weights):
        output = SpikeBertOutput(logits, [np.zeros_like(tap), tap])
        loss, _, cache = forward(output, ids, offsets, embedding, targets, weights)
        return loss, cache

    def loss_backward(dloss, cache):
        dlogits, dtaps, dembedding = backward(cache)
        return (
            dloss * dlogits,
            dloss * dtaps[1],
            dembedding._replace(rows=dloss * dembedding.rows),
        )

    return loss_forward, loss_backward


@case(
    distillation_forward,
    distillation_backward,
    variants=[{"feature_loss": name} for name in FEATURE_LOSSES],
    adapt=adapt_distillation,
)
def distillation(draw):
    B, C, V, D_emb = 3, 4, 5, 2
    tap = draw.normal(draw.offsets[-1], 5)
    embedding = draw.normal(V, D_emb)
    weights = draw.rng.uniform(0.2, 1.5, 4).tolist()
    settings = {
        "ids": draw.ids(V),
        "offsets": draw.offsets,
        "targets": Targets(
            labels=draw.rng.integers(0, C, B),
            logits=2 * draw.normal(B, C),
            hidden={1: draw.normal(*tap.shape)},
            word_rows=draw.normal(V, D_emb),
        ),
        "weights": LossWeights(
            *weights, temperature=float(draw.rng.uniform(1.5, 3.5)), **draw.variant
        ),
    }
    return Problem({"logits": draw.normal(B, C), "tap": tap, "embedding": embedding}, settings)
