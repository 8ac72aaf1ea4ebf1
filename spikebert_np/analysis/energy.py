"""Theoretical energy of one sentence, by the rule that the literature on spiking networks uses.

    a layer that reads numbers   MAC = operations
    a layer that reads spikes    SOP = mean spike count of its input x T x operations
    energy                       4.6 pJ x MAC + 0.9 pJ x SOP

`operations` are the multiply-accumulates (MAC) of one dense step. A spike multiplies nothing, so a
synaptic operation (SOP) is one accumulate (AC). The prices are those of 32-bit floating point in
45 nm silicon (Horowitz 2014, doi 10.1109/ISSCC.2014.6757323); the rule is that of Spikformer (Zhou
et al. 2023, arXiv 2209.15425) and SpikeBERT (Lv et al. 2023, arXiv 2308.15122). No hardware is
measured, and moving data, which costs more than arithmetic, is left out altogether.

What the rule leaves open is settled here as follows.

- Counts, not rates: behind a residual sum, an input of 2 is two spikes and costs two ACs.
- Each product of attention, q kᵀ and (q kᵀ) v, has n² D operations in a sentence of n tokens. The
  spikes of q drive the first and those of v the second. (Only where q and k both fire is there
  anything to add, so the first is an upper bound.) The scale can be merged into the threshold.
- The embedding's projection reads numbers, once a sentence and not at every step.
- The classifier reads normalised means, which are numbers. The mean over time can be taken before
  it instead of behind it, so it too is counted once.
- To look up an embedding is no arithmetic. The taps are for teaching: at inference there are none.
- Biases, residual sums, positions, layer norms, neurons, pooling, softmax and GELU are left out,
  for student and teacher alike: they are of a lower order than the products.

Letters: T spike steps, N packed tokens, n tokens of one sentence, B sentences, D width, F MLP
width, C classes.
"""

from typing import NamedTuple

import numpy as np

from ..models.spiking_textcnn import SpikingTextCNNCache
from .firing import count_spikes

PICOJOULES = {"MAC": 4.6, "AC": 0.9}


class EnergyRow(NamedTuple):
    """One layer; all numbers are means over sentences."""

    name: str
    kind: str  # "MAC", or "AC" where the input is spikes
    operations: float  # MACs of one dense step
    spike_count: float | None  # SOP / (T x operations); None for a MAC
    count: float  # MACs or SOPs

    @property
    def picojoules(self):
        return self.count * PICOJOULES[self.kind]


class EnergyReport(NamedTuple):
    rows: tuple[EnergyRow, ...]

    def total(self, kind):
        """The "MAC" or the "AC" a sentence."""
        return sum(row.count for row in self.rows if row.kind == kind)

    @property
    def millijoules(self):
        """Theoretical energy a sentence."""
        return energy_millijoules(self.total("MAC"), self.total("AC"))


def energy_millijoules(macs, acs):
    """Theoretical energy in mJ of a number of multiply-accumulates and one of accumulates."""
    return (macs * PICOJOULES["MAC"] + acs * PICOJOULES["AC"]) * 1e-9


def student_energy(cache):
    """The EnergyReport of a SpikeBertCache or a SpikingTextCNNCache, from its batch's spikes.

    cache: of a forward pass without dropout.
    """
    if isinstance(cache, SpikingTextCNNCache):
        return _spiking_textcnn_energy(cache)
    lengths = cache.head.pool.lengths  # (B,)
    rows = []
    if cache.input.projection is not None:
        size = cache.input.projection.linear.weight.size
        rows.append(_mac_row("embedding.projection", lengths.mean() * size))
    for i, (ssa, mlp) in enumerate(cache.blocks):
        if ssa is not None:
            name = f"blocks.{i}.ssa"
            rows += [
                _linear_row(f"{name}.q", ssa.q.linear, lengths),
                _linear_row(f"{name}.k", ssa.k.linear, lengths),
                _linear_row(f"{name}.v", ssa.v.linear, lengths),
                _attention_row(f"{name}.qk", ssa.attention.q, lengths),
                _attention_row(f"{name}.qkv", ssa.attention.v, lengths),
                _linear_row(f"{name}.out", ssa.out.linear, lengths),
            ]
        rows.append(_linear_row(f"blocks.{i}.mlp.up", mlp.up.linear, lengths))
        rows.append(_linear_row(f"blocks.{i}.mlp.down", mlp.down.linear, lengths))
    rows.append(_mac_row("head", cache.head.linear.weight.size))
    return EnergyReport(tuple(rows))


def _spiking_textcnn_energy(cache):
    """A spike is counted in each window that it stands in; zeros beside a sentence cost nothing."""
    lengths = cache.pools[0].lengths  # (B,)
    size = cache.input.projection.linear.weight.size
    rows = [_mac_row("embedding.projection", lengths.mean() * size)]
    for conv in cache.convs:
        rows.append(_linear_row(f"convs.{conv.windows.width}", conv.unit.linear, lengths))
    rows.append(_mac_row("head", cache.head.weight.size))
    return EnergyReport(tuple(rows))


def bert_energy(offsets, *, depth, width, mlp_width, classes=0):
    """The EnergyReport of a BERT on sentences of these offsets (B + 1,).

    depth, width, mlp_width, classes: as in BertConfig; with classes, BERT's pooler and classifier
    read each sentence's first token.
    """
    lengths = np.diff(offsets)  # (B,)
    tokens, pairs = lengths.mean(), (lengths**2).mean()
    rows = []
    for i in range(depth):
        attention, feed_forward = f"blocks.{i}.attention", f"blocks.{i}.feed_forward"
        rows += [
            _mac_row(f"{attention}.q", tokens * width**2),
            _mac_row(f"{attention}.k", tokens * width**2),
            _mac_row(f"{attention}.v", tokens * width**2),
            _mac_row(f"{attention}.qk", pairs * width),
            _mac_row(f"{attention}.qkv", pairs * width),
            _mac_row(f"{attention}.output", tokens * width**2),
            _mac_row(f"{feed_forward}.up", tokens * width * mlp_width),
            _mac_row(f"{feed_forward}.down", tokens * width * mlp_width),
        ]
    if classes:
        rows += [_mac_row("pooler", width**2), _mac_row("classifier", width * classes)]
    return EnergyReport(tuple(rows))


def energy_table(report):
    """The report as lines of text, every layer and the total."""
    lines = [
        "Theoretical energy a sentence (45 nm: 4.6 pJ a MAC, 0.9 pJ an AC)",
        f"{'layer':28}{'operations':>14}{'spike count':>13}{'counted':>14}     {'energy':>12}",
    ]
    for row in report.rows:
        spikes = "-" if row.spike_count is None else f"{row.spike_count:.4f}"
        lines.append(
            f"{row.name:28}{row.operations:14,.0f}{spikes:>13}{row.count:14,.0f} {row.kind:3} "
            f"{row.picojoules * 1e-6:9.4f} µJ"
        )
    lines.append(f"{'total, theoretical':74}{report.millijoules:9.4g} mJ")
    return "\n".join(lines)


def _mac_row(name, operations):
    return EnergyRow(name, "MAC", float(operations), None, float(operations))


def _ac_row(name, operations, sops, steps):
    return EnergyRow(name, "AC", float(operations), sops / (steps * operations), float(sops))


def _linear_row(name, linear, lengths):
    """Each spike of the input adds one row of the weight, D_out ACs."""
    sops = count_spikes(linear.x) * linear.weight.shape[1] / len(lengths)
    return _ac_row(name, lengths.mean() * linear.weight.size, sops, len(linear.x))


def _attention_row(name, s, lengths):
    """Each spike of s (T, N, D) is one AC for every token of its own sentence."""
    spikes = np.einsum("tnd->n", s)  # (N,)
    sops = spikes @ np.repeat(lengths, lengths) / len(lengths)
    return _ac_row(name, (lengths**2).mean() * s.shape[2], sops, len(s))
