"""Exercises of chapter 01: linear and layer norm, backward by hand."""

import numpy as np

from ..layers.layernorm import layernorm_backward, layernorm_forward
from ..layers.linear import linear_backward
from .bug_hunt import bugs, find_the_bugs
from .exercise import Wrong, backward, prediction


def changed(right, **edits):
    """A backward pass with some of its three gradients edited: dx, dweight or dbias, by place."""

    def wrong(dy, cache):
        grads = list(right(dy, cache))
        for place, edit in edits.items():
            i = int(place[-1])
            grads[i] = edit(grads[i], dy, cache)
        return tuple(grads)

    return wrong


# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["BUGS", "SPREADS", "sizes"]

# --- 1.1 linear ---------------------------------------------------------------------------------

ex_01_1 = backward("1.1", "linear", wrong=[
    Wrong("input left out", changed(
        linear_backward, d1=lambda d, dy, c: np.ones_like(d) * dy.sum(axis=(0, 1)))),
    Wrong("sign flipped", changed(linear_backward, d0=lambda d, dy, c: -d)),
    Wrong("gradient missing", changed(linear_backward, d2=lambda d, dy, c: np.zeros_like(d))),
    Wrong("first step only", changed(linear_backward, d2=lambda d, dy, c: dy[0].sum(0))),
])  # fmt: skip

# --- 1.2 layer norm -----------------------------------------------------------------------------

ex_01_2 = backward("1.2", "layernorm", wrong=[
    Wrong("1/std twice", changed(layernorm_backward, d0=lambda d, dy, c: d * c.inv_std)),
    Wrong("times std, not 1/std", changed(
        layernorm_backward, d0=lambda d, dy, c: d / c.inv_std**2)),
    Wrong("sign flipped", changed(layernorm_backward, d0=lambda d, dy, c: -d)),
    Wrong("averaged, not summed", changed(
        layernorm_backward, d2=lambda d, dy, c: dy.mean(axis=(0, 1)))),
    Wrong("gradients swapped", lambda dy, cache: (
        lambda dx, dgain, dbias: (dx, dbias, dgain))(*layernorm_backward(dy, cache))),
])  # fmt: skip

# --- 1.3 predict: what layer norm cannot see ----------------------------------------------------


def symmetries():
    """How dx answers to changes of what goes in; nothing is left along two directions."""
    rng = np.random.default_rng(1)
    x, dy, gain = rng.standard_normal((3, 1, 8))

    def dx(x, dy, gain):
        _, cache = layernorm_forward(x, gain[0], np.zeros(8), eps=1e-12)
        return layernorm_backward(dy, cache)[0]

    def times(other):
        return np.vdot(other, dx(x, dy, gain)) / np.sum(dx(x, dy, gain) ** 2)

    x_hat = (x - x.mean()) / x.std()
    return {
        "sum of dx": dx(x, dy, gain).sum(),
        "sum of dx x_hat": (dx(x, dy, gain) * x_hat).sum(),
        "dy times 10": times(dx(x, 10 * dy, gain)),
        "gain times 10": times(dx(x, dy, 10 * gain)),
        "x plus 3": times(dx(x + 3, dy, gain)),
        "x times 10": times(dx(10 * x, dy, gain)),
    }


ex_01_3 = prediction(
    "1.3",
    symmetries,
    name="predict",
    wrong=[
        Wrong("a part along the ones is left", lambda: {"sum of dx": 1},
              "moving all x of a row by one number moves no output: dx has no part along the ones"),
        Wrong("a part along x_hat is left", lambda: {"sum of dx x_hat": 1},
              "stretching a row about its mean moves no output: dx has no part along x_hat"),
        Wrong("a sum that does not grow", lambda: {"dy times 10": 1},
              "a gradient is linear in dy"),
        Wrong("the gain divided out", lambda: {"gain times 10": 1},
              "the gain stands after the division: y, and so dx, grows with it"),
        Wrong("the mean seen", lambda: {"x plus 3": 3},
              "the mean is subtracted: adding 3 to a whole row changes nothing"),
        Wrong("the scale not seen", lambda: {"x times 10": 1},
              "y stays the same, so a step in x must be ten times as long for the same change"),
        Wrong("the scale upside down", lambda: {"x times 10": 10},
              "y stays the same, so a step in x must be ten times as long: dx shrinks"),
    ],
)  # fmt: skip

# --- 1.4 find the bug ---------------------------------------------------------------------------

BUGS = bugs(
    ("layernorm", "norm_without_variance"),
    ("layernorm", "norm_gain_as_bias"),
    ("layernorm", "norm_without_gain"),
)
ex_01_4 = find_the_bugs("1.4", BUGS)

# --- 1.5 read a plot: what eps does -------------------------------------------------------------

SPREADS = np.logspace(-6, 1, 71)
EPS = 1e-5


def sizes():
    """The largest |dx| of layer norm, by the standard deviation of its row."""
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, 1, 64))
    x = (x - x.mean()) / x.std()
    found = []
    for spread in SPREADS:
        _, cache = layernorm_forward(spread * x, np.ones(64), np.zeros(64), eps=EPS)
        found.append(np.abs(layernorm_backward(dy, cache)[0]).max())
    return np.array(found)


def read_sizes():
    """The two branches' slopes, and where they meet: at √eps."""
    log_x, log_y = np.log10(SPREADS), np.log10(sizes())
    wide, narrow = log_x > -1, log_x < -4.5
    return {
        "slope, right": np.polyfit(log_x[wide], log_y[wide], 1)[0],
        "slope, left": np.polyfit(log_x[narrow], log_y[narrow], 1)[0],
        "bend": np.log10(EPS) / 2,
        "largest": log_y.max(),
    }


ex_01_5 = prediction(
    "1.5",
    read_sizes,
    name="read_sizes",
    tolerance=0.2,
    wrong=[
        Wrong("rising for falling", lambda: {"slope, right": 1},
              "to the right the curve falls: its slope is negative"),
        Wrong("the variance for its root", lambda: {"slope, right": -2},
              "count again: one power of ten to the right, and how many down?"),
        Wrong("the left branch falls too", lambda: {"slope, left": -1},
              "to the left the curve is flat: eps, and not the variance, stands under the root"),
        Wrong("bend at eps", lambda: {"bend": -5},
              "eps is compared with a variance, and the axis shows its root: √eps"),
        Wrong("the right end for the top", lambda: {"largest": read_sizes()["largest"] - 3.5},
              "the curve is highest on the left"),
    ],
)  # fmt: skip
