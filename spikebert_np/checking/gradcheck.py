"""Finite-difference checks of hand-written gradients.

    report = check_gradients(linear_forward, linear_backward, x, weight, bias)
    report                 # a table in a notebook; print(report) in a terminal
    assert report.passed

works on any pair `y, cache = f(*args)` and `dx, ... = f_backward(dy, cache)`, yours included.

A hard-spiking network is piecewise constant: its finite differences are exactly zero, and prove
nothing. Check its smooth twin (`LIFNeuron(spiking=False)`), whose backward is the same code. A
detached reset has the gradient of a network whose reset is a constant: hold the reset at its
unperturbed spikes (`frozen=`, see `layers/lif.py`) while differencing.

These checks prove that the chain rule is coded right. They do not make a surrogate gradient the
gradient of the spiking network: in general it is the gradient of no loss at all.

A long file: `check_gradients` and the reasons for which a row is neither right nor wrong.
"""

from dataclasses import replace

import numpy as np

from ..layers.lif import LIFCache, LIFNeuron
from .differences import (
    differences,
    directional_derivative,
    is_rough,
    numerical_vjp,
    resolve_kinks,
    step_size,
)
from .passes import (
    argument_names,
    as_float64,
    as_many,
    copied,
    flatten,
    nodes,
    not_linear,
    output_and_cache,
    rebuilt,
    with_array,
    written,
)
from .patterns import suggest_by_pattern
from .report import FAIL, PASS, VOID, Evidence, GradReport, compare, relative_error

__all__ = ["check_gradients", "directional_derivative", "numerical_vjp", "relative_error"]

FIRING = (0.02, 0.98)
KINKS = 0.2  # the share of an array's entries that may stand at a kink
DETACHED = (
    "the reset is detached: unless f holds it at its spikes, the differences are of another "
    "network. _, trace = lif_forward(x, neuron=neuron); f = lambda x: lif_forward(x, "
    "neuron=neuron, frozen=trace). Or check detach_reset=False"
)


def firing_rates(cache):
    """The share of membranes at or above the threshold, for each LIF layer in a cache."""
    return [float((lif.h >= lif.neuron.v_th).mean()) for lif in nodes(cache, LIFCache)]


def fires_enough(cache):
    """Whether every LIF layer fires between 2 % and 98 %: in a silent network, zero equals zero."""
    return all(FIRING[0] <= rate <= FIRING[1] for rate in firing_rates(cache))


def check_gradients(
    f,
    f_backward,
    *args,
    names=None,
    bound=1e-6,
    seed=0,
    directional=False,
    title=None,
    constants=None,
    offsets=None,
    zero=(),
):
    """Check f_backward against centred differences of f, under a random upstream gradient.

    f: `y, cache = f(*args)`; bind what has no gradient beforehand (`lambda x: f(x, heads=2)`).
    f_backward: `dx, ... = f_backward(dy, cache)`, a gradient for each of args, in their order. An
    argument may be a dict of arrays; its gradient is then a dict of the same keys.
    names: of the arguments; by default those of f's own parameters.
    bound: on the relative error of a whole array (`relative_error`).
    directional: difference each array along one random direction, and not entry by entry: for a
    whole model.
    constants: {name: number} that a mistake may have put in or left out, for the diagnosis.
    zero: names of arrays whose gradient is zero by theory; they must be so to rounding.
    Raises ValueError or TypeError where f or f_backward does not take and return what is said here.
    Returns a GradReport; its suggestions go by the pattern of the error alone (see `diagnosis.py`
    for more).
    """
    names = tuple(names or argument_names(f, len(args)))
    if len(names) != len(args):
        raise ValueError(f"{len(names)} names ({', '.join(names)}) for {len(args)} arguments")
    args = tuple(as_float64(value, name) for name, value in zip(names, args, strict=True))
    arrays = flatten(names, args)
    # Copies: passes that write to their arguments must not change what they are compared with.
    given = copied(args)
    y, cache = output_and_cache(f(*given))
    faults = written("f", args, given, names)
    rng = np.random.default_rng(seed)
    dy = rng.standard_normal(np.shape(y))
    notes = _notes(cache)
    if y.dtype == np.float32:
        notes += ("f computes in float32: at this step its differences have two digits at best",)
    fires = fires_enough(cache)
    lifs = list(nodes(cache, LIFCache))
    fired = lifs[0].h >= lifs[0].neuron.v_th if len(lifs) == 1 else None

    def gradients(dy, cache):
        grads = flatten(names, as_many(names, f_backward(dy, cache)), args)
        if strange := [name for name in grads if name not in arrays]:
            raise ValueError(
                f"the backward pass returned a gradient of {strange[0]}, which is no array of f's: "
                f"those are {', '.join(arrays)}"
            )
        copies = {name: None if dx is None else np.array(dx) for name, dx in grads.items()}
        for name, dx in copies.items():
            if dx is not None and dx.dtype.kind not in "biufc":
                raise TypeError(f"the backward pass returned {dx.dtype} for {name}, not numbers")
        return copies

    upstream, read = dy.copy(), copied(cache)
    before = copied(given)
    ours = gradients(upstream, cache)
    after = *given, upstream, cache
    faults += written("the backward pass", (*before, dy, read), after, (*names, "dy", "its cache"))
    if not faults:
        faults += not_linear(ours, lambda: gradients(-10 * dy, cache))
    if not np.array_equal(y, output_and_cache(f(*copied(args)))[0], equal_nan=True):
        notes += ("f gives another output when called again: bind a seeded generator",)
    sizes = [np.abs(dx).max(initial=0) for dx in ours.values() if dx is not None]
    expected = {}

    def judge(name, gradient):
        """The Row of one gradient; its differences are taken once."""

        def moved(new):
            return f(*copied(with_array(args, names, name, new)))[0]

        if directional:
            row, expected[name] = _check_along(name, moved, arrays[name], dy, gradient, bound, rng)
            return row
        if name not in measured:
            found = differences(moved, arrays[name], dy)
            measured[name] = resolve_kinks(moved, arrays[name], dy, found, bound)
        found, kinks = measured[name]
        expected[name] = found.numeric
        row = compare(name, gradient, found.numeric, bound, kinks=kinks, floor=found.floor)
        return _with_reason(row, gradient, found, kinks)

    rows, measured = [], {}
    for name in arrays:
        missing = ours.get(name) is None
        if missing:
            ours[name] = np.full((), np.nan)
        dtype = ours[name].dtype
        ours[name] = ours[name].real
        row = judge(name, ours[name])
        if missing:
            row = row._replace(note="the backward pass returned no gradient of it")
        elif name in zero:
            row = _zero_row(row, ours[name], expected[name], max(sizes), bound)
        if dtype != np.float64 and row.error < np.inf:
            row = row._replace(status=FAIL, note=f"the dtype is {dtype} and should be float64")
        rows.append(row)
    wrong = [row.name for row in rows if row.status == FAIL]
    held = True  # what the detached reset must be
    if wrong and not faults and _smooth_and_detached(cache):
        notes += (DETACHED,)
        held = False
        attached = gradients(dy, _attached(cache))
        if all(judge(name, attached[name]).status == PASS for name in wrong):
            # The differences are those of the attached reset: f lets it move.
            rows = [row._replace(status=VOID, note="f lets the detached reset move")
                    if row.status == FAIL else row for row in rows]  # fmt: skip
            wrong = []
    if not fires:
        rows = [row._replace(status=VOID) if row.status == PASS else row for row in rows]
    title = title or getattr(f_backward, "__name__", "gradients")
    evidence = Evidence(arrays, dy, ours, expected, constants or {}, offsets, fired)
    suggestions = tuple(
        suggestion
        for suggestion in suggest_by_pattern(wrong, evidence)
        if held or suggestion.name != "right at the last step only"
    )
    return GradReport(title, tuple(rows), notes, suggestions, evidence, faults)


def _check_along(name, f, x, dy, ours, bound, rng):
    """The gradient along one direction in which no two of its entries cancel."""
    if np.shape(ours) != x.shape or not np.isfinite(ours).all():
        return compare(name, ours, np.zeros(x.shape), bound), None
    either = rng.choice([-1.0, 1.0], x.shape)
    direction = rng.uniform(0.1, 1, x.shape) * np.where(ours == 0, either, np.sign(ours))
    step = step_size(x)
    numeric, roughness, _, _, floor = differences(
        lambda e: f(x + e * direction), np.zeros(()), dy, step
    )
    kinks = is_rough(roughness, abs(numeric), bound, floor)
    slope = np.sum(ours * direction)
    row = compare(name, slope, numeric, bound, kinks=np.asarray(kinks), floor=floor)
    return row._replace(shape=x.shape, index=None, note=row.note or "along one direction"), None


def _with_reason(row, ours, found, kinks):
    """The Row, where the differences themselves decide it or say nothing."""
    numeric = found.numeric
    if ours.shape != numeric.shape or not np.isfinite(ours).all():
        return row
    if not numeric.size:
        return row._replace(note="the array is empty")
    if not np.isfinite(numeric).all():
        return row._replace(status=VOID, note="f is not finite beside this point", index=None)
    scale = np.abs(numeric[~kinks]).max(initial=0)
    # A subgradient lies between the slopes to both sides.
    slack = 1e-4 * np.maximum(scale, np.abs(ours)) + 8 * found.floor
    outside = kinks & ((ours < found.low - slack) | (ours > found.high + slack))
    if outside.any():
        index = tuple(int(i) for i in np.argwhere(outside)[0])
        note = (
            f"at a kink {list(index)}: {ours[index]:.6g} is not between the slopes on its "
            f"sides, {found.low[index]:.6g} and {found.high[index]:.6g}"
        )
        return row._replace(status=FAIL, note=note)
    if row.status == PASS and row.kinks > max(1, KINKS * kinks.size):
        return row._replace(status=VOID, note="too many entries stand at a kink")
    off = np.abs(np.where(kinks, 0, ours - numeric)).max()
    if row.status == FAIL and found.floor > row.bound * scale and off <= 8 * found.floor:
        note = "y is so large that rounding hides this gradient"
        return row._replace(status=VOID, note=note)
    if row.status == FAIL and not np.any(numeric):
        note = "every difference is 0: f is piecewise constant, or does not depend on it"
        return row._replace(note=note)
    return row


def _zero_row(row, ours, numeric, scale, bound):
    """An array whose gradient is zero by theory: it and its difference, beside the others' size."""
    if ours.shape != row.shape or not np.isfinite(ours).all():
        return row
    scale = max(scale, np.finfo(np.float64).tiny)
    error = float(np.abs(ours).max() / scale)
    difference = np.abs(row.expected if numeric is None else numeric).max()
    status = PASS if error < 1e-9 and not difference > bound * scale else FAIL
    return row._replace(error=error, status=status, note="zero by theory", index=None)


def _notes(cache):
    notes = []
    lifs = list(nodes(cache, LIFCache))
    if any(lif.neuron.spiking for lif in lifs):
        notes.append(
            "the neurons fire hard, so every difference is zero: check the smooth twin, "
            "LIFNeuron(spiking=False), with detach_reset=False or its reset held (frozen=)"
        )
    if lifs and not fires_enough(cache):
        rates = ", ".join(f"{rate:.1%}" for rate in firing_rates(cache))
        notes.append(f"firing {rates}, not between 2 % and 98 %: silent neurons prove nothing")
    return tuple(notes)


def _attached(cache):
    """The cache of neurons whose reset is not detached."""

    def attach(leaf):
        return replace(leaf, detach_reset=False) if isinstance(leaf, LIFNeuron) else leaf

    return rebuilt(cache, attach)


def _smooth_and_detached(cache):
    neurons = [lif.neuron for lif in nodes(cache, LIFCache)]
    return any(n.detach_reset and not n.spiking and n.reset != "none" for n in neurons)
