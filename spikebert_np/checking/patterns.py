"""What an error's pattern says by itself: no layer is known, only arrays.

Each rule takes one wrong gradient, the right one, and the evidence; it names a mistake or none.
"""

from itertools import combinations

import numpy as np

from .mistakes import explain
from .report import Suggestion, relative_error

# Our gradient is exact to rounding, the expected one to the truncation of the differences.
CLOSE = 1e-6


def close(a, b):
    """Whether two arrays are one, to the accuracy of finite differences."""
    return np.shape(a) == np.shape(b) and np.any(a) and relative_error(a, b) < CLOSE


def sign_flipped(ours, right, evidence):
    return "sign flipped" if close(ours, -right) else None


def gradient_missing(ours, right, evidence):
    return None if np.any(ours) else "gradient missing"


def transposed(ours, right, evidence):
    return "transposed" if right.ndim == 2 and close(ours, right.T) else None


def not_reshaped(ours, right, evidence):
    """The right numbers in another shape: as they lie, or with the heads still apart."""
    if ours.shape == right.shape or ours.size != right.size:
        return None
    if close(ours.reshape(right.shape), right):
        return "not reshaped"
    if ours.ndim > 2 and close(ours.swapaxes(-3, -2).reshape(right.shape), right):
        return "heads not joined"
    return None


def not_summed(ours, right, evidence):
    extra = ours.ndim - right.ndim
    if extra > 0 and close(ours.sum(axis=tuple(range(extra))), right):
        return "not summed"
    return None


def swapped(ours, right, evidence):
    """Another argument's gradient, while that other one's is not where it belongs either."""
    for name, other in evidence.expected.items():
        if other is not None and other is not right and close(ours, other):
            if close(evidence.ours[name], other):
                return None
            own = next(key for key, value in evidence.expected.items() if value is right)
            pair = {own.split(".")[0][-1:], name.split(".")[0][-1:]}
            if pair in ({"k", "v"}, {"q", "k"}):
                return f"{' and '.join(sorted(pair, key='qkv'.index))} swapped"
            return "gradients swapped"
    return None


def constant_factor(ours, right, evidence):
    """The factor, spelt by the sizes and settings of the case where they make it up."""
    if ours.shape != right.shape or not np.any(right):
        return None
    factor = float(np.sum(ours * right) / np.sum(right * right))
    if not factor or np.isclose(abs(factor), 1, rtol=CLOSE) or not close(ours, factor * right):
        return None
    return f"constant factor: {spell_factor(factor, evidence.constants)}"


def spell_factor(factor, constants):
    """`1 / tau`, `temperature²`, ...: the shortest product of the constants, else the number."""
    powers = {"{}": 1, "1 / {}": -1, "{}²": 2, "1 / {}²": -2, "√{}": 0.5, "1 / √{}": -0.5}
    named = {"2": 2.0} | constants
    for name, value in named.items():
        for form, power in powers.items():
            if value > 0 and np.isclose(factor, value**power, rtol=CLOSE):
                return form.format(name)
        if np.isclose(factor, 1 - 1 / value if value else np.inf, rtol=CLOSE):
            return f"1 - 1 / {name}"
    for (a, x), (b, y) in combinations(named.items(), 2):
        if np.isclose(factor * x * y, 1, rtol=CLOSE):
            return f"1 / ({a} {b})"
    return f"{factor:.6g}"


def averaged(ours, right, evidence):
    """1 / the number of rows that were summed: all axes of dy but the last."""
    if ours.shape != right.shape or not np.any(right):
        return None
    rows = {np.prod(evidence.upstream.shape[:-1], dtype=int)} if np.ndim(evidence.upstream) else ()
    for count in rows:
        if count > 1 and close(ours * count, right):
            return "averaged, not summed"
    return None


def upstream_itself(ours, right, evidence):
    return "passed straight through" if close(ours, evidence.upstream) else None


def straight_path(ours, right, evidence):
    dy = evidence.upstream
    if ours.shape != right.shape or ours.shape != np.shape(dy):
        return None
    if close(ours, right - dy):
        return "straight path dropped"
    if close(ours, right + dy):
        return "straight path counted twice"
    # Where each entry of dy reaches one entry of dx alone, right / dy is the local derivative.
    if close(ours, right / dy):
        return "upstream ignored"
    return "upstream added" if close(ours, right / dy + dy) else None


def constant_along_last_axis(ours, right, evidence):
    if ours.shape != right.shape or ours.ndim < 2 or ours.shape[-1] < 2:
        return None
    gap = right - ours
    mean = np.broadcast_to(gap.mean(axis=-1, keepdims=True), gap.shape)
    return "missing a constant along the last axis" if close(gap, mean) else None


def _wrong(ours, right):
    return np.abs(ours - right) > CLOSE * np.abs(right).max()


def last_step_right(ours, right, evidence):
    if ours.shape != right.shape or ours.ndim != 3:
        return None
    wrong = _wrong(ours, right)
    by_step = wrong.reshape(len(wrong), -1).any(axis=1)
    return "right at the last step only" if not by_step[-1] and by_step[:-1].all() else None


def last_step_wrong(ours, right, evidence):
    """Of a neuron's input alone: dx of three axes where the upstream has them too."""
    if ours.shape != right.shape or ours.ndim != 3 or ours.shape != np.shape(evidence.upstream):
        return None
    if evidence.fired is None or ours.shape != evidence.fired.shape:
        return None
    wrong = _wrong(ours, right)
    return "wrong at the last step too" if wrong[-1].mean() > 0.5 else None


def wrong_where_fired(ours, right, evidence):
    """Of a neuron's input alone: wrong at spikes, and right at every membrane that did not fire."""
    fired = evidence.fired
    if fired is None or not ours.shape == right.shape == fired.shape:
        return None
    wrong = _wrong(ours, right)
    return "wrong only where a neuron fired" if wrong.any() and not wrong[~fired].any() else None


def steps_missing(ours, right, evidence):
    if ours.shape != right.shape or ours.ndim != 3:
        return None
    silent = ~ours.reshape(len(ours), -1).any(axis=1)
    return "steps without gradient" if silent.any() and not silent.all() else None


def by_sentence(ours, right, evidence):
    """Sentences that are right beside others that are wrong, or only their first tokens."""
    offsets = evidence.offsets
    if offsets is None or ours.shape != right.shape or ours.ndim < 2:
        return None
    axis = ours.ndim - 2
    if ours.shape[axis] != offsets[-1]:
        return None
    others = tuple(i for i in range(ours.ndim) if i != axis)
    by_token = _wrong(ours, right).any(axis=others)  # (N,)
    first = np.zeros(len(by_token), bool)
    first[offsets[:-1]] = True
    last = np.zeros(len(by_token), bool)
    last[offsets[1:] - 1] = True
    for name, token in (("first token only", first), ("last token only", last)):
        if np.array_equal(by_token, token) or np.array_equal(by_token, ~token):
            return name
    sentences = np.logical_or.reduceat(by_token, offsets[:-1])
    return "one sentence right" if sentences.any() and not sentences.all() else None


RULES = (
    gradient_missing,
    sign_flipped,
    transposed,
    not_reshaped,
    not_summed,
    swapped,
    averaged,
    upstream_itself,
    straight_path,
    constant_factor,
    constant_along_last_axis,
    wrong_where_fired,
    last_step_right,
    steps_missing,
    last_step_wrong,
    by_sentence,
)


def explain_by_pattern(wrong, evidence):
    """(mistake, share of the wrong arrays that it explains), the best first.

    wrong: the names of the arrays that failed.
    """
    found = {}
    for name in wrong:
        ours, right = evidence.ours[name], evidence.expected.get(name)
        if right is None or not np.isfinite(ours).all():
            continue
        for rule in RULES:
            if mistake := rule(np.asarray(ours), right, evidence):
                found[mistake] = found.get(mistake, 0) + 1 / len(wrong)
    shapes = {
        name: array.shape
        for name, array in evidence.arrays.items()
        if evidence.expected.get(name) is not None
    }
    # The first array is the input, those of another shape are parameters: what no other pattern
    # fits is at least placed.
    parameters = {name for name in shapes if shapes[name] != next(iter(shapes.values()))}
    if not found and wrong and set(wrong) <= parameters:
        found["right for the input only"] = 1.0
    return sorted(found.items(), key=lambda entry: -entry[1])


def suggest_by_pattern(wrong, evidence):
    """The same as Suggestions."""
    return tuple(
        Suggestion(name, explain(name), share)
        for name, share in explain_by_pattern(wrong, evidence)
    )
