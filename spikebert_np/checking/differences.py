"""Derivatives by centred differences, and where a difference was taken across a kink."""

from typing import NamedTuple

import numpy as np

EPSILON = np.finfo(np.float64).eps
# A centred difference errs by O(step²) (truncation) + O(EPSILON / step) (rounding): the sum is
# least near the cube root of EPSILON, 6e-6, times the length over which f bends. `differences` errs
# by O(step⁴) and could take a longer step, which would meet more kinks.
STEP = float(np.cbrt(EPSILON))
# A kink that the interval holds shifts the difference by at most 7/6 of what `differences` measures
# of it (at a = 2h/7 of its docstring): at a quarter of the bound, none can decide a verdict unseen.
KINK_SHARE = 0.25


def step_size(x):
    """One step for a whole array: STEP times the array's own size (root mean square).

    The length over which f bends is not known; the spread of the values that the array holds is
    the best guess at it. Zeros (a fresh bias) have none, so no size below 0.01 is believed.
    """
    return STEP * max(0.01, float(np.sqrt(np.square(x).mean()))) if x.size else STEP


class Differences(NamedTuple):
    """What was differenced, each of the shape of x."""

    numeric: np.ndarray  # the derivative
    roughness: np.ndarray  # how unlike a smooth function's
    low: np.ndarray  # the one-sided slopes, the lower and the higher of each output, summed
    high: np.ndarray
    floor: float  # the derivative that rounding can feign


def differences(f, x, dy, step=None, only=None):
    """dyᵀ df/dx an entry at a time, and how unlike a smooth function's the differences are.

    Each entry is differenced over two steps, h and h/2. D = (f(x+h) - f(x-h)) / 2h agrees for both
    to O(h²) where f is smooth, and the second difference G = (f(x+h) - 2 f(x) + f(x-h)) / h halves.
    A kink within the interval breaks one or the other, wherever it lies: a jump J of the slope at
    x + a, 0 <= a < h/2, moves D(h) - D(h/2) by J a / 2h and G(h) - 2 G(h/2) by J (3 a / h - 1).
    Where there is none, (4 D(h/2) - D(h)) / 3 cancels the truncation of second order (Richardson).
    only: a mask of the entries to take; the others are left zero.
    """
    x = np.array(x, dtype=np.float64)
    numeric, roughness, low, high = (np.zeros_like(x) for _ in range(4))
    step = step or step_size(x)

    def value_at(x):
        # Copies on both sides: f may return its input, a view of it, or a buffer it reuses.
        return np.array(f(x.copy()))

    y = value_at(x)
    for index in np.ndindex(x.shape):
        if only is not None and not only[index]:
            continue
        value = x[index]

        def centred(h, index=index, value=value):
            x[index] = value + h
            above = value_at(x)
            x[index] = value - h
            below = value_at(x)
            x[index] = value
            # Subtracted before they are summed: less is lost to rounding.
            first = np.sum((above - below) * dy) / (2 * h)
            right, left = (above - y) * dy / h, (y - below) * dy / h
            low[index], high[index] = np.minimum(left, right).sum(), np.maximum(left, right).sum()
            return first, np.sum(((above - y) - (y - below)) * dy) / h

        (wide, wide_gap), (narrow, narrow_gap) = centred(step), centred(step / 2)
        numeric[index] = (4 * narrow - wide) / 3
        roughness[index] = max(abs(wide - narrow), abs(wide_gap - 2 * narrow_gap))
    return Differences(numeric, roughness, low, high, rounding_floor(y, dy, step))


def rounding_floor(y, dy, step):
    """The derivative that rounding alone can feign, 4 EPSILON Σ|y dy| / step.

    Where f is right to EPSILON, (4 D(h/2) - D(h)) / 3 errs by 3 of these 4 at most.
    """
    return float(4 * EPSILON * np.sum(np.abs(y * dy)) / step)


def numerical_vjp(f, x, dy):
    """The vector-Jacobian product dyᵀ df/dx, an entry of x at a time, by centred differences.

    f: a function of one float64 array that returns one array; x is not changed; dy has the shape
    of f(x). Returns an array of the shape of x.
    """
    return differences(f, x, dy).numeric


def is_rough(roughness, scale, bound, floor):
    """Whether a difference is unlike a smooth function's, by more than rounding explains.

    The second differences take twice as many numbers, over half the step, and twice: 8 floors.
    """
    return roughness > max(KINK_SHARE * bound * scale, 8 * floor)


def find_kinks(numeric, roughness, bound, floor):
    """The entries whose difference was taken across a point where f has no derivative, a mask."""
    kinks = np.zeros(numeric.shape, bool)
    while not kinks.all():
        # A jump makes a difference of its own size / step: the scale is that of the other entries.
        scale = np.abs(numeric[~kinks]).max(initial=0)
        found = is_rough(roughness, scale, bound, floor)
        if (found | kinks).sum() == kinks.sum():
            break
        kinks |= found
    return kinks


def resolve_kinks(f, x, dy, found, bound):
    """(Differences, mask of kinks): what looks like a kink is differenced over smaller steps.

    A smooth bend that is only sharp, and a kink beside the point, are none over a small enough one.
    """
    kinks = find_kinks(found.numeric, found.roughness, bound, found.floor)
    for shrink in (16, 256):
        if not kinks.any():
            break
        fine = differences(f, x, dy, step_size(x) / shrink, only=kinks)
        scale = np.abs(found.numeric[~kinks]).max(initial=0)
        scale = np.maximum(scale, np.abs(fine.numeric))
        seen = KINK_SHARE * bound * scale
        smooth = kinks & (fine.roughness <= seen) & (fine.floor <= seen)
        found = found._replace(
            numeric=np.where(smooth, fine.numeric, found.numeric),
            low=np.where(kinks, fine.low, found.low),
            high=np.where(kinks, fine.high, found.high),
        )
        kinks &= ~smooth
    return found, kinks


def directional_derivative(f, params, direction):
    """d/dε f(params + ε direction) at 0 by centred differences, for a scalar f of a dict of arrays.

    Compare it with the sum over all keys of <gradient, direction>.
    """

    def moved(step):
        return f({key: value + step * direction[key] for key, value in params.items()})

    return (moved(STEP) - moved(-STEP)) / (2 * STEP)
