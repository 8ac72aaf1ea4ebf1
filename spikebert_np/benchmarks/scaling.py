"""How the time of a training step grows with each of its sizes, the others held at a base point.

How long a step takes hangs on how often the neurons fire, and a wider, a deeper or a longer network
does not fire as often as another one. So at each point one number c is added to the bias of every
norm before a neuron, in a student that is otherwise as it began, until as large a share of all
neurons fires as is asked for:

    s = LIF(layer norm(x W + b) + c)

The attention's own neurons have no norm; they follow q, k and v. The rate that stands beside a time
is not the one asked for, but the one of the measured step's own forward pass.

Letters: D width, T spike steps, N tokens of a batch.
"""

from typing import NamedTuple

import numpy as np

from ..analysis.firing import mean_firing_rate
from ..data.shipped import TOY, open_cache
from ..models.spikebert import spikebert_forward
from ..training.stages import new_student, student_config
from .students import SETTINGS, Student, draw_batches
from .timing import alternate, by_workers, median_seconds, ratio
from .training_step import new_step

SENTENCE_TOKENS = 24  # of every sentence, so that of a batch nothing but its size changes
SHIFTS = (-4.0, 4.0)  # c lies between them: from silence to nearly all
HALVINGS = 12


class Shape(NamedTuple):
    """The base point, where nothing else is said."""

    width: int = 128  # D
    blocks: int = 2
    steps: int = 4  # T
    tokens: int = 768  # N
    rate: float = 0.05  # the share of all neurons that should fire


AXES = {
    "width": (64, 128, 256, 384),
    "blocks": (1, 2, 4, 8),
    "steps": (1, 2, 4, 8),
    "tokens": (192, 384, 768, 1536, 3072),
    "rate": (0.0125, 0.025, 0.05, 0.1, 0.2),
}
LABELS = {
    "width": "width D",
    "blocks": "depth, encoder blocks",
    "steps": "spike steps T",
    "tokens": "tokens of a batch N",
    "rate": "share of neurons that fire",
    "workers": "threads",
}
WORKERS = (1, 2)


class Fit(NamedTuple):
    """time = factor size ** exponent."""

    exponent: float
    factor: float
    off: float  # the largest |measured / fitted - 1|


class Axis(NamedTuple):
    name: str
    label: str
    what: str  # whose time it is
    sizes: list  # along the axis
    seconds: list  # by the clock, medians
    cores: list  # of all cores, medians
    rates: list  # the measured share of neurons that fire, or none
    fit: Fit  # of seconds
    cores_fit: Fit


def fit_power(sizes, times):
    """The Fit by least squares: of all e and a, those with the least sum of squares of
    ln time - a - e ln size, so that with x = ln size and y = ln time, less their means,

    e = sum x y / sum x²,    factor = exp a,    a = mean of ln time - e times mean of ln size
    """
    x, y = np.log(sizes), np.log(times)
    exponent, a = np.polyfit(x, y, 1)
    off = np.abs(np.expm1(y - a - exponent * x)).max()
    return Fit(float(exponent), float(np.exp(a)), float(off))


def new_axis(name, label, what, base, sizes, times, rates=()):
    """The Axis of (rounds, 2) times, one a size; base: the number of the base point among them.

    Fitted are the medians of the quotients with the base point in the same round, as in `ratio`,
    times its own median: what else the machine does stretches both.
    """
    ratios = [ratio(own, times[base]) for own in times]
    seconds = [median_seconds(times[base]) * found.median for found in ratios]
    cores = [float(np.median(times[base][:, 1])) * found.cores for found in ratios]
    fits = fit_power(sizes, seconds), fit_power(sizes, cores)
    return Axis(name, label, what, list(sizes), seconds, cores, list(rates), *fits)


def shaped_student(shape):
    """A Student of this Shape that has not been trained, and whose neurons fire at its rate."""
    cache = open_cache(TOY)
    config = student_config(
        cache, width=shape.width, blocks=shape.blocks, steps=shape.steps, max_tokens=128
    )
    params = new_student(cache, config, SETTINGS)
    offsets = np.arange(0, shape.tokens + 1, SENTENCE_TOKENS)
    ids = np.resize(cache.ids, shape.tokens)  # (N,)
    low, high = SHIFTS
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        shifted = shift_norms(params, middle)
        rng = np.random.default_rng(0)
        _, seen = spikebert_forward(
            ids, offsets, shifted, config, backend="numba", rng=rng, taps=False
        )
        low, high = (middle, high) if mean_firing_rate(seen) < shape.rate else (low, middle)
    return Student("", "", config, shift_norms(params, low), ids, offsets, {})


def shift_norms(params, shift):
    """params with shift added to the bias of every norm before a neuron: head and taps have none
    behind theirs."""
    return {
        key: value + value.dtype.type(shift)
        if key.endswith("norm.bias") and not key.startswith(("head.", "taps."))
        else value
        for key, value in params.items()
    }


class ShapedStep:
    """Calling it with `run` does one training step; always on the same batch."""

    def __init__(self, shape):
        student = shaped_student(shape)
        self._step = new_step(student)
        sentences = shape.tokens // SENTENCE_TOKENS
        self._work = draw_batches(student, 1, sentences=sentences)[0]

    def __call__(self, run=map):
        return self._step(self._work, run)


def step_axes(rounds, done=lambda: None):
    """Yields the Axis of each of AXES, and last that of WORKERS. done: as of `alternate`."""
    base = Shape()
    base_step = ShapedStep(base)
    spread = by_workers(lambda step, run: step(run))
    for name, values in AXES.items():
        shapes = [base._replace(**{name: value}) for value in values]
        steps = [base_step if shape == base else ShapedStep(shape) for shape in shapes]
        sides = {i: lambda _, step=step: spread(step) for i, step in enumerate(steps)}
        times = alternate(sides, range(rounds), done)
        rates = [step().firing_rate() for step in steps]
        sizes = rates if name == "rate" else values
        place = shapes.index(base)
        yield new_axis(name, LABELS[name], "a step", place, sizes, list(times.values()), rates)
    sides = {count: by_workers(lambda step, run: step(run), count) for count in WORKERS}
    times = alternate(
        {count: lambda _, side=side: side(base_step) for count, side in sides.items()},
        range(rounds),
        done,
    )
    rates = [base_step().firing_rate()] * len(WORKERS)
    yield new_axis("workers", LABELS["workers"], "a step", 0, WORKERS, list(times.values()), rates)
