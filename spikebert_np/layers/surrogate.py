"""Surrogates of the spike's derivative, each a pair: a bump, and the curve whose slope it is.

A spike is s = Θ(u), u = H - v_th, whose derivative is zero almost everywhere. A surrogate gradient
(Neftci, Mostafa and Zenke 2019, arXiv 1901.09948) keeps Θ in the forward pass and puts σ'(u) for
Θ'(u) in the backward pass. Every σ here rises from 0 to 1, so every bump has area 1; alpha
sharpens it. The primitive σ is what a smooth twin fires with, so that σ' can be checked by finite
differences. The conventions of alpha are SpikingJelly's.

| name         | σ'(u)                       | peak | support         | SpikingJelly         |
|--------------|-----------------------------|------|-----------------|----------------------|
| atan         | (α/2) / (1 + (π α u / 2)²)  | α/2  | all u           | `ATan`               |
| sigmoid      | α ς(αu) (1 - ς(αu))         | α/4  | all u           | `Sigmoid`            |
| fast_sigmoid | (α/2) / (1 + α abs(u))²     | α/2  | all u           | `SoftSign`           |
| triangle     | α max(1 - α abs(u), 0)      | α    | abs(u) < 1/α    | `PiecewiseQuadratic` |
| rectangle    | α if abs(u) < 1/(2α) else 0 | α    | abs(u) < 1/(2α) | `Rect`               |

ς is the logistic function. All functions are elementwise and keep the dtype of u.
"""

from typing import NamedTuple

import numpy as np


def heaviside(u):
    """Θ(u) = 1 if u >= 0 else 0, in the dtype of u: a tie fires."""
    return (u >= 0).astype(u.dtype)


def atan_primitive(u, alpha):
    """σ(u) = arctan(π α u / 2) / π + 1/2."""
    return np.arctan((np.pi / 2 * alpha) * u) / np.pi + 0.5


def atan_derivative(u, alpha):
    """σ'(u) = (α/2) / (1 + (π α u / 2)²)   (Fang et al. 2021, arXiv 2007.05785)."""
    z = (np.pi / 2 * alpha) * u
    return (alpha / 2) / (1 + z * z)


def sigmoid_primitive(u, alpha):
    """σ(u) = 1 / (1 + exp(-α u)), written so that exp never overflows."""
    e = np.exp(-np.abs(alpha * u))
    return np.where(u >= 0, 1, e) / (1 + e)


def sigmoid_derivative(u, alpha):
    """σ'(u) = α exp(-α|u|) / (1 + exp(-α|u|))²."""
    e = np.exp(-np.abs(alpha * u))
    return alpha * e / ((1 + e) * (1 + e))


def fast_sigmoid_primitive(u, alpha):
    """σ(u) = (α u / (1 + α|u|) + 1) / 2."""
    z = alpha * u
    return (z / (1 + np.abs(z)) + 1) / 2


def fast_sigmoid_derivative(u, alpha):
    """σ'(u) = (α/2) / (1 + α|u|)²   (Zenke and Ganguli 2018, arXiv 1705.11146, to a constant)."""
    z = 1 + np.abs(alpha * u)
    return (alpha / 2) / (z * z)


def triangle_primitive(u, alpha):
    """σ(u) = 1/2 + z - z|z|/2, z = α u clipped to [-1, 1]."""
    z = np.clip(alpha * u, -1, 1)
    return 0.5 + z - z * np.abs(z) / 2


def triangle_derivative(u, alpha):
    """σ'(u) = α max(1 - α|u|, 0)   (Bellec et al. 2018, arXiv 1803.09574, to a constant)."""
    return alpha * np.maximum(1 - np.abs(alpha * u), 0)


def rectangle_primitive(u, alpha):
    """σ(u) = 1/2 + α u, clipped to [0, 1]."""
    return np.clip(0.5 + alpha * u, 0, 1)


def rectangle_derivative(u, alpha):
    """σ'(u) = α if |u| < 1/(2α) else 0   (Wu et al. 2018, arXiv 1706.02609)."""
    return alpha * (np.abs((2 * alpha) * u) < 1).astype(u.dtype)


class Surrogate(NamedTuple):
    """A pair; both functions take (u, alpha)."""

    primitive: callable
    derivative: callable


SURROGATES = {
    "atan": Surrogate(atan_primitive, atan_derivative),
    "sigmoid": Surrogate(sigmoid_primitive, sigmoid_derivative),
    "fast_sigmoid": Surrogate(fast_sigmoid_primitive, fast_sigmoid_derivative),
    "triangle": Surrogate(triangle_primitive, triangle_derivative),
    "rectangle": Surrogate(rectangle_primitive, rectangle_derivative),
}
