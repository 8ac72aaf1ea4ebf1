"""Spiking TextCNN, the baseline with spikes (Lv et al. 2023, "Spiking convolutional neural networks
for text classification", ICLR).

    ids (N,) -> embedding -> linear -> layer norm -> spikes x (T, N, D)
    for each kernel width K:  mean over the sentence of LIF(layer norm(conv1d(x))) -> (T, B, F)
    logits (B, C) = mean over T of linear(dropout(the firing rates of all kernels, end to end))

From the paper and its code: kernels of 3, 4 and 5 tokens, 100 filters each, spikes pooled by their
mean and not their maximum, a threshold of 1. What differs:

- Trained directly, with surrogate gradients. The paper trains a TextCNN first, copies its weights
  into the spiking one and fine-tunes that, over T = 50 steps of random spikes drawn from embeddings
  shifted into [0, 1]. Here the current flows into LIF neurons for T = 4, as in the student, whose
  linear layer and layer norm give it the threshold's size.
- Layer norm before the neurons, as in SpikeBERT; the paper has none.
- The firing rates go to the classifier as they are. The paper puts LIF neurons behind the mean and
  behind the classifier too, where at T = 4 each rate would be rounded to quarters.
- SpikeBERT's neuron (tau 2, ATan), where the paper's leaks nothing (beta 1, fast sigmoid), and
  TextCNN's dropout.

Letters: T spike steps, N packed tokens, B sentences, D_emb and D widths, K tokens of a window, F
filters of one kernel width, V vocabulary, C classes.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..blocks.spike_input import SpikeInputCache, spike_input_backward, spike_input_forward
from ..blocks.spiking_conv1d import (
    SpikingConv1dCache,
    spiking_conv1d_backward,
    spiking_conv1d_forward,
)
from ..blocks.spiking_linear import init_spiking_linear
from ..layers.dropout import DropoutCache, dropout_backward, dropout_forward
from ..layers.initializers import init_embedding, init_layernorm, init_linear
from ..layers.lif import LIFNeuron
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.parameters import select, with_prefix
from ..layers.pooling import (
    MeanOverTimeCache,
    MeanPoolCache,
    mean_over_time_backward,
    mean_over_time_forward,
    mean_pool_backward,
    mean_pool_forward,
)
from .textcnn import TextCNNConfig, TextCNNOutput


@dataclass(frozen=True)
class SpikingTextCNNConfig(TextCNNConfig):
    """The shape of a TextCNN, and the constants of its spikes.

    width: D, of the spikes that the convolutions read. steps: T.

    Raises ValueError where a number is out of range.
    """

    width: int = 256
    steps: int = 4
    neuron: LIFNeuron = field(default_factory=LIFNeuron)

    def __post_init__(self):
        super().__post_init__()
        for name in ("width", "steps"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} = {value}: it must be at least 1")


def init_spiking_textcnn(config, rng):
    """Float32 starting parameters of a spiking TextCNN, as a flat dict."""
    width, filters = config.width, config.filters
    embedding = init_embedding(rng, config.vocab_size, config.embedding_width)
    params = {"embedding.weight": embedding}
    projection = init_linear(rng, config.embedding_width, width)
    params |= with_prefix(projection, "embedding.projection.")
    params |= with_prefix(init_layernorm(width), "embedding.norm.")
    for K in config.kernel_widths:
        params |= with_prefix(init_spiking_linear(rng, K * width, filters), f"convs.{K}.")
    pooled_width = len(config.kernel_widths) * filters
    return params | with_prefix(init_linear(rng, pooled_width, config.classes), "head.")


def parameter_shapes(config):
    """The (key, shape) of each parameter of `init_spiking_textcnn`; nothing is drawn."""
    width, filters = config.width, config.filters

    yield "embedding.weight", (config.vocab_size, config.embedding_width)
    yield "embedding.projection.weight", (config.embedding_width, width)
    yield "embedding.projection.bias", (width,)
    yield "embedding.norm.gain", (width,)
    yield "embedding.norm.bias", (width,)
    for K in config.kernel_widths:
        yield f"convs.{K}.weight", (K * width, filters)
        for name in ("bias", "norm.gain", "norm.bias"):
            yield f"convs.{K}.{name}", (filters,)
    yield "head.weight", (len(config.kernel_widths) * filters, config.classes)
    yield "head.bias", (config.classes,)


class SpikingTextCNNCache(NamedTuple):
    input: SpikeInputCache
    convs: tuple[SpikingConv1dCache, ...]
    pools: tuple[MeanPoolCache, ...]
    dropout: DropoutCache
    head: LinearCache
    time: MeanOverTimeCache


def spiking_textcnn_forward(
    ids, offsets, params, config, *, backend="numba", rng=None, taps=True, frozen=None
):
    """Logits of a packed batch.

    ids: (N,) integers, offsets: (B + 1,), params: the dict of `init_spiking_textcnn`. rng: a numpy
    Generator in training, for dropout. taps: as every model takes it; this one has none.
    frozen: the cache of another pass, whose spikes drive every reset (see `lif_forward`).
    Returns a TextCNNOutput and the cache.
    """
    # 1. Spikes.
    x, input_cache = spike_input_forward(
        ids,
        offsets,
        select(params, "embedding."),
        steps=config.steps,
        encoder="lif",
        neuron=config.neuron,
        backend=backend,
        frozen=frozen and frozen.input,
    )  # (T, N, D)
    # 2. How often each filter fires in the sentence.
    rates, conv_caches, pool_caches = [], [], []
    for i, K in enumerate(config.kernel_widths):
        s, conv_cache = spiking_conv1d_forward(
            x,
            select(params, f"convs.{K}."),
            offsets,
            width=K,
            neuron=config.neuron,
            backend=backend,
            frozen=frozen and frozen.convs[i],
        )  # (T, N, F)
        rate, pool_cache = mean_pool_forward(s, offsets)  # (T, B, F)
        rates.append(rate)
        conv_caches.append(conv_cache)
        pool_caches.append(pool_cache)
    # 3. Classify.
    features = np.concatenate(rates, axis=-1)  # (T, B, len(kernel_widths) * F)
    features, dropout_cache = dropout_forward(features, rate=config.dropout, rng=rng)
    logits, head_cache = linear_forward(
        features, params["head.weight"], params["head.bias"]
    )  # (T, B, C)
    logits, time_cache = mean_over_time_forward(logits)  # (B, C)
    cache = SpikingTextCNNCache(
        input_cache, tuple(conv_caches), tuple(pool_caches), dropout_cache, head_cache, time_cache
    )
    return TextCNNOutput(logits), cache


def spiking_textcnn_backward(dlogits, dtaps, cache, *, dspike=0.0, watch=None):
    """The dict of all parameter gradients; `embedding.weight`'s is a RowGradient.

    dlogits: (B, C). dtaps: empty, as the taps are. dspike, watch: see `spikebert_backward`; here
    the names are `convs.K` and `encoder`.
    """
    dparams = {}
    # logits = mean over T of head(features)
    dlogits = mean_over_time_backward(dlogits, cache.time)  # (T, B, C)
    dfeatures, dparams["head.weight"], dparams["head.bias"] = linear_backward(dlogits, cache.head)
    dfeatures = dropout_backward(dfeatures, cache.dropout)
    # features = the kernels' rates, end to end
    drates = np.split(dfeatures, len(cache.convs), axis=-1)
    dx = 0
    for conv, pool, drate in zip(cache.convs, cache.pools, drates, strict=True):
        # rate = mean over tokens of s
        ds = mean_pool_backward(drate, pool)  # (T, N, F)
        if watch:
            watch(f"convs.{conv.windows.width}", ds)
        # s = spiking_conv1d(x)
        dx_kernel, dconv = spiking_conv1d_backward(ds, conv, dspike=dspike)  # (T, N, D)
        dparams |= with_prefix(dconv, f"convs.{conv.windows.width}.")
        # x was read by every kernel.
        dx = dx + dx_kernel
    if watch:
        watch("encoder", dx)
    # x = spikes of the ids
    dparams |= with_prefix(spike_input_backward(dx, cache.input, dspike=dspike), "embedding.")
    return dparams
