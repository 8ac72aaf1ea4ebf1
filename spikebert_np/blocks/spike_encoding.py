"""Spike encoders: a real-valued embedding becomes T steps of spikes.

Letters: T spike steps, N packed tokens, D width.
"""

from typing import NamedTuple

import numpy as np

from ..layers.lif import LIFCache, LIFNeuron, lif_backward, lif_forward
from ..layers.surrogate import SURROGATES, heaviside

ENCODERS = ("lif", "heaviside")


class SpikeEncodingCache(NamedTuple):
    """One of the two: the neuron's own cache, or the embedding whose sign fired."""

    lif: LIFCache | None
    current: np.ndarray | None  # (N, D)
    neuron: LIFNeuron


def spike_encoding_forward(current, *, steps, encoder, neuron, backend="numpy", frozen=None):
    """Spikes (T, N, D) of a current (N, D), and the cache.

    encoder "lif": the current flows into a LIF neuron at every step (our default).
    encoder "heaviside": Θ(current), the same spikes at every step (the published SpikeBERT).
    """
    shape = (steps, *current.shape)
    if encoder == "lif":
        repeated = np.broadcast_to(current, shape)  # (T, N, D)
        s, lif_cache = lif_forward(
            repeated, neuron=neuron, backend=backend, frozen=frozen and frozen.lif
        )
        return s, SpikeEncodingCache(lif_cache, None, neuron)
    if neuron.spiking:
        s = heaviside(current)  # (N, D)
    else:
        s = SURROGATES[neuron.surrogate].primitive(current, neuron.alpha)  # (N, D)
    return np.broadcast_to(s, shape), SpikeEncodingCache(None, current, neuron)  # (T, N, D)


def spike_encoding_backward(ds, cache, *, dspike=0.0):
    """dcurrent (N, D) from ds (T, N, D): all steps read one current, so T gradients add up.

    dspike: see `spiking_linear_backward`; the same spikes at T steps are T spikes.
    """
    if dspike:
        ds = ds + dspike
    if cache.lif is not None:
        return lif_backward(ds, cache.lif).sum(axis=0)  # (N, D)
    neuron = cache.neuron
    slope = SURROGATES[neuron.surrogate].derivative(cache.current, neuron.alpha)  # (N, D)
    return ds.sum(axis=0) * slope  # (N, D)
