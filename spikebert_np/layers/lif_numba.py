"""Numba twins of `lif_forward` and `lif_backward`: their spikes are the NumPy reference's, bit for
bit. So are the gradients, but for the last digits of "sigmoid", which calls exp; of a smooth twin
also the spikes, whose primitive may call exp or arctan.

The neurons do not touch each other, so a chunk of them runs through all T steps while its membrane
stays in the first-level cache; the inner loop runs over contiguous neurons, which vectorises. Each
row is cut out beforehand: in x[t, start + j] the sum might be negative, and Python's counting from
the end would have to be tried for every neuron (five times as long).
No fast-math: a fused multiply-add alone would move spikes near the threshold.

Letters: T spike steps, M = N * D neurons.
"""

import numpy as np
from numba import njit

from . import surrogate_numba as surrogate
from .kernel import kernel

HARD, SOFT, NONE = range(3)
_RESETS = {"hard": HARD, "soft": SOFT, "none": NONE}
CHUNK = 1024


def neuron_constants(neuron, dtype):
    """The neuron as a tuple of numbers that the kernels unpack, each real one in `dtype`."""
    code, scale, slope = surrogate.surrogate_constants(neuron.surrogate, neuron.alpha, dtype)
    return (
        dtype.type(neuron.tau),
        dtype.type(1 - 1 / neuron.tau),
        dtype.type(neuron.v_th),
        dtype.type(neuron.v_reset),
        dtype.type(1),
        _RESETS[neuron.reset],
        neuron.decay_input,
        neuron.detach_reset,
        neuron.spiking,
        code,
        scale,
        slope,
    )


@njit(inline="always")
def charge(x, v, tau, v_reset, decay_input):
    if decay_input:
        return v + (x - (v - v_reset)) / tau
    return v - (v - v_reset) / tau + x


@njit(inline="always")
def fire(u, spiking, code, slope, one):
    if spiking:
        return one if u >= 0 else one - one
    return surrogate.primitive(u, code, slope, one)


@njit(inline="always")
def reset_membrane(h, r, reset, v_th, v_reset, one):
    if reset == HARD:
        return r * v_reset + (one - r) * h
    if reset == SOFT:
        return h - r * v_th
    return h


@njit(inline="always")
def backward_through_fire(ds, dv, h, s, derivative, v_th, v_reset, one, reset, detach):
    """dL/dH[t] of `lif_step_backward`, from σ'(H[t] - v_th)."""
    dh = dv * (one - s) if reset == HARD else dv
    if not detach:
        if reset == HARD:
            ds = ds + dv * (v_reset - h)
        elif reset == SOFT:
            ds = ds - dv * v_th
    return dh + ds * derivative


@kernel()
def _forward(x, constants, reset_spikes, s, h):
    tau, _, v_th, v_reset, one, reset, decay_input, _, spiking, code, _, slope = constants
    steps, neurons = x.shape
    membrane = np.empty(CHUNK, x.dtype)
    for start in range(0, neurons, CHUNK):
        stop = min(start + CHUNK, neurons)
        v = membrane[: stop - start]
        v[:] = v_reset
        for t in range(steps):
            x_row, h_row, s_row = x[t, start:stop], h[t, start:stop], s[t, start:stop]
            reset_row = s_row if reset_spikes is None else reset_spikes[t, start:stop]
            for j in range(len(v)):
                h_now = charge(x_row[j], v[j], tau, v_reset, decay_input)
                s_now = fire(h_now - v_th, spiking, code, slope, one)
                h_row[j] = h_now
                s_row[j] = s_now
                r = s_now if reset_spikes is None else reset_row[j]
                v[j] = reset_membrane(h_now, r, reset, v_th, v_reset, one)


@kernel()
def _backward(ds, h, s, constants, dx):
    tau, leak, v_th, v_reset, one, reset, decay_input, detach, _, code, scale, slope = constants
    steps, neurons = h.shape
    carried = np.empty(CHUNK, h.dtype)
    for start in range(0, neurons, CHUNK):
        stop = min(start + CHUNK, neurons)
        dv = carried[: stop - start]
        dv[:] = 0
        for t in range(steps - 1, -1, -1):
            ds_row, dx_row = ds[t, start:stop], dx[t, start:stop]
            h_row, s_row = h[t, start:stop], s[t, start:stop]
            # σ' stands in dx until the gradient takes its place.
            surrogate.derivative_row(h_row, v_th, code, scale, slope, one, dx_row)
            for j in range(len(dv)):
                dh = backward_through_fire(
                    ds_row[j], dv[j], h_row[j], s_row[j], dx_row[j],
                    v_th, v_reset, one, reset, detach,
                )  # fmt: skip
                dx_row[j] = dh / tau if decay_input else dh
                dv[j] = dh * leak


def _flat(array):
    """(T, ...) -> (T, M), contiguous."""
    return np.ascontiguousarray(array).reshape(len(array), -1)


def lif_forward(x, neuron, reset_spikes=None):
    """s and h (T, ...), from x (T, ...) and the spikes that drive a frozen reset, if any."""
    s, h = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    _forward(
        _flat(x),
        neuron_constants(neuron, x.dtype),
        None if reset_spikes is None else _flat(reset_spikes),
        _flat(s),
        _flat(h),
    )
    return s, h


def lif_backward(ds, h, s, neuron):
    """dx (T, ...), from ds, h and s (T, ...)."""
    dx = np.empty(h.shape, h.dtype)
    _backward(_flat(ds), _flat(h), _flat(s), neuron_constants(neuron, h.dtype), _flat(dx))
    return dx
