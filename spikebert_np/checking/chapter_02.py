"""Exercises of chapter 02: the LIF neuron, forward."""

from dataclasses import replace

import numpy as np

from ..layers.lif import (
    LIFNeuron,
    firing_floor,
    lif_forward,
    lif_step_forward,
    membrane_after_reset,
)
from .exercise import Wrong, function, prediction

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["RIDDLE", "RIDDLE_INPUT"]

# --- 2.1 four steps by hand ---------------------------------------------------------------------

NEURON = LIFNeuron(tau=4.0, v_th=1.0)
INPUT = np.array([2.0, 3.0, 2.0, 4.0])


def four_steps(neuron=NEURON, x=INPUT):
    """{H, S, V} of one neuron over four steps."""
    s, cache = lif_forward(x, neuron=neuron)
    return {"H": cache.h, "S": s, "V": membrane_after_reset(cache)}


def by_rule(keep, take):
    """H = keep V + take X, in place of 1 - 1/tau and 1/tau."""
    rows, v = {"H": [], "S": [], "V": []}, 0.0
    for x in INPUT:
        h = keep * v + take * x
        s = float(h >= NEURON.v_th)
        v = (1 - s) * h
        for key, value in zip("HSV", (h, s, v), strict=True):
            rows[key].append(value)
    return rows


ex_02_1 = prediction(
    "2.1",
    four_steps,
    name="four_steps",
    wrong=[
        Wrong("H and V exchanged", lambda: {"H": four_steps()["V"], "V": four_steps()["H"]},
              "H is the membrane before the reset, the one that fires; V what the reset leaves"),
        Wrong("H noted after the reset", lambda: {"H": four_steps()["V"]},
              "H[t] is noted before the reset: where the neuron fires, H is at or above v_th"),
        Wrong("V noted before the reset", lambda: {"V": four_steps()["H"]},
              "V[t] is noted after the reset: where the neuron fired, it is v_reset"),
        Wrong("reset left out", lambda: four_steps(replace(NEURON, reset="none"))),
        Wrong("another reset", lambda: four_steps(replace(NEURON, reset="soft")),
              "this reset is hard: after a spike V is v_reset, and not H - v_th"),
        Wrong("1/tau left out", lambda: four_steps(replace(NEURON, decay_input=False)),
              "the input is divided by tau too: H[t] = V[t-1] + (X[t] - V[t-1]) / 4"),
        Wrong("1/tau for 1 - 1/tau", lambda: by_rule(1 / 4, 3 / 4),
              "V keeps 1 - 1/tau = 3/4 of itself and takes 1/tau = 1/4 of the input"),
        Wrong("leak of 1", lambda: by_rule(1, 1 / 4)),
        Wrong("the spike for the reset", lambda: {"V": np.maximum(four_steps()["V"],
                                                                 four_steps()["S"])},
              "after a spike V is v_reset = 0; 1 is the spike"),
        Wrong("membrane forgotten", lambda: by_rule(0, 1 / 4),
              "H[t] starts from V[t-1]: the membrane remembers what the reset has left"),
        Wrong("spike one step late", lambda: {"S": np.roll(four_steps()["S"], 1)},
              "S[t] = 1 at the step where H[t] reaches the threshold, not at the next"),
    ],
)  # fmt: skip

# --- 2.2 one step -------------------------------------------------------------------------------


def draw_step(rng):
    """x, v and a neuron that rests below 0; one entry meets the threshold exactly."""
    neuron = LIFNeuron(tau=float(rng.choice([4, 8])), v_th=0.5, v_reset=-0.25)
    v = rng.uniform(-0.25, 0.5, (4, 3))
    x = rng.normal(2, 3, (4, 3))
    v[0, 0] = 0.25
    x[0, 0] = neuron.tau * 0.25 + 0.5  # H = v + (x - (v - v_reset)) / tau = 0.5
    return x, v, neuron


def wrong_step(charge=None, fire=None, reset=None):
    """lif_step with one of its three lines exchanged."""
    charge = charge or (lambda x, v, n: v + (x - (v - n.v_reset)) / n.tau)
    fire = fire or (lambda h, n: h >= n.v_th)
    reset = reset or (lambda h, s, n: s * n.v_reset + (1 - s) * h)

    def step(x, v, neuron):
        h = charge(x, v, neuron)
        s = fire(h, neuron) * 1.0
        return s, h, reset(h, s, neuron)

    return step


def step_of_v(x, v, neuron):
    s, _, v = lif_step_forward(x, v, neuron)
    return s, v, v


def fires_on_v(x, v, neuron):
    _, h, _ = lif_step_forward(x, v, neuron)
    s = (v >= neuron.v_th) * 1.0
    return s, h, s * neuron.v_reset + (1 - s) * h


def old_v_kept(x, v, neuron):
    s, h, _ = lif_step_forward(x, v, neuron)
    return s, h, s * neuron.v_reset + (1 - s) * v


ex_02_2 = function(
    "2.2",
    lif_step_forward,
    draw_step,
    name="lif_step",
    outputs=("s", "h", "v"),
    wrong=[
        Wrong("1/tau for 1 - 1/tau", wrong_step(charge=lambda x, v, n: v / n.tau + x / n.tau),
              "V keeps 1 - 1/tau of itself; 1/tau is the share of the input"),
        Wrong("leak of 1", wrong_step(charge=lambda x, v, n: v + x / n.tau)),
        Wrong("another charge", wrong_step(
            charge=lambda x, v, n: v - (v - n.v_reset) / n.tau + x),
              "here the input is divided by tau too: v + (x - (v - v_reset)) / tau"),
        Wrong("leak towards 0", wrong_step(charge=lambda x, v, n: v + (x - v) / n.tau),
              "the membrane leaks towards v_reset, which is not 0 here: v - v_reset decays"),
        Wrong("a tie does not fire", wrong_step(fire=lambda h, n: h > n.v_th),
              "the neuron fires at the threshold too: >=, not >"),
        Wrong("threshold left out", wrong_step(fire=lambda h, n: h >= 0),
              "the neuron fires where H >= v_th, not where H >= 0"),
        Wrong("reset to 0", wrong_step(reset=lambda h, s, n: (1 - s) * h),
              "a hard reset puts the membrane to v_reset, which is not 0 here"),
        Wrong("another reset", wrong_step(reset=lambda h, s, n: h - s * n.v_th),
              "this reset is hard: after a spike V is v_reset, and not H - v_th"),
        Wrong("reset left out", wrong_step(reset=lambda h, s, n: h)),
        Wrong("reset where it did not fire", wrong_step(
            reset=lambda h, s, n: (1 - s) * n.v_reset + s * h),
              "it is the neurons that fired, S = 1, that are reset"),
        *(
            Wrong("shares exchanged", wrong_step(charge=charge),
                  "V keeps 1 - 1/tau of itself and takes 1/tau of the input, not the other way")
            for charge in (
                lambda x, v, n: v / n.tau + (1 - 1 / n.tau) * x,
                lambda x, v, n: v / n.tau + (1 - 1 / n.tau) * (x + n.v_reset),
                lambda x, v, n: x + (v + n.v_reset - x) / n.tau,
            )
        ),
        Wrong("sign of v_reset", wrong_step(charge=lambda x, v, n: v + (x - v - n.v_reset) / n.tau),
              "the leak pulls towards v_reset: v + (x - (v - v_reset)) / tau, mind the brackets"),
        Wrong("fires on V", fires_on_v,
              "the neuron fires where H, charged with this step's input, reaches v_th"),
        Wrong("keeps V, not H", old_v_kept,
              "where the neuron is silent the charged membrane stays: V[t] = H[t]"),
        Wrong("H returned after the reset", step_of_v,
              "h is the membrane before the reset; keep it in a variable of its own"),
    ],
)  # fmt: skip

# --- 2.3 all steps ------------------------------------------------------------------------------


def lif_loop(x, neuron):
    """s and h (T, N, D) of the input x (T, N, D), from rest."""
    s, cache = lif_forward(x, neuron=neuron)
    return s, cache.h


def draw_loop(rng):
    neuron = LIFNeuron(tau=float(rng.choice([1.6, 3.0])), v_th=0.5, v_reset=-0.25)
    return rng.normal(0.7, 1.2, (5, 4, 3)), neuron


def wrong_loop(start=None, order=None, carry=None, read=None):
    """lif_loop with another start, order, state handed on, or input read."""

    def loop(x, neuron):
        s, h = np.zeros_like(x), np.zeros_like(x)
        rest = np.full_like(x[0], neuron.v_reset)
        v = start(x) if start else rest
        for t in order(len(x)) if order else range(len(x)):
            s[t], h[t], after = lif_step_forward(read(x, t) if read else x[t], v, neuron)
            v = carry(after, h[t], rest) if carry else after
        return s, h

    return loop


def loop_of_v(x, neuron):
    s, cache = lif_forward(x, neuron=neuron)
    return s, membrane_after_reset(cache)


ex_02_3 = function(
    "2.3",
    lif_loop,
    draw_loop,
    outputs=("s", "h"),
    hides=("lif_forward",),
    wrong=[
        Wrong("starts at 0", wrong_loop(start=lambda x: np.zeros_like(x[0])),
              "a neuron starts from rest, V[-1] = v_reset, which is not 0 here"),
        Wrong("starts at the input", wrong_loop(start=lambda x: x[0]),
              "a neuron starts from rest, V[-1] = v_reset"),
        Wrong("membrane forgotten", wrong_loop(carry=lambda v, h, rest: rest),
              "V[t] is handed on to the next step: do not start each step from rest"),
        Wrong("H handed on", wrong_loop(carry=lambda v, h, rest: h),
              "the next step starts from V[t], after the reset, not from H[t]"),
        Wrong("one input for all steps", wrong_loop(read=lambda x, t: x[0]),
              "step t reads x[t]"),
        Wrong("backwards in time", wrong_loop(order=lambda T: reversed(range(T))),
              "the forward pass walks from t = 0 to T-1"),
        Wrong("last step left out", wrong_loop(order=lambda T: range(T - 1)),
              "the loop runs over all T steps: range(T), not range(T - 1)"),
        Wrong("first step left out", wrong_loop(order=lambda T: range(1, T)),
              "the loop runs over all T steps: it begins at t = 0"),
        Wrong("V returned as H", loop_of_v,
              "h is the membrane before the reset; v is only handed on to the next step"),
    ],
)  # fmt: skip

# --- 2.4 the firing floor -----------------------------------------------------------------------


def draw_floor(rng):
    neuron = LIFNeuron(
        tau=float(rng.uniform(1.5, 12)), v_th=float(rng.uniform(0.5, 2)), v_reset=-0.4
    )
    return neuron, int(rng.integers(3, 7))


def gap(neuron):
    return neuron.v_th - neuron.v_reset


ex_02_4 = function(
    "2.4",
    firing_floor,
    draw_floor,
    outputs=("floor",),
    wrong=[
        Wrong("one step only", lambda n, steps: gap(n) * n.tau,
              "the membrane has `steps` steps to charge up, not one"),
        Wrong("without end", lambda n, steps: gap(n),
              "this is the floor for endlessly many steps; after T of them (1 - 1/tau)^T is left"),
        Wrong("1 minus forgotten", lambda n, steps: gap(n) / (1 - 1 / n.tau) ** steps,
              "the membrane charges up to x (1 - (1 - 1/tau)^T), not to x (1 - 1/tau)^T"),
        Wrong("a step too few", lambda n, steps: gap(n) / (1 - (1 - 1 / n.tau) ** (steps - 1)),
              "at t = 0 the input has entered once already: the exponent is T"),
        Wrong("a step too many", lambda n, steps: gap(n) / (1 - (1 - 1 / n.tau) ** (steps + 1)),
              "the last step is t = T-1: the input has entered T times"),
        Wrong("v_reset forgotten", lambda n, steps: n.v_th / (1 - (1 - 1 / n.tau) ** steps),
              "the membrane climbs from v_reset to v_th, and v_reset is not 0 here"),
        Wrong("product for quotient", lambda n, steps: gap(n) * (1 - (1 - 1 / n.tau) ** steps),
              "x (1 - (1 - 1/tau)^T) = v_th - v_reset: divide to find x"),
        Wrong("sign of v_reset", lambda n, steps: (
            (n.v_th + n.v_reset) / (1 - (1 - 1 / n.tau) ** steps)),
              "the way from v_reset up to v_th is v_th - v_reset"),
        Wrong("1/tau for 1 - 1/tau", lambda n, steps: gap(n) / (1 - (1 / n.tau) ** steps),
              "V keeps 1 - 1/tau of itself from step to step"),
    ],
)  # fmt: skip

# --- 2.5 read a plot ----------------------------------------------------------------------------

RIDDLE = LIFNeuron(tau=5.0, v_th=1.0, reset="soft")
RIDDLE_INPUT = np.array([4.0, 4.0, 6.0, 0.0, 0.0, 7.0, 6.0, 1.0])


def riddle():
    """What the figure of RIDDLE tells."""
    s, cache = lif_forward(RIDDLE_INPUT, neuron=RIDDLE)
    drop = (cache.h - membrane_after_reset(cache))[s == 1][0]
    return {
        "spikes": s.sum(),
        "first spike": np.flatnonzero(s)[0],
        "drop at a spike": drop,
        "reset": RIDDLE.reset,
        "share kept": 1 - 1 / RIDDLE.tau,
    }


ex_02_5 = prediction(
    "2.5",
    riddle,
    name="read_plot",
    tolerance=0.05,
    choices=("hard", "soft"),
    wrong=[
        Wrong("steps counted from 1", lambda: {"first spike": riddle()["first spike"] + 1},
              "steps count from 0, as the axis does"),
        Wrong("height for drop", lambda: {"drop at a spike": lif_forward(
            RIDDLE_INPUT, neuron=RIDDLE)[1].h[1]},
              "the drop is the length of the dotted line, from H down to V"),
        Wrong("another reset", lambda: {"reset": "hard"},
              "after a hard reset V lies on the reset's line, wherever H was; does it?"),
        Wrong("1/tau for 1 - 1/tau", lambda: {"share kept": 1 / RIDDLE.tau},
              "this is what leaks away, 1/tau; asked is what is kept"),
        Wrong("leak of 1", lambda: {"share kept": 1.0},
              "without input V falls from step to step: some of it leaks"),
        Wrong("inputs counted", lambda: {"spikes": np.count_nonzero(RIDDLE_INPUT)},
              "these are the steps with an input; a spike is a black mark at the top"),
    ],
)  # fmt: skip
