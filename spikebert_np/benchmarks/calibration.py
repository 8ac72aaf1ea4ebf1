"""Up to which share of non-zeros a product of spikes is faster by events, on this machine.

Forward pass and dW, of the shapes that a student's products on spikes have, at a ladder of
densities; to find the events belongs to the forward pass, whose dW then has them for nothing. dX is
dense either way. The spikes are drawn at random, and one thread does it all, as each worker of a
training step does.

Letters: M rows (T * N), D_in and D_out widths of a product, D width of the student.
"""

from typing import NamedTuple

import numpy as np

from ..layers.linear import linear_forward
from .timing import alternate, ratio

WIDTHS = (128, 256)
DENSITIES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
ROWS = 4 * 768  # T = 4, a batch of 768 tokens


class Row(NamedTuple):
    width: int  # D
    product: str
    part: str  # forward, dW or both
    ratios: list  # by events / dense, in core-seconds, one a density
    crossing: float | None  # of both


def products(width):
    """{(D_in, D_out): how many products on spikes of an encoder block have this shape}."""
    return {(width, width): 4, (width, 4 * width): 1, (4 * width, width): 1}


def crossing(densities, ratios):
    """The density at which the ratio first comes above 1: between two steps of the ladder on the
    straight line of ln ratio. 0 where all are above, the last density where none is."""
    logs = np.log(ratios)
    above = np.flatnonzero(logs > 0)
    if not len(above):
        return densities[-1]
    if not (i := above[0]):
        return 0.0
    share = -logs[i - 1] / (logs[i] - logs[i - 1])
    return float(densities[i - 1] + share * (densities[i] - densities[i - 1]))


def new_sides(shape, density):
    """{(part, way): a function that does it}, for `alternate`."""
    from ..layers import linear_numba

    rng = np.random.default_rng(0)
    width_in, width_out = shape
    x = (rng.random((ROWS, width_in)) < density).astype(np.float32)  # (M, D_in)
    weight, bias, dy = (
        rng.standard_normal(size, np.float32) for size in (shape, width_out, (ROWS, width_out))
    )
    events = linear_numba.find_events(x, "events")
    return {
        ("forward", "events"): lambda _: linear_forward(x, weight, bias, backend="events"),
        ("forward", "dense"): lambda _: linear_forward(x, weight, bias, backend="dense"),
        ("dW", "events"): lambda _: linear_numba.weight_gradient(dy, events),
        ("dW", "dense"): lambda _: x.T @ dy,
    }


def calibrate(rounds, done=lambda: None):
    """The Rows of each of WIDTHS; its last three are of all products of a block together. done: as
    of `alternate`."""
    from threadpoolctl import threadpool_limits

    rows = []
    for width in WIDTHS:
        block = [0] * len(DENSITIES)  # {(part, way): (rounds, 2)} sums
        for shape, count in products(width).items():
            with threadpool_limits(limits=1, user_api="blas"):
                times = [
                    alternate(new_sides(shape, density), range(rounds), done)
                    for density in DENSITIES
                ]
            rows += _rows(width, "{} -> {}".format(*shape), times)
            block = [
                {side: count * own[side] + (total[side] if total else 0) for side in own}
                for total, own in zip(block, times, strict=True)
            ]
        rows += _rows(width, "a block", block)
    return rows


def _rows(width, product, times):
    """The three Rows of one product. times: {(part, way): (rounds, 2)}, one a density."""
    for parts in (("forward",), ("dW",), ("forward", "dW")):
        ratios = [
            ratio(*(sum(own[part, way] for part in parts) for way in ("events", "dense"))).cores
            for own in times
        ]
        both = len(parts) == 2
        found = crossing(DENSITIES, ratios) if both else None
        yield Row(width, product, "both" if both else parts[0], ratios, found)
