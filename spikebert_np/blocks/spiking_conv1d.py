"""Convolution, layer norm, LIF: the spiking linear unit on windows of K tokens.

Letters: T spike steps, N packed tokens, B sentences, D_in and D_out widths, K tokens of a window.
"""

from typing import NamedTuple

from ..layers.conv1d import WindowsCache, windows_backward, windows_forward
from .spiking_linear import SpikingLinearCache, spiking_linear_backward, spiking_linear_forward


class SpikingConv1dCache(NamedTuple):
    windows: WindowsCache
    unit: SpikingLinearCache


def spiking_conv1d_forward(x, params, offsets, *, width, neuron, backend="numpy", frozen=None):
    """s = LIF(layer norm(conv1d(x))), the convolution that of `layers/conv1d.py`.

    x: (T, N, D_in) spikes, offsets: (B + 1,), width: K. params: those of `init_spiking_linear`,
    from K*D_in to D_out. Returns s (T, N, D_out) and the cache.
    frozen: the cache of another pass, whose spikes drive the reset (see `lif_forward`).
    """
    # 1. Each token with its neighbours.
    windows, windows_cache = windows_forward(x, offsets, width=width)  # (T, N, K*D_in)
    # 2. Linear, layer norm, LIF.
    s, unit_cache = spiking_linear_forward(
        windows, params, neuron=neuron, backend=backend, frozen=frozen and frozen.unit
    )  # (T, N, D_out)
    return s, SpikingConv1dCache(windows_cache, unit_cache)


def spiking_conv1d_backward(ds, cache, *, dspike=0.0):
    """dx (T, N, D_in) and the dict of parameter gradients, from ds (T, N, D_out).

    dspike: see `spiking_linear_backward`.
    """
    # s = LIF(layer norm(windows W + b))
    dwindows, dparams = spiking_linear_backward(ds, cache.unit, dspike=dspike)  # (T, N, K*D_in)
    # windows = neighbours of x
    return windows_backward(dwindows, cache.windows), dparams  # (T, N, D_in)
