"""The neuron alone, forward and backward, against the time in which memory moves its bytes.

Forward reads X and writes H and S; backward reads dS, H and S and writes dX: seven arrays of
(T, M) float32. Beside it as many bytes are copied, half of them read and half written, through
buffers so long that nothing of them is left in a cache when its turn comes again.

Letters: T spike steps, M neurons.
"""

import numpy as np

from ..layers.lif import LIFNeuron, lif_backward, lif_forward

STEPS, NEURONS = 4, 131_072
ARRAYS = 7
BUFFER = 1 << 25  # numbers: 128 MiB to read from, and as many to write to
NEURON = LIFNeuron()


def draw_currents(seed, neurons=NEURONS):
    """x and ds (T, M) float32: a current that makes about one neuron in twenty fire."""
    rng = np.random.default_rng(seed)
    x = np.float32(1.2) * rng.standard_normal((STEPS, neurons), np.float32)
    return x, rng.standard_normal((STEPS, neurons), np.float32)


def run_lif(x, ds):
    """Spikes and dx, by the compiled twin."""
    s, cache = lif_forward(x, neuron=NEURON, backend="numba")
    return s, lif_backward(ds, cache)


class BytesMover:
    """Calling it moves as many bytes as the neuron must."""

    def __init__(self, x):
        self.count = ARRAYS * x.size // 2
        self.source, self.target = (np.ones(max(BUFFER, self.count), x.dtype) for _ in range(2))
        self.start = 0

    def __call__(self):
        if self.start + self.count > len(self.source):
            self.start = 0
        part = slice(self.start, self.start + self.count)
        np.copyto(self.target[part], self.source[part])
        self.start += self.count
