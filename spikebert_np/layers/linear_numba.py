"""Event-driven twin of the linear layer: it adds up what fires and passes over what does not.

Spikes and spike counts are mostly zero. Row m of x W is the sum of the rows of W at which x[m] is
not zero, each times its count; row i of dW = xᵀ dy likewise of the rows of dy at which column i of
x is not zero. Both are one kernel, `_sum_rows`, over the events of x and over those of xᵀ. The
sums are exact but for their order: they agree with the reference to rounding. A weight that is not
finite counts only where something fires, while the dense product makes NaN of 0 times infinity.

dx = dy Wᵀ has no events to go by: what a layer norm hands back is dense, whatever the surrogate. A
surrogate of compact support leaves zeros above that layer norm, and its two dense terms reduce
exactly to x (W Wᵀ), which has the events of x. It was measured (256 -> 256 to 1536 -> 384): of a
trained student's membranes 45 % lie in the reach of a triangle of alpha 1, 20 % of alpha 2, and
layer norm and dx together then take 1.2 to 3.3 times as long as dense. At 10 %, alpha 4, they take
0.85 times as long where D_out = 4 D_in, and 1.1 to 2.4 times elsewhere.

The neurons do not hand out the indices of what they fire: most inputs are sums of a residual, which
no neuron has seen. Finding all events is 5 to 9 % of a block's time, and of those inputs that are a
neuron's spikes 2 to 5 %, some of which would go into writing the indices there.

Spikes are numbers of the network's type, not bytes. To find the events of bytes takes as long
(0.99 of the time at 5 % firing, for it is not the reading that takes it), and attention, residual
sums and dense products would have to make numbers of them first.

Letters: M rows (T * N), D_in and D_out widths, K events.
"""

from typing import NamedTuple

import numpy as np

from ..process import events_up_to
from .kernel import kernel


class Events(NamedTuple):
    """The non-zeros of a matrix, row after row: row m has those from starts[m] to starts[m + 1]."""

    starts: np.ndarray  # (M + 1,)
    column: np.ndarray  # (K,)
    value: np.ndarray  # (K,)
    width: int  # D_in


@kernel()
def _count(x, starts):
    starts[0] = 0
    for m in range(len(x)):
        count = 0
        for i in range(x.shape[1]):
            count += x[m, i] != 0
        starts[m + 1] = starts[m] + count


@kernel()
def _collect(x, starts, column, value):
    for m in range(len(x)):
        k = starts[m]
        # Every entry is written and the next one overwrites a zero: nothing here to mispredict.
        for i in range(x.shape[1]):
            column[k] = i
            value[k] = x[m, i]
            k += x[m, i] != 0


@kernel()
def _transpose(starts, column, value, new_starts, new_column, new_value):
    new_starts[:] = 0
    for i in column:
        new_starts[i + 1] += 1
    for i in range(len(new_starts) - 1):
        new_starts[i + 1] += new_starts[i]
    place = new_starts.copy()
    for m in range(len(starts) - 1):
        for k in range(starts[m], starts[m + 1]):
            i = column[k]
            new_column[place[i]] = m
            new_value[place[i]] = value[k]
            place[i] += 1


@kernel(fastmath={"contract"})
def _sum_rows(starts, column, value, rows, first, out):
    """out[m] = first + the sum of value[k] rows[column[k]] over the events k of row m."""
    for m in range(len(out)):
        total = out[m]
        total[:] = first
        k = starts[m]
        # Four rows at a time: the sum is read and written once for all of them.
        while k + 4 <= starts[m + 1]:
            a, b = rows[column[k]], rows[column[k + 1]]
            c, d = rows[column[k + 2]], rows[column[k + 3]]
            wa, wb, wc, wd = value[k], value[k + 1], value[k + 2], value[k + 3]
            for j in range(len(total)):
                total[j] += (wa * a[j] + wb * b[j]) + (wc * c[j] + wd * d[j])
            k += 4
        while k < starts[m + 1]:
            a, wa = rows[column[k]], value[k]
            for j in range(len(total)):
                total[j] += wa * a[j]
            k += 1


def find_events(x, backend):
    """The Events of x (M, D_in), or None where the dense product is to be taken.

    backend: "numba", which measures x against `events_up_to`; "events", always events; "dense",
    never. Raises InputError as `events_up_to` does.
    """
    if backend == "dense":
        return None
    x = np.ascontiguousarray(x)
    starts = np.empty(len(x) + 1, np.int64)  # (M + 1,)
    _count(x, starts)
    if backend == "numba" and starts[-1] > events_up_to() * x.size:
        return None
    # One place more than events, for the zeros at the end.
    column = np.empty(starts[-1] + 1, np.int32)  # (K + 1,)
    value = np.empty(starts[-1] + 1, x.dtype)  # (K + 1,)
    _collect(x, starts, column, value)
    return Events(starts, column[:-1], value[:-1], x.shape[1])


def linear_forward(events, weight, bias):
    """y = x W + b (M, D_out), from the Events of x."""
    dtype = np.result_type(events.value, weight)
    y = np.empty((len(events.starts) - 1, weight.shape[1]), dtype)
    _sum_rows(*events[:3], np.ascontiguousarray(weight), np.ascontiguousarray(bias), y)
    return y


def weight_gradient(dy, events):
    """dW = xᵀ dy (D_in, D_out), from dy (M, D_out) and the Events of x."""
    by_column = (
        np.empty(events.width + 1, np.int64),  # (D_in + 1,)
        np.empty_like(events.column),  # (K,)
        np.empty_like(events.value),  # (K,)
    )
    _transpose(*events[:3], *by_column)
    dweight = np.empty((events.width, dy.shape[1]), np.result_type(events.value, dy))
    _sum_rows(*by_column, np.ascontiguousarray(dy), np.zeros(dy.shape[1], dy.dtype), dweight)
    return dweight
