"""Numba twin of layer norm + LIF: one pass over memory instead of one or more for each operation.

A token's row runs through all T steps while its membrane stays in the first-level cache. The sums
over a row may be reassociated, and a product and a sum rounded once (nothing else is assumed): they
agree with NumPy's to rounding.

Letters: T spike steps, N packed tokens, D width.
"""

import math

import numpy as np

from ..layers import surrogate_numba as surrogate
from ..layers.kernel import kernel
from ..layers.lif_numba import (
    backward_through_fire,
    charge,
    fire,
    neuron_constants,
    reset_membrane,
)

REASSOCIATE = {"reassoc", "contract"}


@kernel(fastmath=REASSOCIATE)
def _centre_row(row, width):
    """Subtract the mean in place; return the variance."""
    zero = row.dtype.type(0)  # a Python 0 would make every sum, and all that follows, float64
    total = zero
    for d in range(len(row)):
        total += row[d]
    mean = total / width
    total = zero
    for d in range(len(row)):
        row[d] -= mean
        total += row[d] * row[d]
    return total / width


@kernel()
def _forward(z, gain, bias, width, eps, constants, reset_spikes, s, inv_std, h):
    tau, _, v_th, v_reset, one, reset, decay_input, _, spiking, code, _, slope = constants
    v = np.empty(z.shape[2], z.dtype)
    for n in range(z.shape[1]):
        v[:] = v_reset
        for t in range(z.shape[0]):
            row = z[t, n]
            inverse = one / math.sqrt(_centre_row(row, width) + eps)
            inv_std[t, n, 0] = inverse
            for d in range(len(row)):
                x_hat = row[d] * inverse
                row[d] = x_hat
                y = x_hat * gain[d] + bias[d]
                h_now = charge(y, v[d], tau, v_reset, decay_input)
                s_now = fire(h_now - v_th, spiking, code, slope, one)
                h[t, n, d] = h_now
                s[t, n, d] = s_now
                r = s_now if reset_spikes is None else reset_spikes[t, n, d]
                v[d] = reset_membrane(h_now, r, reset, v_th, v_reset, one)


@kernel(fastmath=REASSOCIATE)
def _backward(ds, dspike, x_hat, inv_std, gain, width, h, s, constants, dz, dgain, dbias):
    tau, leak, v_th, v_reset, one, reset, decay_input, detach, _, code, scale, slope = constants
    dv = np.empty(h.shape[2], h.dtype)
    for n in range(h.shape[1]):
        dv[:] = 0
        for t in range(h.shape[0] - 1, -1, -1):
            sum_dx_hat = one - one
            sum_dx_hat_x_hat = one - one
            # σ' stands in dz until the row's own gradient takes its place.
            surrogate.derivative_row(h[t, n], v_th, code, scale, slope, one, dz[t, n])
            for d in range(len(dv)):
                ds_now = ds[t, n, d] if dspike is None else ds[t, n, d] + dspike
                dh = backward_through_fire(
                    ds_now, dv[d], h[t, n, d], s[t, n, d], dz[t, n, d],
                    v_th, v_reset, one, reset, detach,
                )  # fmt: skip
                dv[d] = dh * leak
                dy = dh / tau if decay_input else dh
                dbias[d] += dy
                dgain[d] += dy * x_hat[t, n, d]
                dx_hat = dy * gain[d]
                dz[t, n, d] = dx_hat
                sum_dx_hat += dx_hat
                sum_dx_hat_x_hat += dx_hat * x_hat[t, n, d]
            mean = sum_dx_hat / width
            mean_x_hat = sum_dx_hat_x_hat / width
            for d in range(len(dv)):
                centred = dz[t, n, d] - mean - x_hat[t, n, d] * mean_x_hat
                dz[t, n, d] = centred * inv_std[t, n, 0]


def norm_lif_forward(z, gain, bias, neuron, reset_trace=None, *, eps=1e-5):
    """s = LIF(layer norm(z)); z (T, N, D) is overwritten with x_hat.

    Returns s (T, N, D), inv_std (T, N, 1), h (T, N, D).
    """
    dtype = z.dtype
    s, h = np.empty_like(z), np.empty_like(z)
    inv_std = np.empty((*z.shape[:2], 1), dtype)
    _forward(
        z,
        gain,
        bias,
        dtype.type(z.shape[-1]),
        dtype.type(eps),
        neuron_constants(neuron, dtype),
        None if reset_trace is None else np.ascontiguousarray(reset_trace.s),
        s,
        inv_std,
        h,
    )
    return s, inv_std, h


def norm_lif_backward(ds, norm_cache, lif_cache, *, dspike=0.0):
    """dz (T, N, D), dgain (D,), dbias (D,), from ds (T, N, D) and what each spike has beside it."""
    x_hat, inv_std, gain = norm_cache
    h, s, neuron, _ = lif_cache
    dz, dgain, dbias = np.empty_like(h), np.zeros_like(gain), np.zeros_like(gain)
    _backward(
        np.ascontiguousarray(ds),
        h.dtype.type(dspike) if dspike else None,
        x_hat,
        inv_std,
        gain,
        h.dtype.type(h.shape[-1]),
        h,
        s,
        neuron_constants(neuron, h.dtype),
        dz,
        dgain,
        dbias,
    )
    return dz, dgain, dbias
