"""The leaky integrate-and-fire neuron and its backpropagation through time.

    charge  H[t] = V[t-1] + (X[t] - (V[t-1] - v_reset)) / tau     (decay_input)
            H[t] = V[t-1] - (V[t-1] - v_reset) / tau + X[t]       (else)
    fire    S[t] = 1 if H[t] >= v_th else 0
    reset   V[t] = S[t] v_reset + (1 - S[t]) H[t]                 (hard)
            V[t] = H[t] - S[t] v_th                               (soft)
            V[t] = H[t]                                           (none)

with V[-1] = v_reset: SpikingJelly's `LIFNode` (Fang et al. 2023, doi 10.1126/sciadv.adi1480).
H is the membrane that fires; a trace recorded after the reset is V, a different thing.

Letters: T spike steps, N packed tokens, D width; any shape may follow T.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .surrogate import SURROGATES, heaviside


@dataclass(frozen=True)
class LIFNeuron:
    """The constants of a neuron. Defaults are SpikeBERT's (arXiv 2308.15122, its released script).

    tau: membrane time constant in steps, >= 1; infinite, without decay_input, it leaks nothing.
    v_th: firing threshold, > v_reset.
    reset: "hard", "soft" or "none".               v_reset: resting potential, and the hard reset's.
    decay_input: divide the input by tau too.      detach_reset: no gradient through the reset.
    surrogate, alpha: see `surrogate.py`.
    spiking: False fires with the surrogate's primitive in place of the step: the smooth twin.

    Raises ValueError where a constant is out of range.
    """

    tau: float = 2.0
    v_th: float = 1.0
    reset: str = "hard"
    v_reset: float = 0.0
    decay_input: bool = True
    detach_reset: bool = True
    surrogate: str = "atan"
    alpha: float = 2.0
    spiking: bool = True

    def __post_init__(self):
        if not self.tau >= 1:
            raise ValueError(f"tau = {self.tau}: it must be at least 1, or the membrane oscillates")
        if self.tau == math.inf and self.decay_input:
            raise ValueError("tau = inf: with decay_input no input would arrive; give a finite tau")
        if not -math.inf < self.v_reset < self.v_th < math.inf:
            raise ValueError(
                f"v_th = {self.v_th} must lie above v_reset = {self.v_reset}, both finite"
            )
        if self.reset not in ("hard", "soft", "none"):
            raise ValueError(f'reset = "{self.reset}": it must be "hard", "soft" or "none"')
        if self.surrogate not in SURROGATES:
            raise ValueError(f'surrogate = "{self.surrogate}": choose from {", ".join(SURROGATES)}')
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha = {self.alpha}: it must be positive and finite")


class LIFCache(NamedTuple):
    """H is kept and not V: the surrogate needs H - v_th, and the reset's gradient needs H."""

    h: np.ndarray  # (T, N, D) membrane before the reset
    s: np.ndarray  # (T, N, D) spikes
    neuron: LIFNeuron
    backend: str


def lif_step_forward(x, v, neuron, reset_spikes=None):
    """One time step: x and v = V[t-1] of any one shape -> S[t], H[t], V[t] of that shape.

    reset_spikes: reset with these in place of the step's own spikes (see `lif_forward`).
    """
    # 1. Charge.
    if neuron.decay_input:
        h = v + (x - (v - neuron.v_reset)) / neuron.tau
    else:
        h = v - (v - neuron.v_reset) / neuron.tau + x
    # 2. Fire.
    if neuron.spiking:
        s = heaviside(h - neuron.v_th)
    else:
        s = SURROGATES[neuron.surrogate].primitive(h - neuron.v_th, neuron.alpha)
    # 3. Reset.
    r = s if reset_spikes is None else reset_spikes
    if neuron.reset == "hard":
        v = r * neuron.v_reset + (1 - r) * h
    elif neuron.reset == "soft":
        v = h - r * neuron.v_th
    else:
        v = h
    return s, h, v


def lif_step_backward(ds, dv, h, s, neuron):
    """One step back: ds = dL/dS[t], dv = dL/dV[t] -> dx = dL/dX[t] and dL/dV[t-1], of one shape."""
    # V[t] = the reset of H[t]: the straight path, and the attached one through S[t].
    if neuron.reset == "hard":
        dh = dv * (1 - s)
        through_reset = dv * (neuron.v_reset - h)
    elif neuron.reset == "soft":
        dh = dv
        through_reset = -dv * neuron.v_th
    else:
        dh = dv
        through_reset = 0
    if not neuron.detach_reset:
        ds = ds + through_reset
    # S[t] = Θ(H[t] - v_th), with the surrogate's slope in place of Θ'.
    dh = dh + ds * SURROGATES[neuron.surrogate].derivative(h - neuron.v_th, neuron.alpha)
    # H[t] = V[t-1] (1 - 1/tau) + (X[t] + v_reset) / tau, or with X[t] undivided.
    dx = dh / neuron.tau if neuron.decay_input else dh
    dv_before = dh * (1 - 1 / neuron.tau)
    return dx, dv_before


def lif_forward(x, *, neuron=LIFNeuron(), backend="numpy", frozen=None):
    """Spikes of T steps from rest.

    x: (T, N, D) input current. Returns s (T, N, D) of x's dtype, and the cache.
    frozen: the cache of another pass, whose spikes then drive the reset. A detached reset has the
    gradient of a network whose reset trace is a constant: finite differences of it need the trace
    held at its unperturbed values.
    """
    if backend != "numpy":
        from . import lif_numba

        s, h = lif_numba.lif_forward(x, neuron, None if frozen is None else frozen.s)
        return s, LIFCache(h, s, neuron, backend)
    s = np.empty_like(x)  # (T, N, D)
    h = np.empty_like(x)  # (T, N, D)
    v = np.full_like(x[0], neuron.v_reset)  # (N, D)
    for t in range(len(x)):
        reset_spikes = None if frozen is None else frozen.s[t]
        s[t], h[t], v = lif_step_forward(x[t], v, neuron, reset_spikes)
    return s, LIFCache(h, s, neuron, backend)


def lif_backward(ds, cache):
    """Backpropagation through time: dx (T, N, D) from ds (T, N, D)."""
    h, s, neuron, backend = cache
    if backend != "numpy":
        from . import lif_numba

        return lif_numba.lif_backward(ds, h, s, neuron)
    dx = np.empty_like(h)  # (T, N, D)
    dv = np.zeros_like(h[0])  # (N, D): nothing reads V after the last step
    for t in reversed(range(len(h))):
        dx[t], dv = lif_step_backward(ds[t], dv, h[t], s[t], neuron)
    return dx


def membrane_after_reset(cache):
    """V (T, N, D): the membrane after the reset, which the next step starts from.

    Not of a frozen pass, whose reset went by other spikes than the cache's own.
    """
    h, s, neuron, _ = cache
    if neuron.reset == "hard":
        return s * neuron.v_reset + (1 - s) * h
    return h - s * neuron.v_th if neuron.reset == "soft" else h


def firing_floor(neuron, steps):
    """The least constant input that fires within `steps` steps from rest.

    A constant input x charges H[t] - v_reset to x (1 - (1 - 1/tau)^(t+1)), times tau without
    decay_input: x itself must reach the floor, whatever v_reset is. tau = 10 with T = 4 needs
    2.9 (v_th - v_reset): almost nothing fires.
    """
    if neuron.tau == math.inf:  # the limit: nothing leaks
        return (neuron.v_th - neuron.v_reset) / steps
    floor = (neuron.v_th - neuron.v_reset) / (1 - (1 - 1 / neuron.tau) ** steps)
    return floor if neuron.decay_input else floor / neuron.tau
