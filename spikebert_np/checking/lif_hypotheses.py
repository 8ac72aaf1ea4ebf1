"""What the LIF neuron's backward pass would give with one term of its formula wrong, term by term.

    dH = A dV + (dS + R dV) d,    dX = P dH,    dV[t-1] = L dH

A diagnosis compares a learner's numbers with these. They are the formula with a term exchanged,
whatever the code under test looks like: it is never run nor read here.
"""

import numpy as np

from ..layers.lif import lif_backward, lif_step_backward
from ..layers.surrogate import SURROGATES


def step_by(*, A=None, R=None, d=None, P=None, L=None, whole=False, added=False):
    """A step back whose terms are the right ones where None, else functions of (h, s, neuron).

    whole: the slope multiplies A dV too. added: dS + d in place of their product.
    """

    def step(ds, dv, h, s, neuron):
        terms = zip((A, R, d, P, L), TERMS, strict=True)
        a, r, slope, p, leak = ((wrong or right)(h, s, neuron) for wrong, right in terms)
        straight, through_spike = a * dv, ds + r * dv
        if whole:
            straight = straight * slope
        through_spike = through_spike + slope if added else through_spike * slope
        dh = straight + through_spike
        return p * dh, leak * dh

    return step


def reset_path(h, s, neuron):
    return {"hard": neuron.v_reset - h, "soft": -neuron.v_th, "none": 0}[neuron.reset]


def slope_at(u, neuron):
    return SURROGATES[neuron.surrogate].derivative(u, neuron.alpha)


TERMS = (
    lambda h, s, neuron: 1 - s if neuron.reset == "hard" else 1,
    lambda h, s, neuron: 0 if neuron.detach_reset else reset_path(h, s, neuron),
    lambda h, s, neuron: slope_at(h - neuron.v_th, neuron),
    lambda h, s, neuron: 1 / neuron.tau if neuron.decay_input else 1,
    lambda h, s, neuron: 1 - 1 / neuron.tau,
)


def after_reset(h, s, neuron):
    """V, by the reset's own rule."""
    if neuron.reset == "hard":
        return s * neuron.v_reset + (1 - s) * h
    return h - s * neuron.v_th if neuron.reset == "soft" else h


def unless_detached(term):
    return lambda h, s, neuron: 0 if neuron.detach_reset else term(h, s, neuron)


LIF_STEP = [
    ("nothing carried back", step_by(L=lambda h, s, n: 0)),
    ("1/tau for 1 - 1/tau", step_by(L=lambda h, s, n: 1 / n.tau)),
    ("leak of 1", step_by(L=lambda h, s, n: 1)),
    ("leak of the input's gradient", step_by(
        L=lambda h, s, n: (1 - 1 / n.tau) / (n.tau if n.decay_input else 1))),
    ("another leak", step_by(L=lambda h, s, n: np.exp(-1 / n.tau))),
    ("another leak", step_by(L=lambda h, s, n: 1 / (1 + n.tau))),
    ("another leak", step_by(L=lambda h, s, n: n.tau / (1 + n.tau))),
    ("leak twice", step_by(L=lambda h, s, n: (1 - 1 / n.tau) ** 2)),
    ("reset factor missing", step_by(A=lambda h, s, n: 1)),
    ("reset factor inverted", step_by(A=lambda h, s, n: s)),
    ("hard reset's factor for another", step_by(A=lambda h, s, n: 1 - s)),
    ("carried gradient left out", step_by(A=lambda h, s, n: 0)),
    ("1 - S on the reset's path", step_by(
        R=unless_detached(lambda h, s, n: (1 - s) * reset_path(h, s, n)))),
    ("reset attached", step_by(R=reset_path)),
    ("reset detached", step_by(R=lambda h, s, n: 0)),
    ("reset's path without the slope", step_by(
        A=lambda h, s, n: TERMS[0](h, s, n) + TERMS[1](h, s, n), R=lambda h, s, n: 0)),
    ("reset's sign", step_by(R=unless_detached(lambda h, s, n: -reset_path(h, s, n)))),
    ("soft reset's term for a hard one", step_by(R=unless_detached(lambda h, s, n: -n.v_th))),
    ("hard reset's term for a soft one", step_by(R=unless_detached(lambda h, s, n: n.v_reset - h))),
    ("v_reset forgotten", step_by(R=unless_detached(lambda h, s, n: -h))),
    ("v_th forgotten", step_by(R=unless_detached(lambda h, s, n: -1))),
    ("v_reset forgotten", step_by(R=unless_detached(lambda h, s, n: n.v_reset))),
    ("surrogate at V", step_by(d=lambda h, s, n: slope_at(after_reset(h, s, n) - n.v_th, n))),
    ("surrogate at V", step_by(d=lambda h, s, n: slope_at(after_reset(h, s, n), n))),
    ("surrogate without the threshold", step_by(d=lambda h, s, n: slope_at(h, n))),
    ("surrogate at another point", step_by(d=lambda h, s, n: slope_at(h - n.v_reset, n))),
    ("surrogate at another point", step_by(d=lambda h, s, n: slope_at(h - n.v_th / 2, n))),
    ("surrogate at another point", step_by(d=lambda h, s, n: slope_at(h - 2 * n.v_th, n))),
    ("surrogate at another point", step_by(d=lambda h, s, n: slope_at(s - n.v_th, n))),
    ("surrogate at another point", step_by(d=lambda h, s, n: slope_at(h - 1, n))),
    ("curve for slope", step_by(
        d=lambda h, s, n: SURROGATES[n.surrogate].primitive(h - n.v_th, n.alpha))),
    ("surrogate left out", step_by(d=lambda h, s, n: 1)),
    ("alpha left out", step_by(
        d=lambda h, s, n: SURROGATES[n.surrogate].derivative(h - n.v_th, 1.0))),
    ("alpha left out", step_by(d=lambda h, s, n: slope_at(h - n.v_th, n) / n.alpha)),
    ("alpha squared", step_by(d=lambda h, s, n: slope_at(h - n.v_th, n) * n.alpha)),
    ("slope S (1 - S)", step_by(d=lambda h, s, n: s * (1 - s))),
    ("spike for slope", step_by(d=lambda h, s, n: s)),
    ("spike for slope", step_by(d=lambda h, s, n: (h >= n.v_th).astype(h.dtype))),
    ("surrogate on the carried gradient", step_by(whole=True)),
    ("upstream added to the slope", step_by(added=True)),
    ("input's 1/tau missing", step_by(P=lambda h, s, n: 1)),
    ("input's 1/tau too many", step_by(P=lambda h, s, n: 1 / n.tau)),
    ("1 - 1/tau on the input", step_by(P=lambda h, s, n: 1 - 1 / n.tau)),
    *(
        ("another surrogate", step_by(
            d=lambda h, s, n, name=name: SURROGATES[name].derivative(h - n.v_th, n.alpha)))
        for name in SURROGATES
    ),
]  # fmt: skip


def loop_by(*, slope_of=0, gate_of=0, accumulate=False, only_last=False, first=0, dv_end=0):
    """lif_backward with the slope or the reset of a neighbouring step, with the carried gradient
    added to what was carried before, with the last step's upstream alone, not from `first`, or
    from another dv than 0 behind the last step."""

    def backward(ds, cache):
        h, s, neuron, _ = cache
        last = len(h) - 1
        dx, dv = np.zeros_like(h), np.full_like(h[0], dv_end)
        for t in reversed(range(first, len(h))):
            near, gate = (
                array[min(max(t + shift, 0), last)]
                for array, shift in ((h, slope_of), (s, gate_of))
            )
            step = step_by(d=lambda h, s, n, near=near: slope_at(near - n.v_th, n))
            upstream = ds[t] if t == last or not only_last else 0 * ds[t]
            dx[t], carried = step(upstream, dv, h[t], gate, neuron)
            dv = dv + carried if accumulate else carried
        return dx

    return backward


def lif_forward_in_time(ds, cache):
    h, s, neuron, _ = cache
    dx, dv = np.empty_like(h), np.zeros_like(h[0])
    for t in range(len(h)):
        dx[t], dv = lif_step_backward(ds[t], dv, h[t], s[t], neuron)
    return dx


def lif_of_exchanged(ds, cache):
    return lif_backward(ds, cache._replace(h=cache.s, s=cache.h))


LIF_HYPOTHESES = {
    lif_step_backward: LIF_STEP,
    lif_backward: [
        ("forward in time", lif_forward_in_time),
        ("slope of another step", loop_by(slope_of=-1)),
        ("slope of another step", loop_by(slope_of=1)),
        ("reset factor of another step", loop_by(gate_of=-1)),
        ("reset factor of another step", loop_by(gate_of=1)),
        ("first step left out", loop_by(first=1)),
        ("dv does not start at 0", loop_by(dv_end=1)),
        ("steps in reverse order", lambda ds, cache: lif_backward(ds, cache)[::-1]),
        ("h and s exchanged", lif_of_exchanged),
        ("carried gradient accumulated", loop_by(accumulate=True)),
        ("upstream of the last step only", loop_by(only_last=True)),
    ],
}
