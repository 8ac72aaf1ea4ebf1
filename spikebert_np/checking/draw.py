"""Seeded random sizes, numbers and neurons, without the settings that hide mistakes."""

from functools import cached_property

import numpy as np

from ..layers.lif import LIFNeuron

NEURON_FIELDS = tuple(LIFNeuron.__dataclass_fields__)


class Draw:
    """Seeded random sizes, numbers and neurons. T and tau may be given instead of drawn."""

    def __init__(self, seed, *, T=None, tau=None, variant=None):
        self.rng = np.random.default_rng(seed)
        self.T = T or self.size(3, 5)
        self._tau = tau or float(self.rng.choice([1.3, 1.6, 2.7, 3.4]))
        self.variant = variant or {}

    def size(self, low, high):
        """An integer in [low, high]."""
        return int(self.rng.integers(low, high + 1))

    def normal(self, *shape, mean=0.0):
        """Standard normal numbers around the mean."""
        return mean + self.rng.standard_normal(shape)

    def spike_counts(self, *shape):
        """What a block reads: 0, 1 or 2 spikes."""
        return self.rng.integers(0, 3, shape).astype(np.float64)

    def params(self, initial):
        """Starting parameters with noise: unit gains and zero biases would hide mistakes."""
        return {
            key: value.astype(np.float64) + 0.3 * self.rng.standard_normal(value.shape)
            for key, value in initial.items()
        }

    @cached_property
    def offsets(self):
        """(B + 1,) of three sentences of unlike lengths, one of them a single word."""
        lengths = [1, self.size(2, 3), self.size(4, 5)]
        return np.concatenate([[0], np.cumsum(self.rng.permutation(lengths))])

    def ids(self, vocabulary):
        """(N,) ids below `vocabulary`, which must be below N for words to stand twice."""
        return self.rng.integers(0, vocabulary, self.offsets[-1])

    @cached_property
    def neuron(self):
        """The smooth twin of a neuron. alpha = 2 and v_reset = 0 would hide missing terms."""
        drawn = {
            "tau": self._tau,
            "v_th": float(self.rng.uniform(0.35, 0.6)),
            "v_reset": float(self.rng.uniform(-0.4, -0.1)),
            "alpha": float(self.rng.uniform(1.1, 1.7)),
            "decay_input": bool(self.rng.integers(2)),
            "surrogate": str(self.rng.choice(["atan", "sigmoid"])),
        }
        fields = {key: value for key, value in self.variant.items() if key in NEURON_FIELDS}
        return LIFNeuron(**(drawn | fields), spiking=False)
