"""Who fires how often.

Letters: T spike steps, N packed tokens, D width of a layer (its neurons a token).
"""

import numpy as np

from ..blocks.spike_encoding import spike_encoding_forward
from ..models.spikebert import SpikeBertCache
from ..models.spiking_textcnn import SpikingTextCNNCache


def neuron_layers(cache):
    """{layer: LIFCache} of a model's cache, in the order of the network; {} without spikes.

    The names are those of the parameters that feed the neurons: `encoder` (where it is one of
    neurons), then for each block i `blocks.i.ssa.q`, `.k`, `.v`, `.attn`, `.out` (where it has
    attention), `blocks.i.mlp.up` and `.down`; in a spiking TextCNN `convs.K` for each kernel width.
    """
    if not isinstance(cache, SpikeBertCache | SpikingTextCNNCache):
        return {}
    encoder = cache.input.encoding.lif
    layers = {} if encoder is None else {"encoder": encoder}
    if isinstance(cache, SpikingTextCNNCache):
        return layers | {f"convs.{conv.windows.width}": conv.unit.lif for conv in cache.convs}
    for i, (ssa, mlp) in enumerate(cache.blocks):
        if ssa is not None:
            layers[f"blocks.{i}.ssa.q"] = ssa.q.lif
            layers[f"blocks.{i}.ssa.k"] = ssa.k.lif
            layers[f"blocks.{i}.ssa.v"] = ssa.v.lif
            layers[f"blocks.{i}.ssa.attn"] = ssa.attention_lif
            layers[f"blocks.{i}.ssa.out"] = ssa.out.lif
        layers[f"blocks.{i}.mlp.up"] = mlp.up.lif
        layers[f"blocks.{i}.mlp.down"] = mlp.down.lif
    return layers


def spike_layers(cache):
    """{layer: spikes (T, N, D)}, named as in `neuron_layers`, `encoder` always first; {} without
    spikes. No array is copied."""
    layers = {name: lif.s for name, lif in neuron_layers(cache).items()}
    return {"encoder": _encoder_spikes(cache)} | layers if layers else {}


def firing_rates(cache):
    """{layer: the share of its neurons that fire, between 0 and 1}, over all steps and tokens."""
    return {name: count_spikes(s) / s.size for name, s in spike_layers(cache).items()}


def mean_firing_rate(cache):
    """The share of all neurons of the network that fire: a wide layer weighs more than a narrow.

    None for a model without spikes.
    """
    layers = spike_layers(cache).values()
    return sum(map(count_spikes, layers)) / sum(s.size for s in layers) if layers else None


def count_spikes(s):
    """The sum of s (T, N, D): spikes, or spike counts where residuals have been added."""
    # Whole numbers add up exactly in any order, so the plain sum of einsum serves: it is up to ten
    # times as fast as the pairwise sum of `s.sum()`, which guards against rounding.
    return float(np.einsum("tnd->", s))


def _encoder_spikes(cache):
    encoding = cache.input.encoding
    if encoding.lif is not None:
        return encoding.lif.s
    # The heaviside encoder sends the same spikes at every step, and keeps only their current.
    s, _ = spike_encoding_forward(
        encoding.current,
        steps=cache.head.time.steps,
        encoder="heaviside",
        neuron=encoding.neuron,
    )  # (T, N, D)
    return s
