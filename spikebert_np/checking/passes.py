"""What a pass takes and returns: arguments, caches and gradients, nested as they may be.

And what it may do wrong beside its numbers: return something else, write to what it was given, use
its cache up, or not be linear in dy. Each mistake is told in one sentence.
"""

import inspect

import numpy as np

from ..layers.embedding import RowGradient


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


def output_and_cache(result):
    """What f returned, its output copied; TypeError where it is no pair of an array and a cache."""
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise TypeError(f"f must return y, cache; it returned {_spoken(result)}")
    y, cache = result
    if y is None or isinstance(y, tuple | list | dict):
        raise TypeError(f"f must return one array y, and its cache; y is {_spoken(y)}")
    return np.array(y), cache


def _spoken(value):
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"{type(value).__name__} alone"


def as_many(names, grads):
    """The gradients as a tuple, one for each name."""
    if grads is None:
        raise TypeError("the backward pass returned None: does it end in `return`?")
    many = isinstance(grads, tuple | list) and not isinstance(grads, RowGradient)
    grads = tuple(grads) if many else (grads,)
    if len(grads) != len(names):
        raise ValueError(
            f"the backward pass returned {len(grads)} gradients; {len(names)} are due: "
            f"{', '.join(names)}"
        )
    return grads


def rebuilt(value, change):
    """Nested tuples, lists and dicts with each leaf changed; LIFCaches are leaves with leaves."""
    if isinstance(value, dict):
        return {key: rebuilt(entry, change) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        entries = [rebuilt(entry, change) for entry in value]
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    return change(value)


def copied(value):
    return rebuilt(value, lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf)


def written(writer, before, after, names):
    """A fault where a pass wrote to what it was given."""

    def same(old, new):
        old, new = list(nodes(old, np.ndarray)), list(nodes(new, np.ndarray))
        return len(old) == len(new) and all(
            np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
            for a, b in zip(old, new, strict=True)
        )

    triples = zip(names, before, after, strict=True)
    changed = [name for name, old, new in triples if not same(old, new)]
    if not changed:
        return ()
    return (f"{writer} wrote to {', '.join(changed)}: no pass may write to its arguments",)


def not_linear(ours, again):
    """A fault where a backward pass does not give, called again with -10 dy, -10 times as much."""
    try:
        second = again()
    except Exception as error:  # whatever a used-up cache raises
        return (f"the backward pass cannot be called twice on one cache: {error!r}",)
    wrong = [
        name
        for name, dx in ours.items()
        if dx is not None and dx.dtype.kind in "fc" and np.isfinite(dx).all()
        and not _is_multiple(dx, second[name])
    ]  # fmt: skip
    if not wrong:
        return ()
    return (
        "the backward pass gives for -10 dy, on the same cache, not -10 times its gradient of "
        f"{', '.join(wrong)}: a gradient is linear in dy, and the same at each call",
    )


def _is_multiple(dx, second):
    if second is None or second.shape != dx.shape:
        return False
    # To the rounding of the dtype; a gradient that cancels to zero has none of its own size.
    scale = 10 * np.abs(dx).max(initial=0)
    return np.abs(second + 10 * dx).max(initial=0) <= 1e4 * np.finfo(dx.dtype).eps * scale + 1e-9


def argument_names(f, count):
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = []
    return names[:count] if len(names) >= count else [f"argument {i}" for i in range(count)]


def as_float64(value, name):
    if isinstance(value, dict):
        return {key: as_float64(entry, key) for key, entry in value.items()}
    if np.asarray(value).dtype.kind in "biu":
        raise TypeError(
            f"{name} holds integers, which have no gradient: bind ids with a lambda, or give floats"
        )
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
            if key in flat:
                raise ValueError(f"two arrays are called {key}: give each a name of its own")
            flat[key] = entry
    return flat


def with_array(args, names, name, new):
    """args with the array called `name` replaced."""
    return [
        value | {name: new} if isinstance(value, dict) and name in value
        else new if own == name and not isinstance(value, dict)
        else value
        for own, value in zip(names, args, strict=True)
    ]  # fmt: skip
