"""Finite-difference checks of hand-written gradients.

A hard-spiking network is piecewise constant: its finite differences are exactly zero, and prove
nothing. Check its smooth twin (`LIFNeuron(spiking=False)`), whose backward is the same code.

These checks prove that the chain rule is coded right. They do not make a surrogate gradient the
gradient of the spiking network: in general it is the gradient of no loss at all.
"""

import numpy as np

# Centred differences err by O(step^2) (truncation) + O(1e-16 / step) (rounding): the sum is least
# near the cube root of the machine epsilon, 6e-6, times the size of the number that is moved.
STEP = float(np.cbrt(np.finfo(np.float64).eps))


def relative_error(a, b):
    """max|a - b| / max(max|a|, max|b|) over a whole array; 0 where both arrays are all zero."""
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0) / scale) if scale else 0.0


def numerical_vjp(f, x, dy):
    """The vector-Jacobian product dyᵀ df/dx, an entry of x at a time, by centred differences.

    f: a function of one float64 array that returns one array; x is not changed; dy has the shape
    of f(x). Returns an array of the shape of x.
    """
    x = np.array(x, dtype=np.float64)
    dx = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        step = STEP * max(1.0, abs(value))
        x[index] = value + step
        above = np.sum(f(x) * dy)
        x[index] = value - step
        below = np.sum(f(x) * dy)
        x[index] = value
        dx[index] = (above - below) / (2 * step)
    return dx


def directional_derivative(f, params, direction):
    """d/dε f(params + ε direction) at 0 by centred differences, for a scalar f of a dict of arrays.

    Compare it with the sum over all keys of <gradient, direction>.
    """

    def moved(step):
        return f({key: value + step * direction[key] for key, value in params.items()})

    return (moved(STEP) - moved(-STEP)) / (2 * STEP)
