"""Exercises of chapter 03: why it does not learn, and surrogates."""

from dataclasses import replace

import numpy as np

from ..layers.lif import LIFNeuron, lif_backward, lif_forward
from ..layers.surrogate import (
    SURROGATES,
    atan_derivative,
    fast_sigmoid_derivative,
    fast_sigmoid_primitive,
)
from .bug_hunt import bugs, find_the_bugs
from .exercise import Wrong, function, prediction

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = [
    "BUGS", "END", "INPUT", "NEURON", "START", "TARGET", "TWIN", "UNIT", "climb",
    "count_spikes", "one_neuron", "two_layers",
]  # fmt: skip

# --- 3.1 read a plot: the staircase -------------------------------------------------------------

NEURON = LIFNeuron(tau=4.0)
INPUT = np.array([2.0, 3.0, 2.0, 4.0]).reshape(4, 1, 1)  # (T, 1, 1)
TARGET = 2


def count_spikes(w, neuron=NEURON):
    """The spikes in four steps of each neuron whose input is w X. w: (n,), returns (n,)."""
    s, _ = lif_forward(INPUT * w, neuron=neuron)  # (T, 1, n)
    return s.sum(axis=(0, 1))


def read_staircase():
    """What the figure of `count_spikes` tells of L = (n - TARGET)² / 2."""

    def loss(w):
        return float((count_spikes(np.array([w]))[0] - TARGET) ** 2 / 2)

    def slope(w, h):
        return (loss(w + h) - loss(w - h)) / (2 * h)

    w = 0.4
    for _ in range(100):
        w -= 0.05 * slope(w, 1e-5)
    sent = set(count_spikes(np.linspace(0, 2.5, 2501)))
    return {
        "loss at 0.4": loss(0.4),
        "slope at 0.4": slope(0.4, 1e-5),
        "weight after 100 steps": w,
        "never sent": min(set(range(5)) - sent),
        "wide difference at 0.4": slope(0.4, 0.2),
    }


ex_03_1 = prediction(
    "3.1",
    read_staircase,
    name="read_staircase",
    wrong=[
        Wrong("the loss for its slope", lambda: {"slope at 0.4": 2.0},
              "2 is the height of the loss there; a small step to either side changes nothing"),
        Wrong("the error for the slope", lambda: {"slope at 0.4": -2.0},
              "n - 2 is dL/dn; the chain rule goes on by dn/dw, and n does not change with w"),
        Wrong("carried over the edge", lambda: {"weight after 100 steps": 0.89},
              "the weight moves by the slope alone, and does not know where the edges are"),
        Wrong("the square's half forgotten", lambda: {"loss at 0.4": 4.0},
              "L = (n - 2)² / 2"),
        Wrong("the small difference again", lambda: {"wide difference at 0.4": 0.0},
              "with h = 0.2 the right point is w = 0.6, beyond the first edge"),
        Wrong("2 missing", lambda: {"wide difference at 0.4": -7.5},
              "w + h and w - h lie 2 h = 0.4 apart"),
        Wrong("difference turned round", lambda: {
            "wide difference at 0.4": 3.75},
              "f(w + h) - f(w - h): the loss is lower on the right, so the difference is negative"),
        Wrong("the spikes' slope for the loss's", lambda: {"wide difference at 0.4": 2.5},
              "this is the difference of n; asked is that of L = (n - 2)² / 2, which falls"),
        Wrong("4 is sent", lambda: {"never sent": 4},
              "beyond w = 2 each single input fires; look which number is jumped over"),
    ],
)  # fmt: skip

# --- 3.2 from the curve to its slope ------------------------------------------------------------


def draw_points(rng):
    """u on both sides of 0, and an alpha that is neither 1 nor 2."""
    return rng.normal(0, 1.5, 12), float(rng.uniform(2.5, 4))


def fast(top=lambda a: a / 2, bottom=lambda z: (1 + np.abs(z)) ** 2):
    """fast_sigmoid_derivative with another numerator or denominator."""
    return lambda u, alpha: top(alpha) / bottom(alpha * u)


ex_03_2 = function(
    "3.2",
    fast_sigmoid_derivative,
    draw_points,
    outputs=("slope",),
    wrong=[
        Wrong("inner derivative left out", fast(top=lambda a: 1 / 2),
              "z = alpha u: the chain rule multiplies by dz/du = alpha"),
        Wrong("1/2 left out", fast(top=lambda a: a),
              "the curve is (... + 1) / 2, and so is its slope divided by 2"),
        Wrong("alpha squared", fast(top=lambda a: a * a / 2)),
        Wrong("sign left in", lambda u, a: np.sign(u) * fast_sigmoid_derivative(u, a),
              "d|z|/dz = sign(z) cancels against the sign of z: the curve rises on both sides"),
        Wrong("one term of the quotient rule", fast(bottom=lambda z: 1 + np.abs(z)),
              "the denominator moves too: (1 + |z|) - z d|z|/dz over (1 + |z|)² leaves "
              "1 / (1 + |z|)²"),
        Wrong("|u| dropped", fast(bottom=lambda z: (1 + z) ** 2),
              "the denominator holds |u|: the slope is the same at u and at -u"),
        Wrong("plus for minus in the quotient rule", lambda u, a: (
            a / 2 * (1 + 2 * np.abs(a * u)) / (1 + np.abs(a * u)) ** 2),
              "(f/g)' = (f' g - f g') / g²: with a minus the |z| terms cancel"),
        Wrong("alpha left out", lambda u, a: fast_sigmoid_derivative(u, 1.0)),
        Wrong("curve for slope", fast_sigmoid_primitive),
        Wrong("another surrogate", atan_derivative),
    ],
)  # fmt: skip

# --- 3.3 from a slope to its curve --------------------------------------------------------------


def exponential_pair(u, alpha):
    """The area of exp(-α|u|), and σ(u) whose slope is that bump over its area.

    The bump of SLAYER (Shrestha and Orchard 2018, arXiv 1810.08646), to a constant.
    """
    tail = np.exp(-alpha * np.abs(u)) / 2
    return 2 / alpha, np.where(u < 0, tail, 1 - tail)


def exponential(area=lambda a: 2 / a, curve=lambda sigma, u, a: sigma):
    """exponential_pair with another area, or a curve made from the right one."""
    return lambda u, alpha: (area(alpha), curve(exponential_pair(u, alpha)[1], u, alpha))


ex_03_3 = function(
    "3.3",
    exponential_pair,
    draw_points,
    outputs=("area", "curve"),
    wrong=[
        Wrong("half of the area", exponential(area=lambda a: 1 / a),
              "1 / alpha is the area of one side; there are two"),
        Wrong("half of the area", exponential(lambda a: 1 / a, lambda c, u, a: 2 * c),
              "1 / alpha is the area of one side; there are two"),
        Wrong("area upside down", exponential(area=lambda a: a / 2),
              "a larger alpha makes a narrower bump: its area shrinks"),
        Wrong("not divided by the area", exponential(curve=lambda c, u, a: c * 2 / a),
              "the curve must end at 1: divide the bump by its area before it is integrated"),
        Wrong("divided by the area twice", exponential(curve=lambda c, u, a: c * a / 2),
              "the curve must end at 1: divide by the area once"),
        Wrong("constant of integration missing", exponential(
            curve=lambda c, u, a: np.where(u < 0, c, c - 1)),
              "for u >= 0 the curve starts from what the left side has summed up, 1/2"),
        Wrong("constant of integration missing", exponential(
            curve=lambda c, u, a: np.where(u < 0, c, c - 0.5)),
              "for u >= 0 the curve starts from what the left side has summed up, 1/2"),
        Wrong("one branch for both sides", exponential(
            curve=lambda c, u, a: np.exp(-a * np.abs(u)) / 2),
              "this rises and falls again: on the right the curve goes on rising, from 1/2 to 1"),
        Wrong("counted from the middle", exponential(curve=lambda c, u, a: c - 0.5),
              "the curve starts at 0 far to the left, and is 1/2 in the middle"),
        Wrong("the right side's sign", exponential(
            curve=lambda c, u, a: np.where(u < 0, c, 2 - c)),
              "to the right of 0 the curve still lies below 1: 1 - exp(-alpha u) / 2"),
        Wrong("one branch for both sides", exponential(
            curve=lambda c, u, a: np.exp(a * u) / 2),
              "|u| is -u on the left and u on the right: integrate each side by itself"),
        Wrong("falls, and should rise", exponential(curve=lambda c, u, a: 1 - c),
              "the bump is positive, so the curve rises from 0 to 1"),
        Wrong("slope for curve", exponential(
            curve=lambda c, u, a: np.exp(-a * np.abs(u)) * a / 2),
              "this is the bump, divided by its area; the curve is its integral from the left"),
        Wrong("alpha left out", lambda u, a: exponential_pair(u, 1.0)),
    ],
)  # fmt: skip

# --- 3.4 read a plot: five surrogates -----------------------------------------------------------


def read_bumps():
    """What the figure of the surrogates at alpha = 2 tells, and what their areas do."""

    def slopes(u, alpha=2.0):
        u = np.array([u])
        return {name: float(pair.derivative(u, alpha)[0]) for name, pair in SURROGATES.items()}

    u = np.linspace(-2, 2, 4001)
    reached = u[SURROGATES["triangle"].derivative(u, 2.0) > 0]
    at_minus_1 = slopes(-1.0)
    return {
        "peak of sigmoid": slopes(0.0)["sigmoid"],
        "peak of atan at alpha = 4": slopes(0.0, 4.0)["atan"],
        "zero at u = -0.8": sum(slope == 0 for slope in slopes(-0.8).values()),
        "largest at u = -1": max(at_minus_1, key=at_minus_1.get),
        "lowest H, triangle": 1.0 + reached[0],
    }


ex_03_4 = prediction(
    "3.4",
    read_bumps,
    name="read_bumps",
    tolerance=0.05,
    choices=tuple(SURROGATES),
    wrong=[
        Wrong("the curve's height for the slope's peak", lambda: {"peak of sigmoid": 1.0},
              "the curve rises to 1; its slope is read in the left panel"),
        Wrong("wider, not taller", lambda: {"peak of atan at alpha = 4": 1.0},
              "twice the alpha makes the bump half as wide, and its area stays 1"),
        Wrong("alpha divides", lambda: {"peak of atan at alpha = 4": 0.5},
              "a larger alpha makes a steeper curve: the peak grows"),
        Wrong("small taken for zero", lambda: {"zero at u = -0.8": 5},
              "two bumps end; the other three only grow small"),
        Wrong("none is zero", lambda: {"zero at u = -0.8": 0},
              "two of the bumps end before u = -0.8"),
        Wrong("the tallest for the widest", lambda: {"largest at u = -1": "triangle"},
              "a tall bump of area 1 is narrow: at u = -1 the triangle is over"),
        Wrong("the default for the largest", lambda: {"largest at u = -1": "atan"},
              "at u = -1 one of the lines lies clearly above the other two"),
        Wrong("u for H", lambda: {"lowest H, triangle": -0.5},
              "this is u; H = u + v_th, and v_th = 1"),
        Wrong("the threshold", lambda: {"lowest H, triangle": 1.0},
              "the bump begins below the threshold: a neuron that nearly fired gets a gradient"),
    ],
)  # fmt: skip

# --- 3.5 find the bug ---------------------------------------------------------------------------

BUGS = bugs(
    ("lif", "slope_after_the_reset"),
    ("lif", "slope_at_h"),
    ("lif", "sigmoid_for_every_surrogate"),
)
ex_03_5 = find_the_bugs("3.5", BUGS)

# --- 3.6 predict: is it the gradient of something? ----------------------------------------------

UNIT = LIFNeuron(tau=1.0)  # one step: H = X
TWIN = replace(UNIT, spiking=False)
START, END = np.array([1.1, 0.1]), np.array([1.9, 0.9])  # of (w1, w2); no spike comes or goes


def one_neuron(w1, w2, neuron):
    """S = fire(w1 + w2/2), and its gradient by w1 and w2. All (1, 1, n)."""
    s, cache = lif_forward(w1 + w2 / 2, neuron=neuron)
    dx = lif_backward(np.ones_like(s), cache)
    return s, dx, dx / 2


def two_layers(w1, w2, neuron):
    """S2 = fire(w2 S1) with S1 = fire(w1), and its gradient by w1 and w2. All (1, 1, n)."""
    s1, cache1 = lif_forward(w1, neuron=neuron)
    s2, cache2 = lif_forward(w2 * s1, neuron=neuron)
    dx2 = lif_backward(np.ones_like(s2), cache2)
    dw2 = dx2 * s1
    dw1 = lif_backward(dx2 * w2, cache1)
    return s2, dw1, dw2


def true_gradient(w1, w2, neuron, h=1e-5):
    """The same as `two_layers`, its gradient by centred differences."""

    def s2(w1, w2):
        return two_layers(w1, w2, neuron)[0]

    dw1 = (s2(w1 + h, w2) - s2(w1 - h, w2)) / (2 * h)
    dw2 = (s2(w1, w2 + h) - s2(w1, w2 - h)) / (2 * h)
    return s2(w1, w2), dw1, dw2


def climb(network, neuron, first, steps=1000):
    """∫ dL/dw dw from START to END, one weight moved after the other; the running sum (2 steps,).

    first: 0 moves w1 first, 1 moves w2 first.
    """
    middle = (np.arange(steps) + 0.5) / steps  # of each small step
    here, height, heights = START.copy(), 0.0, []
    for i in (first, 1 - first):
        w = [np.full((1, 1, steps), value) for value in here]
        w[i] = (START[i] + middle * (END[i] - START[i])).reshape(1, 1, steps)
        slope = network(*w, neuron)[1 + i].ravel()
        rise = height + np.cumsum(slope) * (END[i] - START[i]) / steps
        heights.append(rise)
        here[i], height = END[i], rise[-1]
    return np.concatenate(heights)


def both_ways():
    """Whether both ways from START to END climb equally high."""

    def equal(network, neuron):
        a, b = (climb(network, neuron, first)[-1] for first in (0, 1))
        return "yes" if abs(a - b) < 1e-6 else "no"

    return {
        "true gradient": equal(true_gradient, UNIT),
        "smooth twin": equal(two_layers, TWIN),
        "surrogate, one neuron": equal(one_neuron, UNIT),
        "surrogate, two layers": equal(two_layers, UNIT),
        "climb of the true gradient": climb(true_gradient, UNIT, 0)[-1],
    }


ex_03_6 = prediction(
    "3.6",
    both_ways,
    name="predict",
    choices=("yes", "no"),
    wrong=[
        Wrong("zero is no gradient", lambda: {"true gradient": "no"},
              "zero is the gradient of a constant, and here the output is one"),
        Wrong("the twin is a surrogate only", lambda: {"smooth twin": "no"},
              "the twin fires σ, and the backward pass has σ': that is its true gradient"),
        Wrong("never the gradient of anything", lambda: {"surrogate, one neuron": "no"},
              "σ'(w1 + w2/2 - 1) times (1, 1/2) is the gradient of σ(w1 + w2/2 - 1)"),
        Wrong("always the gradient of something", lambda: {"surrogate, two layers": "yes"},
              "dL/dw1 grows with w2, but dL/dw2 does not change with w1: mixed derivatives of "
              "one function are equal"),
        Wrong("a true gradient that climbs", lambda: {"climb of the true gradient": 1.0},
              "no spike comes or goes on the way: the output is the same at both ends"),
    ],
)  # fmt: skip
