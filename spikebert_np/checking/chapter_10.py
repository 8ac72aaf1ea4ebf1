"""Exercises of chapter 10: loops that Numba compiles.

The answers are functions of plain loops. What is right as plain Python is compiled too, and then
held beside the package's NumPy.
"""

import inspect
import math
from functools import cache
from time import perf_counter

import numpy as np

from ..layers.layernorm import layernorm_forward
from ..layers.lif import LIFNeuron, lif_forward
from ..layers.linear import linear_backward, linear_forward
from .compiled_exercise import compiled
from .exercise import Wrong, function, prediction
from .report import Suggestion

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["passes", "show_kernels"]

BITS = 1e-15  # a bound that no rounding of float32 stays below


def numpy_lif(x, tau, v_th, v_reset):
    """s and h of the reference, (T, M) each."""
    neuron = LIFNeuron(tau=float(tau), v_th=float(v_th), v_reset=float(v_reset))
    s, cache = lif_forward(x, neuron=neuron)
    return s, cache.h


class _Counted(np.ndarray):
    """An array whose operations are counted: an array read or written is a pass over memory."""

    passes = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [x.view(np.ndarray) if isinstance(x, _Counted) else x for x in inputs]
        _Counted.passes += 1 + sum(isinstance(x, _Counted) for x in inputs)
        return getattr(ufunc, method)(*plain, **kwargs).view(_Counted)


def passes(function, *args):
    """How often NumPy walks over an array, to read or to write it, while the function runs."""
    _Counted.passes = 0
    function(*(x.view(_Counted) if isinstance(x, np.ndarray) else x for x in args))
    return _Counted.passes


# --- 10.1 the kernel ----------------------------------------------------------------------------


def lif_kernel(x, tau, v_th, v_reset):
    """s and h (T, M) of the input x (T, M), by loops."""
    s, h = np.zeros_like(x), np.zeros_like(x)
    v = np.full_like(x[0], v_reset)
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            h_now = v[j] + (x[t, j] - (v[j] - v_reset)) / tau
            h[t, j] = h_now
            if h_now >= v_th:
                s[t, j] = 1
                v[j] = v_reset
            else:
                v[j] = h_now
    return s, h


def draw_lif(rng):
    """x (4, 7) and constants; one entry meets the threshold exactly, and 1 / tau is rounded."""
    tau, v_th, v_reset = float(rng.choice([3, 5])), 0.5, -0.25
    x = rng.normal(1.5, 3, (4, 7))
    x[0, 0] = tau * (v_th - v_reset)
    return x, tau, v_th, v_reset


def wrong_kernel(charge=None, fire=None, reset=None, start=None, carry=None):
    """lif_kernel with one of its lines exchanged."""
    charge = charge or (lambda x, v, tau, v_reset: v + (x - (v - v_reset)) / tau)

    def kernel(x, tau, v_th, v_reset):
        s, h = np.zeros_like(x), np.zeros_like(x)
        rest = np.full_like(x[0], v_reset)
        v = start(rest) if start else rest
        for t in range(len(x)):
            h[t] = charge(x[t], v, tau, v_reset)
            s[t] = fire(h[t], v_th) if fire else h[t] >= v_th
            v = reset(h[t], s[t]) if reset else s[t] * v_reset + (1 - s[t]) * h[t]
            v = carry(v, rest) if carry else v
        return s, h

    return kernel


def one_membrane(x, tau, v_th, v_reset):
    s, h = np.zeros_like(x), np.zeros_like(x)
    v = v_reset
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            h[t, j] = v + (x[t, j] - (v - v_reset)) / tau
            s[t, j] = h[t, j] >= v_th
            v = v_reset if s[t, j] else h[t, j]
    return s, h


def fires_before_the_charge(x, tau, v_th, v_reset):
    s, h = np.zeros_like(x), np.zeros_like(x)
    v = np.full_like(x[0], v_reset)
    for t in range(len(x)):
        s[t] = v >= v_th
        h[t] = v + (x[t] - (v - v_reset)) / tau
        v = np.where(s[t], v_reset, h[t])
    return s, h


def recorded_before_the_charge(x, tau, v_th, v_reset):
    s, h = lif_kernel(x, tau, v_th, v_reset)
    v = np.where(s, v_reset, h)
    return s, np.concatenate([np.full_like(x[:1], v_reset), v[:-1]])


def soft_reset(x, tau, v_th, v_reset):
    neuron = LIFNeuron(tau=tau, v_th=v_th, v_reset=v_reset, reset="soft")
    s, cache = lif_forward(x, neuron=neuron)
    return s, cache.h


OTHER_BITS = Suggestion(
    "other bits",
    "right to rounding, not to the last bit: write the charge in the order of the reference's "
    "line, v + (x - (v - v_reset)) / tau, and let no Python float into it",
    1.0,
)
AGAIN = "the membrane of the step before is where this one starts: v[j] is kept through the loop"
LIF_OUT = ("s", "h")

ex_10_1 = function(
    "10.1",
    lif_kernel,
    draw_lif,
    outputs=LIF_OUT,
    wrong=[
        Wrong("one membrane for all neurons", one_membrane,
              "each neuron has a membrane of its own: v is an array of M numbers, v[j]"),
        Wrong("membrane forgotten", wrong_kernel(carry=lambda v, rest: rest), AGAIN),
        Wrong("reset left out", wrong_kernel(reset=lambda h, s: h)),
        Wrong("starts at 0", wrong_kernel(start=np.zeros_like),
              "a neuron starts from rest, v_reset, which is not 0 here"),
        Wrong("a tie does not fire", wrong_kernel(fire=lambda h, v_th: h > v_th),
              "the neuron fires at the threshold too: >=, not >. (With >=, another order of the "
              "charge's operations has rounded H to below it.)"),
        Wrong("fires before the charge", fires_before_the_charge,
              "charge, fire, reset: it is h_now, after the charge, that is held against v_th"),
        Wrong("V for H", recorded_before_the_charge,
              "h[t, j] is the membrane after the charge, h_now; before it, it is v[j]"),
        Wrong("soft reset", soft_reset, "the reset is hard here: V = v_reset after a spike"),
        Wrong("sign of v_reset", wrong_kernel(
            charge=lambda x, v, tau, v_reset: v + (x - v - v_reset) / tau),
              "x - (v - v_reset): without the brackets v_reset has the other sign"),
        Wrong("reset to 0", wrong_kernel(reset=lambda h, s: (1 - s) * h),
              "a hard reset puts the membrane to v_reset, which is not 0 here"),
        Wrong("another charge", wrong_kernel(
            charge=lambda x, v, tau, v_reset: v - (v - v_reset) / tau + x)),
        Wrong("leak towards 0", wrong_kernel(
            charge=lambda x, v, tau, v_reset: v + (x - v) / tau),
              "the membrane leaks towards v_reset, which is not 0 here: v - v_reset decays"),
        Wrong(OTHER_BITS.name, wrong_kernel(
            charge=lambda x, v, tau, v_reset: (1 - 1 / tau) * v + (1 / tau) * (x + v_reset)),
              OTHER_BITS.sentence),
    ],
)  # fmt: skip
ex_10_1 = compiled(ex_10_1, draw_lif, numpy_lif, LIF_OUT, dtype=np.float32, bound=BITS,
                   mistake=OTHER_BITS)  # fmt: skip

# --- 10.2 chunked -------------------------------------------------------------------------------


def lif_chunked(x, tau, v_th, v_reset, chunk):
    """s and h (T, M) of x (T, M): `chunk` neurons at a time run through all steps."""
    s, h = np.zeros_like(x), np.zeros_like(x)
    v = np.zeros_like(x[0, :chunk])
    for start in range(0, x.shape[1], chunk):
        stop = min(start + chunk, x.shape[1])
        v[:] = v_reset
        for t in range(x.shape[0]):
            x_row, h_row, s_row = x[t, start:stop], h[t, start:stop], s[t, start:stop]
            for j in range(stop - start):
                h_now = v[j] + (x_row[j] - (v[j] - v_reset)) / tau
                h_row[j] = h_now
                if h_now >= v_th:
                    s_row[j] = 1
                    v[j] = v_reset
                else:
                    v[j] = h_now
    return s, h


def draw_chunked(rng):
    """Ten neurons in chunks of four: the last one is cut short."""
    x = draw_lif(rng)
    wider = rng.normal(1.5, 3, (4, 10))
    wider[:, :7] = x[0]
    return wider, *x[1:], 4


def wrong_chunks(rest=True, begin_at_rest=True, start=0, place=lambda begin, j: begin + j,
                 last=True, forget=False):  # fmt: skip
    """lif_chunked with its bookkeeping gone wrong."""

    def kernel(x, tau, v_th, v_reset, chunk):
        s, h = np.zeros_like(x), np.zeros_like(x)
        v = np.full(chunk, v_reset if begin_at_rest else 0.0)
        end = x.shape[1] if last else x.shape[1] - x.shape[1] % chunk
        for begin in range(start * chunk, end, chunk):
            if rest:
                v[:] = v_reset
            for t in range(x.shape[0]):
                for j in range(min(chunk, x.shape[1] - begin)):
                    v[j] = v_reset if forget else v[j]
                    h_now = v[j] + (x[t, place(begin, j)] - (v[j] - v_reset)) / tau
                    h[t, begin + j] = h_now
                    s[t, begin + j] = h_now >= v_th
                    v[j] = v_reset if h_now >= v_th else h_now
        return s, h

    return kernel


def steps_outside(x, tau, v_th, v_reset, chunk):
    s, h = np.zeros_like(x), np.zeros_like(x)
    v = np.full(chunk, v_reset)
    for t in range(len(x)):
        for i in range(x.shape[1]):
            j = i % chunk
            h[t, i] = v[j] + (x[t, i] - (v[j] - v_reset)) / tau
            s[t, i] = h[t, i] >= v_th
            v[j] = v_reset if s[t, i] else h[t, i]
    return s, h


ex_10_2 = function(
    "10.2",
    lif_chunked,
    draw_chunked,
    outputs=LIF_OUT,
    wrong=[
        Wrong("membrane not put to rest", wrong_chunks(rest=False),
              "v holds what the chunk before has left: each chunk begins from rest"),
        Wrong("membrane not put to rest", wrong_chunks(rest=False, begin_at_rest=False),
              "each chunk begins from rest, v_reset: v[:] = v_reset before its first step"),
        Wrong("last chunk left out", wrong_chunks(last=False),
              "M need not be a multiple of the chunk: the last one is shorter, and counts too"),
        Wrong("first chunk left out", wrong_chunks(start=1), "the first chunk begins at neuron 0"),
        Wrong("first chunk's input", wrong_chunks(place=lambda begin, j: j),
              "the neuron j of a chunk is neuron start + j of x"),
        Wrong("input of the chunk's start", wrong_chunks(place=lambda begin, j: begin),
              "the neuron j of a chunk is neuron start + j of x, not start"),
        Wrong("steps outside the chunks", steps_outside,
              "v has room for one chunk alone: a chunk runs through all steps before the next one"),
        Wrong("membrane forgotten", wrong_chunks(forget=True), AGAIN),
        Wrong(OTHER_BITS.name, lambda x, tau, v_th, v_reset, chunk: wrong_kernel(
            charge=lambda x, v, tau, v_reset: (1 - 1 / tau) * v + (1 / tau) * (x + v_reset))(
                x, tau, v_th, v_reset), OTHER_BITS.sentence),
    ],
)  # fmt: skip
ex_10_2 = compiled(ex_10_2, draw_chunked, lambda *args: numpy_lif(*args[:4]), LIF_OUT,
                   dtype=np.float32, bound=BITS, mistake=OTHER_BITS)  # fmt: skip

# --- 10.3 fused ---------------------------------------------------------------------------------


def norm_lif(z, gain, bias, eps, tau, v_th, v_reset):
    """s and h (T, N, D) of a LIF neuron that is fed the layer norm of z (T, N, D)."""
    s, h = np.zeros_like(z), np.zeros_like(z)
    width = z.shape[2]
    v = np.zeros_like(gain)
    for n in range(z.shape[1]):
        v[:] = v_reset
        for t in range(z.shape[0]):
            total = 0.0
            for d in range(width):
                total += z[t, n, d]
            mean = total / width
            total = 0.0
            for d in range(width):
                total += (z[t, n, d] - mean) ** 2
            inv_std = 1 / math.sqrt(total / width + eps)
            for d in range(width):
                x = (z[t, n, d] - mean) * inv_std * gain[d] + bias[d]
                h_now = v[d] + (x - (v[d] - v_reset)) / tau
                h[t, n, d] = h_now
                if h_now >= v_th:
                    s[t, n, d] = 1
                    v[d] = v_reset
                else:
                    v[d] = h_now
    return s, h


def numpy_norm_lif(z, gain, bias, eps, tau, v_th, v_reset):
    """The same, by the package's two functions."""
    return numpy_lif(layernorm_forward(z, gain, bias, eps=eps)[0], tau, v_th, v_reset)


def draw_norm_lif(rng):
    """z (4, 3, 5); eps is large enough to be missed."""
    z = rng.normal(0.7, 0.8, (4, 3, 5))
    gain, bias = rng.uniform(1.2, 2.5, 5), rng.normal(0.5, 0.5, 5)
    return z, gain, bias, 0.1, float(rng.choice([1.7, 3])), 0.5, -0.25


def wrong_fused(centre=None, spread=None, root=None, out=None, lif=numpy_lif):
    """norm_lif by whole arrays, one part of it exchanged."""
    centre = centre or (lambda z: z.mean(axis=-1, keepdims=True))
    spread = spread or (lambda z, mean: np.square(z - mean).mean(axis=-1, keepdims=True))
    root = root or (lambda variance, eps: np.sqrt(variance + eps))
    out = out or (lambda x_hat, gain, bias: x_hat * gain + bias)

    def fused(z, gain, bias, eps, tau, v_th, v_reset):
        mean = centre(z)
        x_hat = (z - mean) / root(spread(z, mean), eps)
        return lif(out(x_hat, gain, bias), tau, v_th, v_reset)

    return fused


def one_row_after_another(x, tau, v_th, v_reset):
    """Tokens one after the other through one membrane, which is never put to rest."""
    T, N, D = x.shape
    rows = x.swapaxes(0, 1).reshape(N * T, 1, D)
    s, h = numpy_lif(rows, tau, v_th, v_reset)
    return tuple(y.reshape(N, T, D).swapaxes(0, 1) for y in (s, h))


def from_zero(x, tau, v_th, v_reset, lif=numpy_lif, rows=slice(None)):
    """Membranes that begin at 0. A first input higher by v_reset (1 - tau) does it from rest."""
    x = x.copy()
    x[0, rows] += v_reset * (1 - tau)
    return lif(x, tau, v_th, v_reset)


def one_row_after_another_from_zero(x, tau, v_th, v_reset):
    return from_zero(x, tau, v_th, v_reset, one_row_after_another, 0)


def each_step_from_rest(x, tau, v_th, v_reset):
    rows = [numpy_lif(row[None], tau, v_th, v_reset) for row in x]
    return tuple(np.concatenate(parts) for parts in zip(*rows, strict=True))


ex_10_3 = function(
    "10.3",
    norm_lif,
    draw_norm_lif,
    outputs=LIF_OUT,
    hides=("norm_lif_forward",),
    wrong=[
        Wrong("membrane not put to rest", wrong_fused(lif=one_row_after_another),
              "each token has neurons of its own: v starts from rest for every n"),
        Wrong("membrane not put to rest", wrong_fused(lif=one_row_after_another_from_zero),
              "each token has neurons of its own: v[:] = v_reset for every n"),
        Wrong("starts at 0", wrong_fused(lif=from_zero),
              "a neuron starts from rest, v_reset, which is not 0 here"),
        Wrong("membrane forgotten", wrong_fused(lif=each_step_from_rest),
              "v is put to rest for each token n, not for each step t"),
        Wrong("normalised over tokens", wrong_fused(
            centre=lambda z: z.mean(axis=1, keepdims=True),
            spread=lambda z, mean: np.square(z - mean).mean(axis=1, keepdims=True))),
        Wrong("statistics of the first step", wrong_fused(
            centre=lambda z: z[:1].mean(axis=-1, keepdims=True),
            spread=lambda z, mean: np.square(z[:1] - mean).mean(axis=-1, keepdims=True)),
              "each row z[t, n] has a mean and a variance of its own, at every step"),
        Wrong("squares not centred", wrong_fused(
            spread=lambda z, mean: np.square(z).mean(axis=-1, keepdims=True)),
              "the variance is the mean of (z - mean)², not of z²"),
        Wrong("variance divided by D - 1", wrong_fused(
            spread=lambda z, mean: z.var(axis=-1, ddof=1, keepdims=True)),
              "a layer norm's variance is divided by D"),
        Wrong("not divided by D", wrong_fused(
            spread=lambda z, mean: np.square(z - mean).sum(axis=-1, keepdims=True)),
              "the variance is the sum of (z - mean)² over D"),
        Wrong("eps left out", lambda z, gain, bias, eps, *rest: norm_lif(z, gain, bias, 0, *rest),
              "x_hat = (z - mean) / sqrt(variance + eps)"),
        Wrong("eps outside the root", wrong_fused(
            root=lambda variance, eps: np.sqrt(variance) + eps),
              "eps stands beside the variance: sqrt(variance + eps)"),
        Wrong("root left out", wrong_fused(root=lambda variance, eps: variance + eps),
              "a row is divided by its deviation, the root of the variance"),
        Wrong("mean not subtracted", wrong_fused(
            centre=lambda z: 0 * z[..., :1], spread=lambda z, mean: z.var(axis=-1, keepdims=True)),
              "x_hat = (z - mean) / ...: the mean is taken off in the numerator too"),
        Wrong("gain and bias left out", wrong_fused(out=lambda x_hat, gain, bias: x_hat),
              "the neuron is fed gain x_hat + bias"),
        Wrong("gain left out", wrong_fused(out=lambda x_hat, gain, bias: x_hat + bias),
              "the neuron is fed gain x_hat + bias"),
        Wrong("bias left out", wrong_fused(out=lambda x_hat, gain, bias: x_hat * gain),
              "the neuron is fed gain x_hat + bias"),
    ],
)  # fmt: skip
ex_10_3 = compiled(ex_10_3, draw_norm_lif, numpy_norm_lif, LIF_OUT)

# --- 10.4 predict: dtypes -----------------------------------------------------------------------


@cache
def dtypes():
    """{expression: dtype of its value}, and where np.float32(0.7) reaches a threshold of 0.7."""
    from numba import njit

    x, tau, v_th = np.array([0.7], np.float32), np.float32(3), np.float32(0.7)

    def values(x, tau, v_th):
        made = (
            np.full(1, x[0] * 0.3),
            np.full(1, x[0] / 3),
            np.full(1, 1 - x[0]),
            np.full(1, x[0] * tau),
        )
        return made, x[0] >= 0.7, x[0] >= v_th

    made, python_float, own_dtype = njit(values)(x, tau, v_th)
    names = ("x[j] * 0.3", "x[j] / 3", "1 - x[j]", "x[j] * tau")
    return {
        "NumPy, x * 0.3": str((x * 0.3).dtype),
        **{f"Numba, {name}": str(y.dtype) for name, y in zip(names, made, strict=True)},
        "NumPy, x >= 0.7": int((x >= 0.7)[0]),
        "Numba, x[j] >= 0.7": int(python_float),
        "Numba, x[j] >= v_th": int(own_dtype),
    }


ex_10_4 = prediction(
    "10.4",
    dtypes,
    name="predict_dtypes",
    wrong=[
        Wrong("NumPy promotes too", lambda: {"NumPy, x * 0.3": "float64"},
              "in NumPy a Python number takes the dtype of the array that it meets"),
        Wrong("0.3 adapts itself", lambda: {"Numba, x[j] * 0.3": "float32"},
              "in a kernel 0.3 is a float64, and float32 times float64 is float64"),
        Wrong("3 adapts itself", lambda: {"Numba, x[j] / 3": "float32"},
              "in a kernel 3 is an int64; float32 does not hold all of those, so that the two "
              "meet in float64"),
        Wrong("1 adapts itself", lambda: {"Numba, 1 - x[j]": "float32"},
              "in a kernel 1 is an int64, and with a float32 it makes a float64"),
        Wrong("an argument promotes", lambda: {"Numba, x[j] * tau": "float64"},
              "tau was passed as a float32: the two are of one dtype"),
        Wrong("NumPy compares in float64", lambda: {"NumPy, x >= 0.7": 0},
              "0.7 takes the dtype of x, is rounded as x was, and a tie fires"),
        Wrong("0.7 is 0.7", lambda: {"Numba, x[j] >= 0.7": 1},
              "x[j] is widened to 0.699999988, and the float64 0.7 is above it"),
        Wrong("a tie does not fire", lambda: {"Numba, x[j] >= v_th": 0},
              "both are the same float32, and >= holds for equals"),
    ],
)  # fmt: skip

# --- 10.5 the event-driven product ---------------------------------------------------------------


def by_events(starts, column, value, weight, bias, dy):
    """y = x W + b and dW = xᵀ dy, from the events of x."""
    y, dweight = np.zeros_like(dy), np.zeros_like(weight)
    for m in range(len(dy)):
        for j in range(dy.shape[1]):
            y[m, j] = bias[j]
        for k in range(starts[m], starts[m + 1]):
            i = column[k]
            for j in range(dy.shape[1]):
                y[m, j] += value[k] * weight[i, j]
                dweight[i, j] += value[k] * dy[m, j]
    return y, dweight


def draw_events(rng):
    """Events of x (6, 5), spike counts, the second row silent; D_out 3."""
    x = rng.integers(1, 4, (6, 5)) * (rng.random((6, 5)) < 0.5)
    x[0, :2], x[1], x[2, 3] = 2, 0, 3
    rows, column = np.nonzero(x)
    starts = np.searchsorted(rows, np.arange(7))
    normal = rng.standard_normal
    return starts, column, x[rows, column] * 1.0, normal((5, 3)), normal(3), normal((6, 3))


def dense(starts, column, value, weight, bias, dy):
    """The same by the package's matrix products."""
    x = np.zeros((len(dy), len(weight)))
    x[np.repeat(np.arange(len(dy)), np.diff(starts)), column] = value
    y, cache = linear_forward(x, weight, bias)
    return y, linear_backward(dy, cache)[1]


def wrong_events(first=None, add=None, collect=None, events=None):
    """by_events, one part exchanged."""
    add = add or (lambda y, term: y + term)
    collect = collect or (lambda row, term: row + term)
    events = events or (lambda starts, m: range(starts[m], starts[m + 1]))

    def product(starts, column, value, weight, bias, dy):
        y, dweight = np.zeros_like(dy), np.zeros_like(weight)
        for m in range(len(dy)):
            y[m] = bias if first is None else first(bias)
            for k in events(starts, m):
                i = column[k]
                y[m] = add(y[m], value[k] * weight[i])
                dweight[i] = collect(dweight[i], value[k] * dy[m])
        return y, dweight

    return product


def counts_of_one(starts, column, value, *rest):
    return by_events(starts, column, np.ones_like(value), *rest)


def bias_at_each_event(starts, column, value, weight, bias, dy):
    y, dweight = by_events(starts, column, value, weight, 0 * bias, dy)
    return y + np.diff(starts)[:, None] * bias, dweight


def dweight_with(change):
    """by_events with another dW: change(starts, column, value, dy, as arguments of by_events)."""

    def product(starts, column, value, weight, bias, dy):
        y, _ = by_events(starts, column, value, weight, bias, dy)
        return y, by_events(*change(starts, column, value, weight, bias, dy))[1]

    return product


EVENTS_OUT = ("y", "dweight")
ex_10_5 = function(
    "10.5",
    by_events,
    draw_events,
    outputs=EVENTS_OUT,
    hides=("weight_gradient",),
    wrong=[
        Wrong("counts taken for spikes", counts_of_one,
              "an event may count 2 or 3: both sums are multiplied by value[k]"),
        Wrong("bias left out", wrong_events(first=np.zeros_like), "y = x W + b: each row begins "
              "with b, one without an event too"),
        Wrong("bias at each event", bias_at_each_event, "b belongs to a row once, not to each of "
              "its events"),
        Wrong("y overwritten", wrong_events(add=lambda y, term: term),
              "a row of y is the sum over its events: +=, not ="),
        Wrong("dW overwritten", wrong_events(collect=lambda row, term: term),
              "an input fires in several rows, and its row of dW collects from each: +=, not ="),
        Wrong("dW without the counts", dweight_with(
            lambda starts, column, value, *rest: (starts, column, np.ones_like(value), *rest)),
              "dW = xᵀ dy: dy's row is multiplied by the count too"),
        Wrong("first event only", wrong_events(
            events=lambda starts, m: range(starts[m], min(starts[m] + 1, starts[m + 1]))),
              "row m has all events from starts[m] up to starts[m + 1]"),
        Wrong("last event left out", wrong_events(
            events=lambda starts, m: range(starts[m], starts[m + 1] - 1)),
              "the last event of row m is starts[m + 1] - 1, and range leaves its end out already"),
        Wrong("the events of the row before", wrong_events(
            events=lambda starts, m: range(starts[max(m - 1, 0)], starts[m])),
              "row m has the events from starts[m] to starts[m + 1]"),
    ],
)  # fmt: skip
ex_10_5 = compiled(ex_10_5, draw_events, dense, EVENTS_OUT)

# --- 10.6 predict: operations -------------------------------------------------------------------

ROWS, D_IN, D_OUT, SHARE, COST = 3200, 256, 1024, 0.05, 4.5


def operations():
    """Multiply-adds, in millions, counted on a matrix in which exactly SHARE fires."""
    x = np.zeros((ROWS, D_IN))
    x.ravel()[: round(SHARE * x.size)] = 1
    dense = x.size * D_OUT / 1e6
    events = np.count_nonzero(x) * D_OUT / 1e6
    return {
        "y, dense": dense,
        "y, by events": events,
        "dX": dense,
        "step, dense / by events": 3 * dense / (2 * events + dense),
        "the same, almost silent": 3 * dense / dense,
        "share that pays": 1 / COST,
    }


ex_10_6 = prediction(
    "10.6",
    operations,
    name="predict_operations",
    wrong=[
        Wrong("a multiply-add taken for two", lambda: {"y, dense": 2 * operations()["y, dense"]},
              "a multiply-add counts once here: M D_in D_out of them"),
        Wrong("what is silent counted", lambda: {"y, by events": 0.95 * operations()["y, dense"]},
              "what does not fire costs nothing: count what fires"),
        Wrong("dX by events", lambda: {"dX": operations()["y, by events"]},
              "dX = dY Wᵀ: its factors are a gradient and a weight, and neither is sparse"),
        Wrong("all three by events", lambda: {"step, dense / by events": 1 / SHARE},
              "dX stays dense, and bounds what the other two can save"),
        Wrong("dW dense", lambda: {"step, dense / by events": 3 / (2 + SHARE)},
              "dW = xᵀ dY has the spikes x as a factor: it goes by events as well"),
        Wrong("a whole product saved", lambda: {"the same, almost silent": 1.5},
              "two of three products vanish, and one is left: 3 / 1"),
        Wrong("share of what is silent", lambda: {"share that pays": 1 - 1 / COST},
              "this is the share that must be silent; asked is what may fire"),
        Wrong("factor for share", lambda: {"share that pays": COST / 100},
              "events cost share * 4.5 of the dense product: they pay while that is below 1"),
    ],
)  # fmt: skip

# --- 10.7 find the bug --------------------------------------------------------------------------


def bug_A(x, tau, v_th, v_reset, s, h):
    for j in range(x.shape[1]):
        v = v_reset
        for t in range(x.shape[0]):
            h[t, j] = v + (x[t, j] - (v - v_reset)) / tau
            s[t, j] = h[t, j] >= v_th
            v = v_reset if s[t, j] else h[t, j]


def bug_B(x, tau, v_th, v_reset, s, h):
    v = np.full_like(x[0], v_reset)
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            h[t, j] = v[j] + (x[t, j] - (v[j] - v_reset)) / tau
            s[t, j] = h[t, j] >= 0.7
            v[j] = v_reset if s[t, j] else h[t, j]


def bug_C(x, tau, v_th, v_reset, s, h):
    v = np.full_like(x[0, :1000], v_reset)
    for start in range(0, x.shape[1], 1000):
        for t in range(x.shape[0]):
            x_row = x[t, start : start + 1000]
            s_row, h_row = s[t, start : start + 1000], h[t, start : start + 1000]
            for j in range(len(x_row)):
                h_row[j] = v[j] + (x_row[j] - (v[j] - v_reset)) / tau
                s_row[j] = h_row[j] >= v_th
                v[j] = v_reset if s_row[j] else h_row[j]


def bug_D(x, tau, v_th, v_reset, s, h):
    v = np.full_like(x[0], v_reset)
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            h[t, j] = v[j] + (x[t, j] - (v[j] - v_reset)) / tau
            s[t, j] = h[t, j] > v_th
            v[j] = v_reset if s[t, j] else h[t, j]


MISTAKES = {
    "membrane not put to rest": "the first chunk would be right, and later ones wrong",
    "Python float": "float32 and float64 would not go wrong at the same spikes",
    "steps in the inner loop": "every spike would be right, and the time wrong",
    "a tie does not fire": "both dtypes would go wrong, and only where H = v_th to the last bit",
}
BUGS = {
    bug_A: "steps in the inner loop",
    bug_B: "Python float",
    bug_C: "membrane not put to rest",
    bug_D: "a tie does not fire",
}


def symptoms(bug, dtype):
    """Spikes that differ from the reference's, the first neuron that has one (or None), and how
    many times as long it takes as a kernel without a bug. 4 steps, 20,000 neurons, v_th = 0.7."""
    rng = np.random.default_rng(10)
    x = rng.normal(0.5, 1, (4, 20_000)).astype(dtype)
    x[0, ::3] = dtype(1.4)  # H = v_th to the last bit
    constants = dtype(2), dtype(0.7), dtype(0)
    s, h = np.empty_like(x), np.empty_like(x)
    times = []
    for f in (_compiled(_without_a_bug), _compiled(bug)):
        f(x, *constants, s, h)
        times.append(min(_seconds(f, x, *constants, s, h) for _ in range(20)))
    neurons = np.nonzero((s != numpy_lif(x, *constants)[0]).T)[0]  # of each spike that differs
    return len(neurons), int(neurons[0]) if len(neurons) else None, times[1] / times[0]


def _without_a_bug(x, tau, v_th, v_reset, s, h):
    v = np.full_like(x[0], v_reset)
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            h[t, j] = v[j] + (x[t, j] - (v[j] - v_reset)) / tau
            s[t, j] = h[t, j] >= v_th
            v[j] = v_reset if s[t, j] else h[t, j]


@cache
def _compiled(f):
    from numba import njit

    return njit(error_model="numpy")(f)


def _seconds(f, *args):
    started = perf_counter()
    f(*args)
    return perf_counter() - started


def show_kernels():
    """Print each wrong kernel with its symptoms, and the names to choose from."""
    for bug in BUGS:
        print(inspect.getsource(bug))
        for dtype in (np.float32, np.float64):
            count, first, factor = symptoms(bug, dtype)
            where = "" if first is None else f", the first at neuron {first:,}"
            print(f"  {dtype.__name__}: {count:,} of 80,000 spikes differ{where}; "
                  f"{factor:.1f} times as long")  # fmt: skip
        print()
    print("The mistakes, in another order:")
    for name in sorted(MISTAKES):
        print(f'  "{name}"')


def found():
    return {bug.__name__[-1]: mistake for bug, mistake in BUGS.items()}


ex_10_7 = prediction(
    "10.7",
    found,
    name="find_bugs",
    choices=tuple(MISTAKES),
    wrong=[
        Wrong(f'{letter} is not "{taken}"', lambda letter=letter, taken=taken: {letter: taken},
              f"otherwise {MISTAKES[taken]}")
        for letter, mistake in found().items()
        for taken in MISTAKES
        if taken != mistake
    ],
)  # fmt: skip
