"""SpikeBERT, the student (Lv et al. 2023, arXiv 2308.15122): a spiking transformer for text.

    ids (N,) -> embedding -> convolution -> layer norm -> + positions -> spikes x (T, N, D)
    blocks:  x = x + ssa(x);  x = x + mlp(x)
    head:    layer norm -> mean over the sentence -> linear -> mean over T -> logits (B, C)
    taps:    after each block, mean over T -> linear -> layer norm -> (N, D_teacher)

Longer than other files: one path through the network, and the dataclass of all its settings.

Letters: T spike steps, N packed tokens, B sentences, D width, H heads, F MLP width, V vocabulary,
C classes.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..blocks.classifier_head import (
    ClassifierHeadCache,
    classifier_head_backward,
    classifier_head_forward,
)
from ..blocks.distillation_tap import (
    TAPS,
    DistillationTapCache,
    distillation_tap_backward,
    distillation_tap_forward,
    init_distillation_tap,
)
from ..blocks.encoder_block import (
    EncoderBlockCache,
    encoder_block_backward,
    encoder_block_forward,
    init_encoder_block,
)
from ..blocks.spike_encoding import ENCODERS
from ..blocks.spike_input import SpikeInputCache, spike_input_backward, spike_input_forward
from ..layers.batchnorm import BatchNormCache
from ..layers.initializers import init_embedding, init_layernorm, init_linear
from ..layers.lif import LIFNeuron
from ..layers.parameters import select, with_prefix

_COUNTS = (
    "vocab_size", "width", "heads", "blocks", "mlp_width", "steps", "classes", "embedding_width",
    "max_tokens", "kernel_width",
)  # fmt: skip


@dataclass(frozen=True)
class SpikeBertConfig:
    """The shape and the constants of a student.

    teacher_width: width of the distillation taps; 0 for a student without taps.
    tap: what stands between a block's mean over time and the teacher's features: "linear_norm" (a
    linear layer and layer norm), "linear" (the first alone) or "none", which needs width =
    teacher_width.
    norm: of each spiking unit: "layer", or "batch" (batch norm over all steps and tokens; in
    evaluation by the statistics that training kept; an ablation).
    projection: convolution D_emb -> D and layer norm after the embedding.
    kernel_width: the words that this convolution reads at once, as Spikformer's patches are made by
    convolutions (arXiv 2209.15425); 1 makes it a linear layer on each word by itself. Attention
    without softmax is slow to learn which words stand side by side ("not good").
    position_std: the positions' spread at the start, beside a current of spread 1: the larger, the
    sooner order is learnt, and the more noise the places that are rare in training bring.
    encoder: "lif" or "heaviside" (see `blocks/spike_encoding.py`).
    attention: False drops every block's attention (an ablation).
    dropout: rate on the encoder's current and on the pooled sentence, in training only.

    Raises ValueError where a number is out of range, or the numbers do not fit each other.
    """

    vocab_size: int
    width: int = 256
    heads: int = 8
    blocks: int = 2
    mlp_width: int = 0  # 0: 4 * width
    steps: int = 4
    classes: int = 2
    embedding_width: int = 384
    teacher_width: int = 0
    max_tokens: int = 128
    encoder: str = "lif"
    projection: bool = True
    kernel_width: int = 3
    positions: bool = True
    position_std: float = 0.1
    attention: bool = True
    norm: str = "layer"
    tap: str = "linear_norm"
    scale: float = 0.125
    dropout: float = 0.1
    neuron: LIFNeuron = field(default_factory=LIFNeuron)

    def __post_init__(self):
        if self.mlp_width == 0:
            object.__setattr__(self, "mlp_width", 4 * self.width)
        for name in _COUNTS:
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} = {value}: it must be at least 1")
        if self.teacher_width < 0:
            raise ValueError(f"teacher_width = {self.teacher_width}: it must be 0 or more")
        if not 0 <= self.position_std < math.inf:
            raise ValueError(f"position_std = {self.position_std}: it must be finite, 0 or more")
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale = {self.scale}: it must be finite and above 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout}: it must be from 0 to below 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not self.projection and self.embedding_width != self.width:
            raise ValueError("without a projection, embedding_width must equal width")
        if self.encoder not in ENCODERS:
            raise ValueError(f'encoder = "{self.encoder}": choose from {", ".join(ENCODERS)}')
        if self.norm not in ("layer", "batch"):
            raise ValueError(f'norm = "{self.norm}": it must be "layer" or "batch"')
        if self.tap not in TAPS:
            raise ValueError(f'tap = "{self.tap}": choose from {", ".join(TAPS)}')
        if self.tap == "none" and self.teacher_width not in (0, self.width):
            raise ValueError(
                f'tap = "none" compares the blocks with the teacher as they are: width = '
                f"{self.width} must be the teacher's, {self.teacher_width}"
            )

    @classmethod
    def original(cls, *, width, **settings):
        """The published model: the embedding's sign is the spikes, and there are no positions."""
        return cls(
            width=width,
            embedding_width=width,
            encoder="heaviside",
            projection=False,
            positions=False,
            **{"dropout": 0.0, **settings},
        )


def init_spikebert(config, rng):
    """Float32 starting parameters of a student, as a flat dict."""
    width = config.width
    embedding = init_embedding(rng, config.vocab_size, config.embedding_width)
    params = {"embedding.weight": embedding}
    if config.projection:
        projection = init_linear(rng, config.kernel_width * config.embedding_width, width)
        params |= with_prefix(projection, "embedding.projection.")
        params |= with_prefix(init_layernorm(width), "embedding.norm.")
    if config.positions:
        positions = init_embedding(rng, config.max_tokens, width)
        params["embedding.positions"] = positions * np.float32(config.position_std)
    for i in range(config.blocks):
        block = init_encoder_block(
            rng, width, config.mlp_width, attention=config.attention, norm=config.norm
        )
        params |= with_prefix(block, f"blocks.{i}.")
        if config.teacher_width:
            tap = init_distillation_tap(rng, width, config.teacher_width, tap=config.tap)
            params |= with_prefix(tap, f"taps.{i}.")
    params |= with_prefix(init_layernorm(width), "head.norm.")
    params |= with_prefix(init_linear(rng, width, config.classes), "head.")
    return params


def parameter_shapes(config):
    """The (key, shape) of each parameter of `init_spikebert`, one by one; nothing is drawn."""
    width, teacher_width = config.width, config.teacher_width

    def linear(prefix, width_in, width_out):
        yield f"{prefix}weight", (width_in, width_out)
        yield f"{prefix}bias", (width_out,)

    def layernorm(prefix, width):
        yield f"{prefix}norm.gain", (width,)
        yield f"{prefix}norm.bias", (width,)

    def unit(prefix, width_in, width_out):
        yield from linear(prefix, width_in, width_out)
        yield from layernorm(prefix, width_out)
        for statistic in ("mean", "variance") if config.norm == "batch" else ():
            yield f"{prefix}norm.{statistic}", (width_out,)

    yield "embedding.weight", (config.vocab_size, config.embedding_width)
    if config.projection:
        width_in = config.kernel_width * config.embedding_width
        yield from linear("embedding.projection.", width_in, width)
        yield from layernorm("embedding.", width)
    if config.positions:
        yield "embedding.positions", (config.max_tokens, width)
    for i in range(config.blocks):
        for name in ("q", "k", "v", "out") if config.attention else ():
            yield from unit(f"blocks.{i}.ssa.{name}.", width, width)
        yield from unit(f"blocks.{i}.mlp.up.", width, config.mlp_width)
        yield from unit(f"blocks.{i}.mlp.down.", config.mlp_width, width)
        if teacher_width and config.tap != "none":
            yield from linear(f"taps.{i}.", width, teacher_width)
        if teacher_width and config.tap == "linear_norm":
            yield from layernorm(f"taps.{i}.", teacher_width)
    yield from layernorm("head.", width)
    yield from linear("head.", width, config.classes)


class SpikeBertOutput(NamedTuple):
    logits: np.ndarray  # (B, C)
    taps: list  # one (N, D_teacher) a block; empty without taps


class SpikeBertCache(NamedTuple):
    input: SpikeInputCache
    blocks: tuple[EncoderBlockCache, ...]
    taps: tuple[DistillationTapCache, ...]
    head: ClassifierHeadCache


def spikebert_forward(
    ids, offsets, params, config, *, backend="numba", rng=None, taps=True, frozen=None
):
    """Logits and taps of a packed batch.

    ids: (N,) integers, offsets: (B + 1,), params: the dict of `init_spikebert`. rng: a numpy
    Generator in training, for dropout, and where batch norm goes by the batch; None evaluates.
    taps=False leaves the taps out where nothing reads them.
    frozen: the cache of another pass, whose spikes drive every reset (see `lif_forward`).
    Returns a SpikeBertOutput and the cache. Raises ValueError for a sentence over max_tokens.
    """
    # 1. Spikes.
    x, input_cache = spike_input_forward(
        ids,
        offsets,
        select(params, "embedding."),
        steps=config.steps,
        encoder=config.encoder,
        neuron=config.neuron,
        dropout=config.dropout,
        rng=rng,
        backend=backend,
        frozen=frozen and frozen.input,
    )  # (T, N, D)
    # 2. Blocks, tapped after each.
    norm = "running" if config.norm == "batch" and rng is None else config.norm
    tap_outputs, block_caches, tap_caches = [], [], []
    for i in range(config.blocks):
        x, block_cache = encoder_block_forward(
            x,
            select(params, f"blocks.{i}."),
            offsets,
            heads=config.heads,
            scale=config.scale,
            neuron=config.neuron,
            attention=config.attention,
            norm=norm,
            backend=backend,
            frozen=frozen and frozen.blocks[i],
        )  # (T, N, D)
        block_caches.append(block_cache)
        if taps and config.teacher_width:
            tap, tap_cache = distillation_tap_forward(
                x, select(params, f"taps.{i}.")
            )  # (N, D_teacher)
            tap_outputs.append(tap)
            tap_caches.append(tap_cache)
    # 3. Head.
    logits, head_cache = classifier_head_forward(
        x, offsets, select(params, "head."), dropout=config.dropout, rng=rng
    )  # (B, C)
    cache = SpikeBertCache(input_cache, tuple(block_caches), tuple(tap_caches), head_cache)
    return SpikeBertOutput(logits, tap_outputs), cache


def spikebert_backward(dlogits, dtaps, cache, *, dspike=0.0, watch=None):
    """The dict of all parameter gradients; `embedding.weight`'s is a RowGradient.

    dlogits: (B, C), or None. dtaps: one (N, D_teacher), or None, for each tap of the forward pass.
    dspike: the loss's own gradient to each spike of each layer, one number for all: w_rate / (the
    number of neurons, times T N) where the loss holds w_rate r, r the share of them that fire.
    watch: called on the way with the names `blocks.i`, the last first, and `encoder`, and the
    gradient of what each puts out, (T, N, D).
    A parameter that only feeds outputs of gradient None, and no spike that counts, gets no entry.
    """
    dx, dparams = None, {}
    if dlogits is not None:
        dx, dhead = classifier_head_backward(dlogits, cache.head)  # (T, N, D)
        dparams |= with_prefix(dhead, "head.")
    elif dspike:
        # Nothing reads the last block's output, but its spikes count.
        dx = np.zeros_like(cache.blocks[-1].mlp.down.lif.s)  # (T, N, D)
    for i in reversed(range(len(cache.blocks))):
        if cache.taps and dtaps[i] is not None:
            # x was read by the tap and by all that follows it.
            dx_tap, dtap_params = distillation_tap_backward(dtaps[i], cache.taps[i])  # (T, N, D)
            dx = dx_tap if dx is None else dx + dx_tap
            dparams |= with_prefix(dtap_params, f"taps.{i}.")
        if dx is None:
            continue
        if watch:
            watch(f"blocks.{i}", dx)
        dx, dblock = encoder_block_backward(dx, cache.blocks[i], dspike=dspike)  # (T, N, D)
        dparams |= with_prefix(dblock, f"blocks.{i}.")
    if watch:
        watch("encoder", dx)
    dparams |= with_prefix(spike_input_backward(dx, cache.input, dspike=dspike), "embedding.")
    return dparams


def batch_statistics(cache):
    """{key: (D,)} of what a training pass with batch norm saw: under the keys of the parameters
    `norm.mean` and `norm.variance` that are to follow it. {} of any other pass."""
    statistics = {}
    for i, (ssa, mlp) in enumerate(cache.blocks):
        units = {f"mlp.{name}": getattr(mlp, name) for name in ("up", "down")}
        if ssa is not None:
            units |= {f"ssa.{name}": getattr(ssa, name) for name in ("q", "k", "v", "out")}
        for name, unit in units.items():
            if isinstance(unit.norm, BatchNormCache) and not unit.norm.running:
                statistics[f"blocks.{i}.{name}.norm.mean"] = unit.norm.mean
                statistics[f"blocks.{i}.{name}.norm.variance"] = unit.norm.variance
    return statistics
