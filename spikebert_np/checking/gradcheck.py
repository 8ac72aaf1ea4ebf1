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
"""

import inspect

import numpy as np

from ..layers.embedding import RowGradient
from ..layers.lif import LIFCache
from .differences import (
    differences,
    directional_derivative,
    find_kinks,
    is_rough,
    numerical_vjp,
    step_size,
)
from .patterns import suggest_by_pattern
from .report import FAIL, PASS, VOID, Evidence, GradReport, compare, relative_error

__all__ = ["check_gradients", "directional_derivative", "numerical_vjp", "relative_error"]

FIRING = (0.02, 0.98)


def nodes(cache, kind):
    """Every instance of `kind` in nested tuples, lists and dicts."""
    if isinstance(cache, kind):
        yield cache
    elif isinstance(cache, dict):
        for value in cache.values():
            yield from nodes(value, kind)
    elif isinstance(cache, tuple | list):
        for value in cache:
            yield from nodes(value, kind)


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
    Raises ValueError where f_backward returns more or fewer gradients than f has arguments.
    Returns a GradReport; its suggestions go by the pattern of the error alone (see `diagnosis.py`
    for more).
    """
    names = names or _argument_names(f, len(args))
    args = tuple(_float64(value) for value in args)
    # Copies: passes that write to their arguments must not change what they are compared with.
    given = tuple(_float64(value) for value in args)
    y, cache = f(*given)
    rng = np.random.default_rng(seed)
    dy = rng.standard_normal(np.shape(y))
    ours = flatten(names, _as_many(names, f_backward(np.copy(dy), cache)), args)
    notes = _notes(cache)
    if not np.array_equal(y, f(*args)[0], equal_nan=True):
        notes += ("f gives another output when called again: bind a seeded generator",)
    if changed := _changed(flatten(names, args), flatten(names, given)):
        notes += (f"{', '.join(changed)} changed: no pass may write to its arguments",)
    arrays = flatten(names, args)
    sizes = [np.abs(dx).max(initial=0) for dx in ours.values() if dx is not None]
    rows, expected = [], {}
    for name, value in arrays.items():
        missing = ours.get(name) is None
        if missing:
            ours[name] = np.full((), np.nan)

        def moved(new, name=name):
            return f(*_with(args, names, name, new))[0]

        if directional:
            row, expected[name] = _check_along(name, moved, value, dy, ours[name], bound, rng)
        else:
            expected[name], roughness, floor = differences(moved, value, dy)
            kinks = find_kinks(expected[name], roughness, bound, floor)
            row = compare(name, ours[name], expected[name], bound, kinks=kinks, floor=floor)
        if missing:
            row = row._replace(note="f_backward returned no gradient of it")
        elif name in zero:
            row = _zero_row(name, ours[name], max(sizes), bound)
        rows.append(row)
    if not fires_enough(cache):
        rows = [row._replace(status=VOID) if row.status == PASS else row for row in rows]
    title = title or getattr(f_backward, "__name__", "gradients")
    evidence = Evidence(arrays, dy, ours, expected, constants or {}, offsets)
    wrong = [row.name for row in rows if row.status == FAIL]
    return GradReport(title, tuple(rows), notes, suggest_by_pattern(wrong, evidence), evidence)


def _check_along(name, f, x, dy, ours, bound, rng):
    """The gradient along one direction in which no two of its entries cancel."""
    if np.shape(ours) != x.shape or not np.isfinite(ours).all():
        return compare(name, ours, np.zeros(x.shape), bound), None
    either = rng.choice([-1.0, 1.0], x.shape)
    direction = rng.uniform(0.1, 1, x.shape) * np.where(ours == 0, either, np.sign(ours))
    step = step_size(x)
    numeric, roughness, floor = differences(lambda e: f(x + e * direction), np.zeros(()), dy, step)
    kinks = is_rough(roughness, abs(numeric), bound, floor)
    slope = np.sum(ours * direction)
    row = compare(name, slope, numeric, bound, kinks=np.asarray(kinks), floor=floor)
    return row._replace(shape=x.shape, index=None, note=row.note or "along one direction"), None


def _zero_row(name, ours, scale, bound):
    """An array whose gradient is zero by theory: zero beside the other arrays' size."""
    error = float(np.abs(ours).max() / scale)
    status = PASS if error < 1e-9 else FAIL
    return compare(name, ours, ours, bound)._replace(
        error=error, status=status, note="zero by theory", index=None
    )


def _notes(cache):
    notes = []
    lifs = list(nodes(cache, LIFCache))
    if any(lif.neuron.spiking for lif in lifs):
        notes.append(
            "the neurons fire hard, so every difference is zero: check the smooth twin, "
            "LIFNeuron(spiking=False)"
        )
    if lifs and not fires_enough(cache):
        rates = ", ".join(f"{rate:.1%}" for rate in firing_rates(cache))
        notes.append(f"firing {rates}, not between 2 % and 98 %: silent neurons prove nothing")
    return tuple(notes)


def _as_many(names, grads):
    """The gradients as a tuple, one for each name."""
    grads = tuple(grads) if type(grads) in (tuple, list) else (grads,)
    if len(grads) != len(names):
        raise ValueError(
            f"f_backward returned {len(grads)} gradients; {len(names)} are due: {', '.join(names)}"
        )
    return grads


def _changed(before, after):
    return [name for name, value in before.items() if not np.array_equal(value, after[name])]


def _argument_names(f, count):
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = []
    return names[:count] if len(names) >= count else [f"argument {i}" for i in range(count)]


def _float64(value):
    if isinstance(value, dict):
        return {key: _float64(entry) for key, entry in value.items()}
    return np.array(value, dtype=np.float64)


def flatten(names, values, like=None):
    """{name: array} of a tuple of arrays and of dicts of arrays; a dict's keys stand by themselves.

    like: the arguments that `values` are gradients of; a RowGradient is made dense by its shape.
    """
    values = values if type(values) is tuple else (values,)
    flat = {}
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        entries = value if isinstance(value, dict) else {name: value}
        for key, entry in entries.items():
            if isinstance(entry, RowGradient):
                target = like[i][key] if isinstance(like[i], dict) else like[i]
                entry = entry.dense(len(target))
            flat[key] = entry
    return flat


def _with(args, names, name, new):
    """args with the array called `name` replaced."""
    return [
        value | {name: new} if isinstance(value, dict) and name in value
        else new if own == name and not isinstance(value, dict)
        else value
        for own, value in zip(names, args, strict=True)
    ]  # fmt: skip
