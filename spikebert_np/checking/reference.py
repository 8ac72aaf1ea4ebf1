"""Our reference of a whole case, run with one thing wrong: put together wrongly, or under another
setting than its forward pass had. Each function yields (mistake, {name: gradient})."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from .passes import flatten
from .planting import edited


class Reference:
    """Our NumPy reference of a run: its cache, and its backward pass."""

    def __init__(self, run, dy):
        self.run, self.dy = run, dy
        forward, self.backward = run.case.pair()
        _, self.cache = run.call(forward, run.problem.args)

    def gradients(self, backward=None, cache=None):
        """{name: gradient}; None where what is wrong does not fit the shapes and cannot be run."""
        backward = self.run.case.pair(backward=backward)[1] if backward else self.backward
        names, args = self.run.problem.names, self.run.problem.args
        cache = self.cache if cache is None else cache
        try:
            return flatten(names, backward(np.copy(self.dy), cache), args)
        except ValueError:
            return None

    def calls(self):
        """[function, upstream, first gradient] of the calls, in the order in which they begin."""
        found = []

        def record(number, function, args, settings):
            found.append([function, args[0], None])
            result = function(*args, **settings)
            found[number][2] = result[0] if type(result) is tuple else result
            return result

        with edited(record):
            self.gradients()
        return found


# --- other settings -------------------------------------------------------------------------------


def wrong_settings(reference):
    """A backward pass with another setting than the forward pass had."""
    for mistake, change in SETTINGS:
        for cache in _with_one_changed(reference.cache, change):
            yield mistake, reference.gradients(cache=cache)


def _one_sentence(node):
    offsets = getattr(node, "offsets", None)
    if isinstance(offsets, np.ndarray):
        return node._replace(offsets=offsets[[0, -1]])
    return None


def _one_head(node):
    return node._replace(heads=1) if hasattr(node, "heads") else None


def _no_scale(node):
    return node._replace(scale=1.0) if hasattr(node, "scale") else None


def _whole_threshold(node):
    """Of attention's neuron alone: no other fires at v_th / 2."""
    lif = getattr(node, "attention_lif", None)
    if lif is None:
        return None
    neuron = replace(lif.neuron, v_th=2 * lif.neuron.v_th)
    return node._replace(attention_lif=lif._replace(neuron=neuron))


SETTINGS = (
    ("leaking across sentences", _one_sentence),
    ("heads not split", _one_head),
    ("scale missing", _no_scale),
    ("threshold not halved", _whole_threshold),
)


def _with_one_changed(node, change):
    """Copies of nested caches, in each of which `change` has altered one."""
    if not isinstance(node, tuple):
        return
    if hasattr(node, "_fields") and (changed := change(node)) is not None:
        yield changed
    for i, value in enumerate(node):
        for changed in _with_one_changed(value, change):
            values = [*node[:i], changed, *node[i + 1 :]]
            yield type(node)(*values) if hasattr(node, "_fields") else tuple(values)


# --- put together wrongly ------------------------------------------------------------------------


def wrong_assemblies(reference):
    """Our reference put together wrongly at one call of a layer."""
    calls = reference.calls()
    for number, (function, *_) in enumerate(calls):
        for mistake, edit in EDITS:

            def at_this_call(called, function, args, settings, number=number, edit=edit):
                if called != number:
                    return function(*args, **settings)
                return edit(function, args, settings, reference.dy)

            with edited(at_this_call):
                predicted = reference.gradients()
            yield mistake.format(_layer(function)), predicted
    yield from _exchanged_upstreams(reference, calls)
    yield from _wrong_orders(reference, calls)
    yield from _other_sums(reference, calls)


def _exchanged_upstreams(reference, calls):
    """Two neighbouring calls of one function, each with the other's upstream gradient."""
    for (i, (f, dy_i, _)), (j, (g, dy_j, _)) in pairwise(enumerate(calls)):
        if f is not g or np.shape(dy_i) != np.shape(dy_j):
            continue
        upstreams = {i: dy_j, j: dy_i}

        def exchange(number, function, args, settings, upstreams=upstreams):
            return function(upstreams.get(number, args[0]), *args[1:], **settings)

        with edited(exchange):
            predicted = reference.gradients()
        yield "upstreams exchanged", predicted


def _wrong_orders(reference, calls):
    """A layer's parameters given the gradient that its neighbour in the chain was given."""
    for (_, (_, dy_i, _)), (j, (g, dy_j, _)) in pairwise(enumerate(calls)):
        if np.shape(dy_i) != np.shape(dy_j):
            continue

        def earlier(number, function, args, settings, j=j, dy_i=dy_i):
            right = function(*args, **settings)
            if number != j or type(right) is not tuple:
                return right
            return (right[0], *function(dy_i, *args[1:], **settings)[1:])

        with edited(earlier):
            predicted = reference.gradients()
        yield f"in the wrong order: {_layer(g)}", predicted


def _other_sums(reference, calls):
    """The input's gradient with a gradient on the way to it taken off, or added once more."""
    grads = reference.gradients()
    name, dx = next(iter(grads.items()))
    for _, upstream, gradient in calls:
        for part in (upstream, gradient):
            if isinstance(part, np.ndarray) and part.shape == dx.shape:
                yield "straight path dropped", grads | {name: dx - part}
                yield "straight path counted twice", grads | {name: dx + part}
                if np.shape(reference.dy) == dx.shape:
                    swapped = dx - part + reference.dy
                    yield "straight path of another gradient", grads | {name: swapped}


def _layer(function):
    return function.__name__.removesuffix("_backward")


def _change_dx(change):
    """An edit of the first gradient that a call returns: change(dx, upstream)."""

    def edit(function, args, settings, outer):
        result = function(*args, **settings)
        dx = result[0] if type(result) is tuple else result
        if not isinstance(dx, np.ndarray) or dx.dtype.kind != "f" or not args:
            raise ValueError("the edit does not fit this call")
        new = change(dx, args[0])
        return (new, *result[1:]) if type(result) is tuple else new

    return edit


def _same_shape(dx, upstream):
    if np.shape(dx) != np.shape(upstream):
        raise ValueError("the edit does not fit this call")
    return upstream


def _of_step(dx, t):
    if dx.ndim != 3:
        raise ValueError("the edit does not fit this call")
    alone = np.zeros_like(dx)  # (T, N, D)
    alone[t] = dx[t]
    return alone


def _outer_upstream(function, args, settings, outer):
    if not args or np.shape(args[0]) != np.shape(outer) or args[0] is outer:
        raise ValueError("the edit does not fit this call")
    return function(outer, *args[1:], **settings)


EDITS = (
    ("left out: {}", _change_dx(lambda dx, dy: _same_shape(dx, dy))),
    ("path dropped: {}", _change_dx(lambda dx, dy: np.zeros_like(dx))),
    ("straight path dropped", _change_dx(lambda dx, dy: dx - _same_shape(dx, dy))),
    ("straight path counted twice", _change_dx(lambda dx, dy: dx + _same_shape(dx, dy))),
    ("sign flipped", _change_dx(lambda dx, dy: -dx)),
    ("fed the block's own upstream: {}", _outer_upstream),
    ("last step only", _change_dx(lambda dx, dy: _of_step(dx, -1))),
    ("first step only", _change_dx(lambda dx, dy: _of_step(dx, 0))),
)
