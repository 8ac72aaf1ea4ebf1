"""The surrogates of `surrogate.py` for use inside Numba kernels.

Each is written with `scale` and `slope`, passed in the array's dtype: a Python float would promote
float32 arithmetic to float64 and move spikes near the threshold. `one` is 1 in that dtype.
"""

import math

import numpy as np
from numba import njit

ATAN, SIGMOID, FAST_SIGMOID, TRIANGLE, RECTANGLE = range(5)

# name: (code, scale / alpha, slope / alpha), so that σ'(u) = scale * bump(slope * u).
_PARTS = {
    "atan": (ATAN, 1 / 2, np.pi / 2),
    "sigmoid": (SIGMOID, 1, 1),
    "fast_sigmoid": (FAST_SIGMOID, 1 / 2, 1),
    "triangle": (TRIANGLE, 1, 1),
    "rectangle": (RECTANGLE, 1, 2),
}


def surrogate_constants(name, alpha, dtype):
    """(code, scale, slope): what the two kernels below take, in the dtype of the arrays."""
    code, scale, slope = _PARTS[name]
    return code, dtype.type(scale * alpha), dtype.type(slope * alpha)


@njit(inline="always")
def derivative_row(h, v_th, code, scale, slope, one, out):
    """out[j] = σ'(h[j] - v_th): a loop for each surrogate, so that each can vectorise."""
    if code == ATAN:
        for j in range(len(out)):
            z = slope * (h[j] - v_th)
            out[j] = scale / (one + z * z)
    elif code == SIGMOID:
        for j in range(len(out)):
            e = math.exp(-abs(slope * (h[j] - v_th)))
            out[j] = scale * e / ((one + e) * (one + e))
    elif code == FAST_SIGMOID:
        for j in range(len(out)):
            w = one + abs(slope * (h[j] - v_th))
            out[j] = scale / (w * w)
    elif code == TRIANGLE:
        for j in range(len(out)):
            out[j] = scale * max(one - abs(slope * (h[j] - v_th)), one - one)
    else:
        for j in range(len(out)):
            out[j] = scale if abs(slope * (h[j] - v_th)) < one else one - one


@njit(inline="always")
def primitive(u, code, slope, one):
    z = slope * u
    half = one / (one + one)
    if code == ATAN:
        # 4 atan(1) is π in z's own dtype; math.pi would make the spike float64, and its reset too.
        return math.atan(z) / math.atan(one) * half * half + half
    if code == SIGMOID:
        e = math.exp(-abs(z))
        return (one if z >= 0 else e) / (one + e)
    if code == FAST_SIGMOID:
        return (z / (one + abs(z)) + one) * half
    z = max(-one, min(one, z))
    if code == TRIANGLE:
        return half + z - z * abs(z) * half
    return half + z * half
