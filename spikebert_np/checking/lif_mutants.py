"""Wrong backward passes of the LIF neuron. Each is `lif_step_backward` with one line gone wrong.

V[t] = the reset of H[t]      S[t] = Θ(H[t] - v_th)
H[t] = V[t-1] (1 - 1/tau) + (X[t] + v_reset) / tau, or with X[t] undivided
"""

import numpy as np

from ..layers.lif import lif_step_backward
from ..layers.surrogate import SURROGATES
from .mutant import Mutant, wrong_backward


def wrong_step(name, **where):
    """Make a Mutant of `lif_backward` of a wrong step."""

    def through_time(step):
        def lif_backward(ds, cache):
            h, s, neuron, _ = cache
            dx, dv = np.empty_like(h), np.zeros_like(h[0])
            for t in reversed(range(len(h))):
                dx[t], dv = step(ds[t], dv, h[t], s[t], neuron)
            return dx

        lif_backward.__name__ = step.__name__
        lif_backward.__wrapped__ = step  # what `inspect.getsource` shows
        return Mutant(name, "lif", lif_backward, where)

    return through_time


def slope(h, neuron):
    return SURROGATES[neuron.surrogate].derivative(h - neuron.v_th, neuron.alpha)


def through_the_reset(ds, dv, h, s, neuron):
    """dh by the straight path, and ds with the attached path added: both right."""
    dh = dv * (1 - s) if neuron.reset == "hard" else dv
    if not neuron.detach_reset:
        dv_ds = {"hard": neuron.v_reset - h, "soft": -neuron.v_th, "none": 0}[neuron.reset]
        ds = ds + dv * dv_ds
    return dh, ds


def through_the_charge(dh, neuron):
    """dx and dL/dV[t-1], both right."""
    return dh / neuron.tau if neuron.decay_input else dh, dh * (1 - 1 / neuron.tau)


@wrong_step("nothing carried back")
def no_leak(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * slope(h, neuron)
    return dh / neuron.tau if neuron.decay_input else dh, np.zeros_like(dh)


@wrong_step("1/tau for 1 - 1/tau")
def leak_of_tau_2(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * slope(h, neuron)
    return dh / neuron.tau if neuron.decay_input else dh, dh / neuron.tau


@wrong_step("leak of 1")
def no_decay(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * slope(h, neuron)
    return dh / neuron.tau if neuron.decay_input else dh, dh


@wrong_step("reset factor missing", reset="hard")
def gradient_through_a_spike(ds, dv, h, s, neuron):
    _, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dv + ds * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("reset factor inverted", reset="hard")
def gradient_through_spikes_only(ds, dv, h, s, neuron):
    _, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dv * s + ds * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("reset attached", reset="hard", detach_reset=True)
def attached_hard(ds, dv, h, s, neuron):
    ds = ds + dv * (neuron.v_reset - h)
    dh = dv * (1 - s) + ds * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("reset attached", reset="soft", detach_reset=True)
def attached_soft(ds, dv, h, s, neuron):
    ds = ds - dv * neuron.v_th
    dh = dv + ds * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("reset detached", reset="hard", detach_reset=False)
def detached_hard(ds, dv, h, s, neuron):
    dh = dv * (1 - s) + ds * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("reset detached", reset="soft", detach_reset=False)
def detached_soft(ds, dv, h, s, neuron):
    dh = dv + ds * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("reset's sign", reset="soft", detach_reset=False)
def reset_raises_the_membrane(ds, dv, h, s, neuron):
    dh = dv + (ds + dv * neuron.v_th) * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("soft reset's term for a hard one", reset="hard", detach_reset=False)
def minus_v_th(ds, dv, h, s, neuron):
    dh = dv * (1 - s) + (ds - dv * neuron.v_th) * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("v_reset forgotten", reset="hard", detach_reset=False)
def minus_h(ds, dv, h, s, neuron):
    dh = dv * (1 - s) + (ds - dv * h) * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("surrogate at V", reset="hard")
def slope_after_the_reset(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    v = s * neuron.v_reset + (1 - s) * h
    dh = dh + ds * slope(v, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("surrogate without the threshold", surrogate="atan")
def slope_at_h(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * SURROGATES[neuron.surrogate].derivative(h, neuron.alpha)
    return through_the_charge(dh, neuron)


@wrong_step("alpha left out")
def slope_of_alpha_1(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * SURROGATES[neuron.surrogate].derivative(h - neuron.v_th, 1.0)
    return through_the_charge(dh, neuron)


@wrong_step("slope S (1 - S)", surrogate="atan")
def sigmoid_for_every_surrogate(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * s * (1 - s)
    return through_the_charge(dh, neuron)


@wrong_step("spike for slope")
def spikes_carry_the_gradient(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * s
    return through_the_charge(dh, neuron)


@wrong_step("surrogate left out")
def spikes_without_slope(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    return through_the_charge(dh + ds, neuron)


@wrong_step("surrogate on the carried gradient")
def slope_on_everything(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = (dh + ds) * slope(h, neuron)
    return through_the_charge(dh, neuron)


@wrong_step("upstream added to the slope")
def sum_for_product(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + (ds + slope(h, neuron))
    return through_the_charge(dh, neuron)


@wrong_step("input's 1/tau missing", decay_input=True)
def undivided_input(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * slope(h, neuron)
    return dh, dh * (1 - 1 / neuron.tau)


@wrong_step("input's 1/tau too many", decay_input=False)
def divided_input(ds, dv, h, s, neuron):
    dh, ds = through_the_reset(ds, dv, h, s, neuron)
    dh = dh + ds * slope(h, neuron)
    return dh / neuron.tau, dh * (1 - 1 / neuron.tau)


@wrong_backward("lif", "forward in time")
def from_first_to_last(ds, cache):
    h, s, neuron, _ = cache
    dx, dv = np.empty_like(h), np.zeros_like(h[0])
    for t in range(len(h)):
        dx[t], dv = lif_step_backward(ds[t], dv, h[t], s[t], neuron)
    return dx


@wrong_backward("lif_step", "leak of 1")
def step_without_decay(ds, dv, h, s, neuron):
    dx, dv_before = lif_step_backward(ds, dv, h, s, neuron)
    return dx, dv_before / (1 - 1 / neuron.tau)
