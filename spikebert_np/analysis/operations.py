"""What one sentence makes each layer do: operations, spikes, weights read. `energy.py` prices it.

`operations` are the multiply-accumulates (MAC) of one dense step. An input that is 1 multiplies
nothing: its row of weights is added, one accumulate (AC) a weight. One that is 2 or more, which a
residual sum makes, multiplies; one that is 0 costs nothing. What is left open is settled so:

- Each product of attention, q kᵀ and (q kᵀ) v, has n² D operations in a sentence of n tokens. The
  spikes of v drive the second. Those of q drive the first, which has `sops` wherever q fires, and
  `acs` only where k fires too: elsewhere there is nothing to add. Neither reads a weight. The scale
  can be merged into the threshold. The literature counts so at every length; for a sentence that is
  longer than a head is wide, which `ssa.py` reads as q (kᵀ v), it is an upper bound.
- The embedding's projection reads numbers, once a sentence and not at every step.
- The zeros that a window finds beside a sentence cost nothing, in a dense network neither.
- The classifier reads normalised means, which are numbers. The mean over time can be taken before
  it instead of behind it, so it too is counted once.
- To look up an embedding is no arithmetic. The taps are for teaching: at inference there are none.

Letters: T spike steps, N packed tokens, n tokens of one sentence, B sentences, D width, F MLP
width, C classes, K words of a window.
"""

from typing import NamedTuple

import numpy as np

from ..models.spiking_textcnn import SpikingTextCNNCache
from .firing import count_spikes


class LayerCount(NamedTuple):
    """One layer, or one product of attention. All numbers but `steps` are means over sentences."""

    name: str
    reads: str  # "numbers" or "spikes"
    steps: int  # how often it is done: T, or 1
    operations: float  # MACs of one dense step
    sops: float  # synaptic operations: an input of 2 is two spikes, and counts twice
    acs: float  # operations at inputs of 1
    macs: float  # operations at all other inputs but 0
    weights: float  # weights read, each as often as it is used
    biases: float  # biases read, one an output and step
    neurons: float  # membranes updated, one a neuron and step

    @property
    def spike_count(self):
        """The mean of its input, over steps, tokens and neurons; None where it reads numbers."""
        return self.sops / (self.steps * self.operations) if self.reads == "spikes" else None


def count_student(cache):
    """The LayerCounts of a SpikeBertCache or a SpikingTextCNNCache, from its batch's spikes.

    cache: of a forward pass without dropout.
    """
    if isinstance(cache, SpikingTextCNNCache):
        lengths = cache.pools[0].lengths  # (B,)
        layers = _count_input(cache.input, lengths)
        for conv in cache.convs:
            K = conv.windows.width
            layers.append(_spiking_linear(f"convs.{K}", conv.unit, lengths, K))
        return [*layers, _numbers("head", cache.head.weight.size, cache.head.weight.shape[1])]
    lengths = cache.head.pool.lengths  # (B,)
    layers = _count_input(cache.input, lengths)
    for i, (ssa, mlp) in enumerate(cache.blocks):
        if ssa is not None:
            name = f"blocks.{i}.ssa"
            layers += [
                _spiking_linear(f"{name}.q", ssa.q, lengths),
                _spiking_linear(f"{name}.k", ssa.k, lengths),
                _spiking_linear(f"{name}.v", ssa.v, lengths),
                *_attention(name, ssa.attention, lengths),
                _spiking_linear(f"{name}.out", ssa.out, lengths),
            ]
        layers.append(_spiking_linear(f"blocks.{i}.mlp.up", mlp.up, lengths))
        layers.append(_spiking_linear(f"blocks.{i}.mlp.down", mlp.down, lengths))
    weight = cache.head.linear.weight
    return [*layers, _numbers("head", weight.size, weight.shape[1])]


def count_bert(offsets, *, depth, width, mlp_width, classes=0):
    """The LayerCounts of a BERT on sentences of these offsets (B + 1,).

    depth, width, mlp_width, classes: as in BertConfig; with classes, BERT's pooler and classifier
    read each sentence's first token.
    """
    lengths = np.diff(offsets)  # (B,)
    n, pairs = lengths.mean(), (lengths**2).mean()
    layers = []
    for i in range(depth):
        attention, feed_forward = f"blocks.{i}.attention", f"blocks.{i}.feed_forward"
        layers += [
            _numbers(f"{attention}.q", n * width**2, n * width),
            _numbers(f"{attention}.k", n * width**2, n * width),
            _numbers(f"{attention}.v", n * width**2, n * width),
            _numbers(f"{attention}.qk", pairs * width),
            _numbers(f"{attention}.qkv", pairs * width),
            _numbers(f"{attention}.output", n * width**2, n * width),
            _numbers(f"{feed_forward}.up", n * width * mlp_width, n * mlp_width),
            _numbers(f"{feed_forward}.down", n * width * mlp_width, n * width),
        ]
    if classes:
        layers += [
            _numbers("pooler", width**2, width),
            _numbers("classifier", width * classes, classes),
        ]
    return layers


def without_spikes(layers):
    """The same network where each neuron hands on a number: dense, one step, and no membranes.

    One step, for what has no membrane has nothing to do in a second.
    """
    return [
        _numbers(layer.name, layer.operations, layer.biases / layer.steps)
        for layer in layers
        if layer.operations
    ]


def mean_counts(batches, sentences):
    """The LayerCounts of all batches together, [LayerCounts] of each, of so many sentences each."""
    return [
        LayerCount(*same[0][:3], *np.average([layer[3:] for layer in same], 0, sentences).tolist())
        for same in zip(*batches, strict=True)
    ]


def _numbers(name, operations, outputs=0.0):
    """A layer that reads numbers; one that has outputs, each with its bias, has weights too."""
    operations = float(operations)
    weights = operations if outputs else 0.0
    return LayerCount(
        name, "numbers", 1, operations, 0.0, 0.0, operations, weights, float(outputs), 0.0
    )


def linear_counts(x, width):
    """SOPs, ACs and MACs of spike counts x (T, N, D_in), each of which meets `width` weights."""
    ones = np.count_nonzero(x == 1)
    integers = np.count_nonzero(x) - ones
    return count_spikes(x) * width, float(ones * width), float(integers * width)


def _window_words(lengths, K):
    """The words that the windows of each sentence hold (B,): K n, less what is missing at its ends.

    Each of them meets one K-th of the weight (K*D, D_out).
    """
    return sum(np.maximum(lengths - abs(j - (K - 1) // 2), 0) for j in range(K))


def _spiking_linear(name, unit, lengths, K=1):
    """Each input that fires meets one row of the weight (K*D, D_out), and reads it."""
    x, weight = unit.linear.x, unit.linear.weight
    sops, acs, macs = (count / len(lengths) for count in linear_counts(x, weight.shape[1]))
    updates = unit.lif.s.size / len(lengths)
    operations = float(_window_words(lengths, K).mean() * weight.size / K)
    return LayerCount(
        name, "spikes", len(x), operations, sops, acs, macs, acs + macs, updates, updates
    )


def _attention(name, cache, lengths):
    """q kᵀ, and (q kᵀ) v with the neurons behind it."""
    q, k, v, offsets, *_ = cache
    operations = float((lengths**2).mean() * q.shape[2])
    # Each spike of s (T, N, D) meets every token of its own sentence.
    q_sops, v_sops = (
        float(np.einsum("tnd->n", s) @ np.repeat(lengths, lengths)) / len(lengths) for s in (q, v)
    )
    # sum over tokens i, j of q_i k_j = (sum of q_i) (sum of k_j)
    q_sums, k_sums = (np.add.reduceat(s, offsets[:-1], axis=1) for s in (q, k))  # (T, B, D)
    both = float(np.einsum("tbd,tbd->", q_sums, k_sums, dtype=np.float64)) / len(lengths)
    updates = v.size / len(lengths)
    return [
        LayerCount(f"{name}.qk", "spikes", len(q), operations, q_sops, both, 0.0, 0.0, 0.0, 0.0),
        LayerCount(
            f"{name}.qkv", "spikes", len(v), operations, v_sops, v_sops, 0.0, 0.0, 0.0, updates
        ),
    ]


def _count_input(cache, lengths):
    """The projection, and the encoder's neurons, where they are there."""
    layers = []
    if cache.projection is not None:
        K, weight = cache.projection.windows.width, cache.projection.linear.weight
        operations = _window_words(lengths, K).mean() * weight.size / K
        outputs = lengths.mean() * weight.shape[1]
        layers.append(_numbers("embedding.projection", operations, outputs))
    if (lif := cache.encoding.lif) is not None:
        neurons = lif.s.size / len(lengths)
        layers.append(LayerCount("encoder", "numbers", len(lif.s), *[0.0] * 6, neurons))
    return layers
