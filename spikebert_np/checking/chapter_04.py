"""Exercises of chapter 04: backpropagation through time, and through the reset."""

from dataclasses import replace

import numpy as np

from ..layers.lif import LIFNeuron, lif_backward, lif_forward
from .bug_hunt import bugs, find_the_bugs
from .exercise import Wrong, backward, prediction
from .gradcheck import check_gradients
from .mutants import MUTANTS

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["BUGS", "NEURON", "flow"]

# --- 4.1 one step, 4.2 all steps, 4.3 through the reset -----------------------------------------

DETACHED = {"reset": "hard", "detach_reset": True, "decay_input": True}
ATTACHED = DETACHED | {"detach_reset": False}


def wrong_steps(variant):
    """The steps inside the bank's mutants of `lif_backward`, where they are wrong in a variant."""
    for mutant in MUTANTS:
        step = getattr(mutant.wrong, "__wrapped__", None)
        fits = all(variant.get(key, value) == value for key, value in mutant.where.items())
        if mutant.case == "lif" and step and fits:
            yield Wrong(mutant.name, step)


ex_04_1 = backward("4.1", "lif_step", variant=DETACHED, wrong=[*wrong_steps(DETACHED)])
ex_04_2 = backward("4.2", "lif", variant=DETACHED | {"surrogate": "atan"})
ex_04_3 = backward("4.3", "lif_step", name="attached_step", variant=ATTACHED,
                   wrong=[*wrong_steps(ATTACHED)])  # fmt: skip

# --- 4.4 predict: when do differences agree? ----------------------------------------------------


def agreement():
    """Whether centred differences agree with lif_backward: {setting: yes or no}."""
    x = 0.9 + 0.8 * np.random.default_rng(4).standard_normal((4, 3, 2))
    attached = LIFNeuron(tau=3.0, v_th=0.5, detach_reset=False, spiking=False)
    detached = replace(attached, detach_reset=True)

    def agree(x, neuron, *, held):
        frozen = lif_forward(x, neuron=neuron)[1] if held else None
        report = check_gradients(
            lambda x: lif_forward(x, neuron=neuron, frozen=frozen), lif_backward, x
        )
        return "yes" if report.passed else "no"

    return {
        "attached, reset moves": agree(x, attached, held=False),
        "attached, reset held": agree(x, attached, held=True),
        "detached, reset moves": agree(x, detached, held=False),
        "detached, reset held": agree(x, detached, held=True),
        "detached, reset moves, T = 1": agree(x[:1], detached, held=False),
    }


ex_04_4 = prediction(
    "4.4",
    agreement,
    name="predict",
    choices=("yes", "no"),
    wrong=[
        Wrong("the difference sees the reset", lambda: {"detached, reset moves": "yes"},
              "moving X moves S, and S moves V: the differences hold a path that a detached "
              "backward pass leaves out"),
        Wrong("what is held has no slope", lambda: {"attached, reset held": "yes"},
              "the attached pass counts the path through the reset; where the reset is held, the "
              "differences do not have it"),
        Wrong("attached is the whole derivative", lambda: {"attached, reset moves": "no"},
              "attached, the backward pass counts every path from X to S: so do the differences"),
        Wrong("held is what detached means", lambda: {"detached, reset held": "no"},
              "a detached reset is a constant, and held at its spikes it is one"),
        Wrong("one step has no reset", lambda: {"detached, reset moves, T = 1": "no"},
              "nothing reads V after the last step: with T = 1 the reset reaches no output"),
    ],
)  # fmt: skip

# --- 4.5 find the bug ---------------------------------------------------------------------------

BUGS = bugs(("lif", "slope_on_everything"), ("lif", "leak_of_tau_2"), ("lif", "no_leak"))
ex_04_5 = find_the_bugs("4.5", BUGS)

# --- 4.6 read a plot: how far back the gradient goes --------------------------------------------

STEPS = 6
NEURON = LIFNeuron(tau=5.0)
FIRE_AT = (None, 1, 3, 4)  # each neuron's only spike


def flow(neuron, steps=STEPS):
    """dX (T, n) of the spikes of the last step alone, and the spikes S (T, n)."""
    x = np.full((steps, 1, len(FIRE_AT)), 0.6)
    for i, t in enumerate(FIRE_AT):
        if t is not None and t < steps:
            x[t, 0, i] = 1.4 * neuron.tau  # enough, whatever is left of what came before
    s, cache = lif_forward(x, neuron=neuron)
    ds = np.zeros_like(x)
    ds[-1] = 1.0
    return lif_backward(ds, cache)[:, 0], s[:, 0]


def first_steps():
    """The earliest step that the last step's gradient reaches."""

    def earliest(neuron, i):
        return int(np.flatnonzero(flow(neuron)[0][:, i])[0])

    attached = replace(NEURON, detach_reset=False)
    detached = {f"detached, neuron {i}": earliest(NEURON, i) for i in range(len(FIRE_AT))}
    return detached | {"attached, neuron 1": earliest(attached, 1)}


ex_04_6 = prediction(
    "4.6",
    first_steps,
    name="read_flow",
    wrong=[
        Wrong("the step of the spike", lambda: {"detached, neuron 1": 1, "detached, neuron 2": 3,
                                                "detached, neuron 3": 4},
              "1 - S is 0 at the step of the spike itself: the gradient stops one step after it"),
        Wrong("the spike is no wall", lambda: {"detached, neuron 1": 0},
              "a hard reset wipes out what came before: beyond the spike the column is white"),
        Wrong("the last step only", lambda: {"detached, neuron 0": STEPS - 1},
              "neuron 0 never fires: the leak carries its gradient back, paler at each step"),
        Wrong("attached stops too", lambda: {"attached, neuron 1": 2},
              "through the reset a path leads past the spike; it is pale, look at t = 0 and 1"),
        Wrong("steps counted from 1", lambda: {"detached, neuron 0": 1, "attached, neuron 1": 1},
              "steps count from 0, as the axis does"),
    ],
)  # fmt: skip
