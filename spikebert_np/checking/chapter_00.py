"""Exercises of chapter 00: how to check a gradient."""

import numpy as np

from ..layers.layernorm import layernorm_backward, layernorm_forward
from ..layers.surrogate import atan_primitive, heaviside
from .bug_hunt import bugs, find_the_bugs
from .differences import numerical_vjp
from .exercise import Wrong, backward, function, prediction
from .report import compare

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["BUGS", "STEPS", "difference_errors"]

# --- 0.1 centred differences --------------------------------------------------------------------


def draw_function(rng):
    """f of (2, 3) into (2, 4), a point and an upstream gradient."""
    weight = rng.standard_normal((3, 4))

    def f(x):
        return np.sin(x @ weight) + np.square(x).sum(axis=1, keepdims=True)

    return f, rng.standard_normal((2, 3)), rng.standard_normal((2, 4))


def wrong_vjp(slope=None, step=1e-5):
    """numerical_vjp by another formula: slope(f, x, moved, h, dy), `moved` being h at one entry."""

    def vjp(f, x, dy):
        dx = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            moved = np.zeros_like(x)
            moved[index] = step
            dx[index] = slope(f, x, moved, step, dy)
        return dx

    return vjp


def one_sided(f, x, moved, h, dy):
    return np.sum((f(x + moved) - f(x)) * dy) / h


def each_on_top(f, x, dy, h=1e-5):
    """Every entry is moved and none is moved back."""
    x, dx = x.copy(), np.zeros_like(x)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= h
        dx[index] = np.sum((above - f(x)) * dy) / h
        x[index] += 2 * h
    return dx


def rows_moved(f, x, dy, h=1e-5):
    """A whole row is moved at once: the index runs over the first axis alone."""
    dx = np.zeros_like(x)
    for i in range(len(x)):
        moved = np.zeros_like(x)
        moved[i] = h
        dx[i] = np.sum((f(x + moved) - f(x - moved)) * dy) / (2 * h)
    return dx


ex_00_1 = function(
    "0.1",
    numerical_vjp,
    draw_function,
    outputs=("dx",),
    bound=1e-8,
    hides=("differences",),
    wrong=[
        *(
            Wrong("one-sided", wrong_vjp(one_sided, step),
                  "the slope of f(x + h) - f(x) errs by O(h): take f(x + h) - f(x - h), over 2 h")
            for step in (1e-3, 1e-4, 1e-5, 1e-6)
        ),
        Wrong("2 missing", wrong_vjp(
            lambda f, x, e, h, dy: np.sum((f(x + e) - f(x - e)) * dy) / h),
              "x + h and x - h lie 2 h apart: divide by 2 h"),
        Wrong("not divided by the step", wrong_vjp(
            lambda f, x, e, h, dy: np.sum((f(x + e) - f(x - e)) * dy)),
              "a slope is a difference over a distance: divide by 2 h"),
        Wrong("upstream ignored", wrong_vjp(
            lambda f, x, e, h, dy: np.sum(f(x + e) - f(x - e)) / (2 * h))),
        Wrong("sign flipped", wrong_vjp(
            lambda f, x, e, h, dy: np.sum((f(x - e) - f(x + e)) * dy) / (2 * h))),
        Wrong("averaged over the outputs", wrong_vjp(
            lambda f, x, e, h, dy: np.mean((f(x + e) - f(x - e)) * dy) / (2 * h)),
              "the outputs' shares add up: sum over all of y's entries, not their mean"),
        Wrong("not moved back", each_on_top,
              "put an entry back before the next is moved: one entry at a time"),
        Wrong("a whole row moved", rows_moved,
              "one entry is moved at a time: np.ndindex(x.shape) gives the index of each"),
        *(
            Wrong("step too wide", wrong_vjp(
                lambda f, x, e, h, dy: np.sum((f(x + e) - f(x - e)) * dy) / (2 * h), step),
                  "the step is so wide that the curve bends within it: take h = 1e-5")
            for step in (0.1, 0.01)
        ),
    ],
)  # fmt: skip

# --- 0.2 read a plot: the error over the step ---------------------------------------------------

STEPS = np.logspace(-13, -0.5, 60)


def difference_errors():
    """{formula: the error of d sin(x) / dx at x = 1 by step}."""
    right = (np.sin(1 + STEPS) - np.sin(1)) / STEPS
    centred = (np.sin(1 + STEPS) - np.sin(1 - STEPS)) / (2 * STEPS)
    return {"one-sided": np.abs(right - np.cos(1)), "centred": np.abs(centred - np.cos(1))}


def read_errors():
    """Where truncation and rounding cross: h near eps^(1/2) and eps^(1/3)."""
    eps = np.finfo(np.float64).eps
    wide = (STEPS > 1e-4) & (STEPS < 1e-1)  # where truncation rules
    slopes = {
        name: np.polyfit(np.log10(STEPS[wide]), np.log10(error[wide]), 1)[0]
        for name, error in difference_errors().items()
    }
    return {
        "order, one-sided": slopes["one-sided"],
        "order, centred": slopes["centred"],
        "best step, one-sided": np.log10(eps) / 2,
        "best step, centred": np.log10(eps) / 3,
    }


ex_00_2 = prediction(
    "0.2",
    read_errors,
    name="read_errors",
    tolerance=0.2,
    wrong=[
        Wrong("the two curves exchanged", lambda: {"order, one-sided": 2, "order, centred": 1},
              "the centred difference's error falls faster: h / 10, error / 100"),
        Wrong("slope of the left branch", lambda: {"order, one-sided": -1, "order, centred": -1},
              "this is the left branch, where rounding rules: its error grows as h shrinks"),
        Wrong("the smallest step", lambda: {"best step, one-sided": -13, "best step, centred": -13},
              "the smallest step is the worst: look for the lowest point of each curve"),
        Wrong("the error's power for the step's",
              lambda: {"best step, one-sided": -8, "best step, centred": -11},
              "read the lowest point's place on the axis below, not its height"),
        Wrong("best steps exchanged",
              lambda: {"best step, one-sided": -5.2, "best step, centred": -7.8},
              "the centred difference's truncation falls faster, so its best step is wider"),
        Wrong("the step itself",
              lambda: {"best step, one-sided": 1e-8, "best step, centred": 1e-5},
              "asked is the power of ten, as the axis has it: -3 for 10⁻³"),
        Wrong("one step for both",
              lambda: {"best step, one-sided": -8, "best step, centred": -8},
              "the curves have their lowest points at different steps"),
    ],
)  # fmt: skip

# --- 0.3 a backward pass of one line ------------------------------------------------------------

ex_00_3 = backward(
    "0.3",
    "tanh",
    wrong=[
        Wrong("upstream ignored", lambda dy, cache: 1 - cache.y**2),
        Wrong("upstream added", lambda dy, cache: dy + (1 - cache.y**2)),
        Wrong("passed straight through", lambda dy, cache: dy),
        Wrong("sign flipped", lambda dy, cache: -dy * (1 - cache.y**2)),
        Wrong("sign flipped", lambda dy, cache: dy * (cache.y**2 - 1)),
        Wrong("gradient missing", lambda dy, cache: np.zeros_like(dy)),
    ],
)

# --- 0.4 predict: what differences say of a spike -----------------------------------------------


def spike_differences(h=1e-5):
    """Centred differences of Θ and of its smooth twin; the verdict on zeros; a special upstream."""

    def difference(f, u):
        return float((f(np.float64(u + h)) - f(np.float64(u - h))) / (2 * h))

    x = np.random.default_rng(0).standard_normal((2, 5))
    _, cache = layernorm_forward(x, np.ones(5), np.zeros(5))
    zeros = np.zeros(3)
    return {
        "spike at 0.3": difference(heaviside, 0.3),
        "spike at 0": difference(heaviside, 0.0),
        "twin at 0": difference(lambda u: atan_primitive(u, 2.0), 0.0),
        "zeros against zeros": compare("", zeros, zeros, 1e-7).status,
        "layer norm, all ones": np.abs(layernorm_backward(np.ones((2, 5)), cache)[0]).max(),
    }


ex_00_4 = prediction(
    "0.4",
    spike_differences,
    name="predict",
    wrong=[
        Wrong("the spike for its slope", lambda: {"spike at 0.3": 1},
              "1 is the value of Θ there. Both f(u + h) and f(u - h) are 1: what is left?"),
        Wrong("the twin's slope for the spike's",
              lambda: {"spike at 0.3": 1 / (1 + 0.09 * np.pi**2)},
              "this is the surrogate's slope; the difference is taken of the hard spike"),
        Wrong("no jump seen", lambda: {"spike at 0": 0},
              "at 0 the two points lie on both sides of the jump: (1 - 0) / (2 h)"),
        Wrong("2 missing", lambda: {"spike at 0": 1e5},
              "u + h and u - h lie 2 h apart: 1 / (2 h)"),
        Wrong("the derivative for the difference", lambda: {"spike at 0": np.inf},
              "the slope of the jump is infinite, but h = 1e-5 is not 0: (1 - 0) / (2 h)"),
        Wrong("the twin's height for its slope", lambda: {"twin at 0": 0.5},
              "1/2 is σ(0); its slope there is alpha / 2"),
        Wrong("1/2 left out", lambda: {"twin at 0": 2},
              "alpha = 2 stands inside; the slope of σ at 0 is alpha / 2"),
        Wrong("zeros agree", lambda: {"zeros against zeros": "PASS"},
              "they agree, and it proves nothing: any wrong pass that returns zero agrees too"),
        Wrong("ones come through", lambda: {"layer norm, all ones": 1},
              "each row of layer norm's output sums to a constant: moving x cannot move the sum"),
    ],
)  # fmt: skip

# --- 0.5 find the bug ---------------------------------------------------------------------------

BUGS = bugs(
    ("linear", "linear_weight_transposed"),
    ("linear", "linear_bias_averaged"),
    ("linear", "linear_weight_of_the_last_step"),
)
ex_00_5 = find_the_bugs("0.5", BUGS)
