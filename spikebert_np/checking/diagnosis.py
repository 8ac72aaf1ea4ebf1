"""From the numbers of a failed check to the likely mistakes. The code under test is not looked at.

Three kinds of guesses, and each is compared with the wrong gradients number by number:

1. A formula of a layer with a term exchanged (`hypotheses.py`), alone or inside our reference of
   the block that uses the layer, everywhere or at one call.
2. Our reference put together wrongly: a layer left out, a path dropped, the wrong upstream.
3. A pattern of the error itself (`patterns.py`): transposed, off by a factor, right at t = T-1.

A guess that gives every number of every array is put before one that explains a part.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ..blocks.self_attention import attention_sentence_backward, self_attention_backward
from ..blocks.ssa import attention_backward, ssa_sentence_backward
from ..layers.lif import LIFCache, lif_backward, lif_step_backward
from .gradcheck import flatten
from .hypotheses import HYPOTHESES
from .mistakes import explain
from .patterns import CLOSE, explain_by_pattern
from .planting import edited, planted
from .report import FAIL, Suggestion, relative_error

MOST = 5
# A pattern says how the numbers look; a formula that gives all of them says why.
EXACT, PATTERN, PART = 0, 1, 2


def diagnose(report, run):
    """The report with its suggestions, the likeliest first; itself where nothing failed."""
    wrong = [row.name for row in report.rows if row.status == FAIL]
    if not wrong or report.evidence is None:
        return report
    guesses = list(_guesses(report.evidence, run, wrong))
    best = {}
    for order, (name, kind, share) in enumerate(guesses):
        rank = (kind, -share, order)
        if name not in best or rank < best[name][0]:
            best[name] = rank, share
    ranked = sorted(best.items(), key=lambda entry: entry[1][0])[:MOST]
    suggestions = tuple(Suggestion(name, explain(name), share) for name, (_, share) in ranked)
    return report._replace(suggestions=suggestions)


def _guesses(evidence, run, wrong):
    """(mistake, kind, share of the wrong arrays that it explains)."""
    if "y" in wrong:
        for mistake, y in _forward_guesses(run):
            if _agree(evidence.ours["y"], y):
                yield mistake, EXACT, 1.0
        wrong = ["y"]
    else:
        exact, stages = False, (_formulas, _settings, _edits, _formulas_at_one_call)
        if _judge(evidence.ours, _Reference(run, evidence.upstream).gradients(), wrong)[1]:
            stages = ()  # the mistake is our reference's own
        for stage in stages:
            for mistake, predicted in stage(run, evidence.upstream):
                kind, share = _judge(evidence.ours, predicted, wrong)
                exact |= kind == EXACT
                if share:
                    yield mistake, kind, share
            # The dearest stage is for what nothing simpler explains.
            if exact and stage is _edits:
                break
    for mistake, share in explain_by_pattern(wrong, evidence):
        yield mistake, PATTERN, share


def _judge(ours, predicted, wrong):
    """EXACT where every array is as predicted; else PART, and the share of the wrong ones."""
    agreed = {name for name, value in predicted.items() if _agree(ours[name], value)}
    explained = sum(name in agreed for name in wrong) / len(wrong)
    return (EXACT if agreed >= ours.keys() - {"y"} else PART), explained


def _agree(ours, predicted):
    if np.shape(ours) != np.shape(predicted):
        return False
    return bool(np.isfinite(ours).all()) and relative_error(ours, predicted) < CLOSE


# What these call once a step or once a sentence.
LOOPS = {
    lif_backward: lif_step_backward,
    attention_backward: ssa_sentence_backward,
    self_attention_backward: attention_sentence_backward,
}


class _Reference:
    """Our NumPy reference of a run: its cache, and its backward pass."""

    def __init__(self, run, dy):
        self.run, self.dy = run, dy
        forward, self.backward = run.case.pair()
        _, self.cache = run.call(forward, run.problem.args)

    def gradients(self, backward=None, cache=None):
        backward = self.run.case.pair(backward=backward)[1] if backward else self.backward
        names, args = self.run.problem.names, self.run.problem.args
        dy = np.copy(self.dy)
        return flatten(names, backward(dy, self.cache if cache is None else cache), args)

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


def _formulas(run, dy):
    """Each layer's formulas, wherever the layer is used."""
    reference = _Reference(run, dy)
    used = {function for function, *_ in reference.calls()} | {run.case.backward}
    used |= {inner for outer, inner in LOOPS.items() if outer in used}
    for right, entries in HYPOTHESES.items():
        if right not in used:
            continue
        for mistake, wrong in entries:
            with planted(right, wrong):
                own = wrong if run.case.backward is right else None
                yield mistake, reference.gradients(own)


def _settings(run, dy):
    """A backward pass with another setting than the forward pass had."""
    reference = _Reference(run, dy)
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
    if not isinstance(node, LIFCache):
        return None
    return node._replace(neuron=replace(node.neuron, v_th=2 * node.neuron.v_th))


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


def _edits(run, dy):
    """Our reference put together wrongly at one call of a layer."""
    reference = _Reference(run, dy)
    calls = reference.calls()
    for number, (function, *_) in enumerate(calls):
        layer = function.__name__.removesuffix("_backward")
        for mistake, edit in EDITS:

            def at_this_call(called, function, args, settings, number=number, edit=edit):
                if called != number:
                    return function(*args, **settings)
                return edit(function, args, settings, dy)

            try:
                with edited(at_this_call):
                    yield mistake.format(layer), reference.gradients()
            except _DoesNotFit:
                continue
    yield from _exchanged_upstreams(reference, calls)
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
            yield "upstreams exchanged", reference.gradients()


def _other_sums(reference, calls):
    """The input's gradient with a gradient on the way to it taken off, or added once more."""
    grads = reference.gradients()
    name, dx = next(iter(grads.items()))
    for _, upstream, gradient in calls:
        for part in (upstream, gradient):
            if isinstance(part, np.ndarray) and part.shape == dx.shape:
                yield "straight path dropped", grads | {name: dx - part}
                yield "straight path counted twice", grads | {name: dx + part}


class _DoesNotFit(Exception):
    """An edit that this call does not admit."""


def _change_dx(change):
    """An edit of the first gradient that a call returns: change(dx, upstream)."""

    def edit(function, args, settings, outer):
        result = function(*args, **settings)
        dx = result[0] if type(result) is tuple else result
        if not isinstance(dx, np.ndarray) or dx.dtype.kind != "f" or not args:
            raise _DoesNotFit
        new = change(dx, args[0])
        return (new, *result[1:]) if type(result) is tuple else new

    return edit


def _same_shape(dx, upstream):
    if np.shape(dx) != np.shape(upstream):
        raise _DoesNotFit
    return upstream


def _of_step(dx, t):
    if dx.ndim != 3:
        raise _DoesNotFit
    alone = np.zeros_like(dx)  # (T, N, D)
    alone[t] = dx[t]
    return alone


def _outer_upstream(function, args, settings, outer):
    if not args or np.shape(args[0]) != np.shape(outer) or args[0] is outer:
        raise _DoesNotFit
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


def _formulas_at_one_call(run, dy):
    """A layer's formulas at one call of it alone."""
    reference = _Reference(run, dy)
    for number, (function, *_) in enumerate(reference.calls()):
        target = lif_step_backward if function is lif_backward else function
        for mistake, wrong in HYPOTHESES.get(target, ()):

            def at_this_call(called, function, args, settings, number=number, wrong=wrong):
                if called != number:
                    return function(*args, **settings)
                if function is not lif_backward:
                    return wrong(*args, **settings)
                with planted(lif_step_backward, wrong):
                    return function(*args, **settings)

            with edited(at_this_call):
                yield mistake, reference.gradients()


def _forward_guesses(run):
    """(mistake, y) of our forward pass under other settings than the case's."""
    forward, _ = run.case.pair()
    settings = run.problem.settings
    changes = []
    if "offsets" in settings:
        changes.append(("leaking across sentences", {"offsets": settings["offsets"][[0, -1]]}))
    if "heads" in settings:
        changes.append(("heads not split", {"heads": 1}))
    if "scale" in settings:
        changes.append(("scale missing", {"scale": 1.0}))
    if "neuron" in settings:
        neuron = settings["neuron"]
        changes.append(("reset left out", {"neuron": replace(neuron, reset="none")}))
        for reset in ("hard", "soft"):
            changes.append(("another reset", {"neuron": replace(neuron, reset=reset)}))
        decay = replace(neuron, decay_input=not neuron.decay_input)
        changes.append(("another charge", {"neuron": decay}))
        changes.append(("alpha left out", {"neuron": replace(neuron, alpha=1.0)}))
    for mistake, change in changes:
        yield mistake, run.call(forward, run.problem.args, **change)[0]
