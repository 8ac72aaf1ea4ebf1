"""A case: one backward pass of the package, with random problems on which to check it.

    @case(linear_forward, linear_backward)
    def linear(draw):
        return Problem({"x": draw.normal(draw.T, 4, 5), "weight": ..., "bias": ...})

Nothing is drawn that hides mistakes: T >= 3, tau != 2, no unit gain, no zero bias, no two axes of
one size where a mistake could mix them up, and neurons that fire, some but not always.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from .draw import Draw
from .gradcheck import DETACHED, check_gradients, fires_enough
from .passes import flatten, rebuilt
from .report import FAIL, PASS, GradReport, Row, compare

BACKENDS = ("numpy", "numba", "events")
# max|a - b| / max(max|a|, max|b|), the more the deeper: rounding and truncation add up.
BOUNDS = {"layer": 1e-7, "block": 1e-6, "model": 1e-5}
# float32 against float64, both by our own backward pass. A rounding errs by up to 6e-8 of the term;
# a layer's number goes through some tens of them, on terms a few times its own size, and that the
# errors cancel is not counted on: 1e-5. A block's layer norms and surrogates divide by small
# numbers, and multiply the errors: ten times that. In a model those of two blocks add up.
FLOAT32_BOUNDS = {"layer": 1e-5, "block": 1e-4, "model": 2e-4}
DRAWS = 400


class Problem(NamedTuple):
    """Arguments of one forward pass."""

    inputs: dict  # name -> array, each with a gradient
    # Keyword arguments without one; `rng` is the seed of a Generator.
    settings: dict = MappingProxyType({})
    params: dict | None = None  # the dict of parameters, where the function takes one
    usable: Callable | None = None  # of the forward pass' cache: whether the draw tests anything
    zero: tuple = ()  # arrays whose gradient is zero by theory

    @property
    def names(self):
        """Of the arguments that have a gradient."""
        return (*self.inputs, *(["params"] if self.params is not None else []))

    @property
    def args(self):
        """The arguments that have a gradient."""
        return (*self.inputs.values(), *([self.params] if self.params is not None else []))


class Case(NamedTuple):
    """One backward pass and how to check it."""

    name: str
    forward: Callable
    backward: Callable
    draw: Callable  # of a Draw: a Problem
    floor: str  # layer, block or model
    variants: tuple  # dicts: settings of which none may go unchecked
    adapt: Callable | None  # (forward, backward) -> a pair that follows the convention
    directional: bool
    events: bool  # whether it has an event-driven twin beside the compiled one

    @property
    def backends(self):
        """("numpy", "numba") where there is a twin, with "events" where it goes by events."""
        forward, _ = self.pair()
        twin = "backend" in inspect.signature(forward).parameters
        return BACKENDS[: 1 + twin + self.events]

    def variants_with(self, settings):
        """The variants that do not contradict these settings, each with them added."""
        return [
            variant | settings
            for variant in self.variants
            if all(variant.get(key, value) == value for key, value in settings.items())
        ]

    def pair(self, forward=None, backward=None):
        """forward and backward as a pair that follows the convention, each ours where None."""
        pair = forward or self.forward, backward or self.backward
        return self.adapt(*pair) if self.adapt else pair


def case(forward, backward, *, floor="layer", variants=({},), adapt=None, directional=False,
         events=False):  # fmt: skip
    """Make a Case of a function that draws its Problem; the case is called as the function is."""

    def made(draw):
        name = draw.__name__.strip("_")
        return Case(
            name, forward, backward, draw, floor, tuple(variants), adapt, directional, events
        )

    return made


class Run(NamedTuple):
    """A case with its numbers drawn, ready for the functions under test."""

    case: Case
    problem: Problem
    frozen: object  # the cache whose spikes drive the reset; None where it is attached
    seed: int

    def call(self, forward, args, *, backend="numpy", **overrides):
        """y, cache = forward(*args) with the problem's settings."""
        settings = dict(self.problem.settings) | overrides
        if "rng" in settings:
            settings["rng"] = np.random.default_rng(settings["rng"])
        if "neuron" in settings:
            settings.setdefault("frozen", self.frozen)
        if "numba" in self.case.backends:
            settings["backend"] = backend
        names = self.problem.names
        return forward(**dict(zip(names, args, strict=True)), **settings)


def prepare(chosen, seed, variant=None, *, T=None, tau=None):
    """Draw until the numbers test something: a Run. Raises ValueError after DRAWS draws."""
    variant = chosen.variants[0] if variant is None else variant
    forward, _ = chosen.pair()
    for attempt in range(DRAWS):
        problem = chosen.draw(Draw([seed, attempt], T=T, tau=tau, variant=variant))
        run = Run(chosen, problem, None, seed)
        neuron = problem.settings.get("neuron")
        _, cache = run.call(forward, problem.args)
        good = fires_enough(cache) and (problem.usable is None or problem.usable(cache))
        if good and neuron is not None:
            hard = replace(neuron, spiking=True)
            good = fires_enough(run.call(forward, problem.args, neuron=hard)[1])
        if good:
            # A detached reset is a constant: it is held while arrays are moved.
            detached = neuron is not None and neuron.detach_reset
            return run._replace(frozen=cache if detached else None)
    raise ValueError(f"{chosen.name}: no usable numbers in {DRAWS} draws, T = {T}, tau = {tau}")


def check_run(run, *, forward=None, backward=None, backend="numpy"):
    """A GradReport of one Run; forward and backward are ours where None.

    A forward pass that is not our NumPy reference is compared with it: the row `y`.
    """
    chosen, problem = run.case, run.problem
    pair = chosen.pair(forward, backward)
    settings = problem.settings
    report = check_gradients(
        lambda *args: run.call(pair[0], args, backend=backend),
        pair[1],
        *problem.args,
        names=problem.names,
        bound=BOUNDS[chosen.floor],
        seed=[run.seed, 1],
        directional=chosen.directional,
        title=f"{chosen.name} ({backend})" if "numba" in chosen.backends else chosen.name,
        constants=_constants(problem),
        offsets=settings.get("offsets"),
        zero=problem.zero,
    )
    # A case holds the detached reset, where there is one.
    report = report._replace(notes=tuple(note for note in report.notes if note != DETACHED))
    if forward is None and backend == "numpy":
        return report
    y, _ = run.call(pair[0], problem.args, backend=backend)
    expected, _ = run.call(chosen.pair()[0], problem.args)
    row = compare("y", y, expected, BOUNDS[chosen.floor])
    evidence = report.evidence
    evidence = evidence._replace(
        ours=evidence.ours | {"y": y}, expected=evidence.expected | {"y": expected}
    )
    return report._replace(rows=(row, *report.rows), evidence=evidence)


def check_float32(run, *, backend="numpy"):
    """A GradReport of both passes in float32 against the NumPy reference in float64."""
    chosen, problem = run.case, run.problem
    forward, backward = chosen.pair()
    y64, cache = run.call(forward, problem.args)
    dy = np.random.default_rng([run.seed, 1]).standard_normal(np.shape(y64))
    expected = flatten(problem.names, backward(dy, cache), problem.args)
    single = _as_float32([problem.args, problem.settings, run.frozen])
    args, settings, frozen = single
    run32 = run._replace(problem=problem._replace(settings=settings), frozen=frozen)
    y, cache = run32.call(forward, args, backend=backend)
    ours = flatten(problem.names, backward(_as_float32(dy), cache), args)
    ours, expected = {"y": np.asarray(y)} | ours, {"y": np.asarray(y64)} | expected
    bound = FLOAT32_BOUNDS[chosen.floor]
    scale = max(np.abs(gradient).max() for name, gradient in expected.items() if name != "y")
    rows = []
    for name, gradient in expected.items():
        if name in run.problem.zero:
            error = float(np.abs(ours[name]).max() / scale)
            status = PASS if error < bound else FAIL
            row = Row(name, gradient.shape, error, bound, status, note="zero by theory")
        else:
            row = compare(name, ours[name], gradient, bound)
        if ours[name].dtype != np.float32:
            row = row._replace(status=FAIL, note=f"the dtype is {ours[name].dtype}")
        rows.append(row)
    return GradReport(f"{chosen.name} ({backend}, float32)", tuple(rows))


def _as_float32(value):
    """Nested tuples, lists and dicts with their float64 arrays, and no others, made float32."""

    def narrow(leaf):
        double = isinstance(leaf, np.ndarray | np.float64) and leaf.dtype == np.float64
        return leaf.astype(np.float32) if double else leaf

    return rebuilt(value, narrow)


def _constants(problem):
    """{name: number}: the sizes and settings that a mistake may have put in or left out."""
    constants = {}
    first = next(iter(problem.inputs.values()), None)
    settings = dict(problem.settings)
    neuron = settings.pop("neuron", None)
    if neuron is not None:
        constants |= {"tau": neuron.tau, "v_th": neuron.v_th, "alpha": neuron.alpha}
    if first is not None and first.ndim:
        constants |= {f"length of axis {i}": size for i, size in enumerate(first.shape)}
    for name, value in settings.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "rng":
            constants[name] = value
    return constants
