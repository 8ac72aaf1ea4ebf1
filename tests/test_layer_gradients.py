"""Every layer's backward pass against centred differences: float64, random upstream, each input
and each parameter.

The LIF neuron is checked as its smooth twin (`spiking=False`): the hard one is piecewise constant.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import assert_gradients, assert_same_gradient

from spikebert_np.checking.gradcheck import numerical_vjp, relative_error
from spikebert_np.layers.dropout import dropout_backward, dropout_forward
from spikebert_np.layers.embedding import (
    embedding_backward,
    embedding_forward,
    positions_backward,
    positions_forward,
)
from spikebert_np.layers.layernorm import layernorm_backward, layernorm_forward
from spikebert_np.layers.lif import (
    LIFNeuron,
    firing_floor,
    lif_backward,
    lif_forward,
    lif_step_backward,
    lif_step_forward,
)
from spikebert_np.layers.linear import linear_backward, linear_forward
from spikebert_np.layers.losses import (
    cross_entropy_backward,
    cross_entropy_forward,
    kl_divergence_backward,
    kl_divergence_forward,
    mse_backward,
    mse_forward,
)
from spikebert_np.layers.pooling import (
    mean_over_time_backward,
    mean_over_time_forward,
    mean_pool_backward,
    mean_pool_forward,
)
from spikebert_np.layers.surrogate import SURROGATES

TOLERANCE = 1e-7
OFFSETS = np.array([0, 2, 3, 7])  # three sentences of different lengths
BACKENDS = ["numpy", "numba"]


def check(forward, backward, arrays, rng):
    """For a layer whose forward takes the arrays by name and whose backward returns a tuple."""

    def named(dy, cache):
        grads = backward(dy, cache)
        grads = grads if type(grads) is tuple else (grads,)
        return dict(zip(arrays, grads, strict=True))

    assert_gradients(lambda a: forward(**a), named, arrays, rng, TOLERANCE)


def draw(rng, **shapes):
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def test_linear(rng):
    arrays = draw(rng, x=(3, 4, 5), weight=(5, 6), bias=(6,))
    check(linear_forward, linear_backward, arrays, rng)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_layernorm(rng, eps):
    arrays = draw(rng, x=(3, 4, 5), gain=(5,), bias=(5,))
    check(lambda **a: layernorm_forward(**a, eps=eps), layernorm_backward, arrays, rng)


@pytest.mark.parametrize("backend", BACKENDS)
def test_embedding_adds_up_words_that_stand_twice(rng, backend):
    ids = np.array([4, 1, 4, 0, 4, 1], np.int32)

    def backward(dy, cache):
        return embedding_backward(dy, cache).dense(6)

    def forward(weight):
        return embedding_forward(ids, weight, backend=backend)

    check(forward, backward, draw(rng, weight=(6, 3)), rng)


def test_positions(rng):
    arrays = draw(rng, x=(7, 3), positions=(5, 3))
    check(lambda **a: positions_forward(**a, offsets=OFFSETS), positions_backward, arrays, rng)


def test_a_sentence_longer_than_the_positions_is_refused(rng):
    with pytest.raises(ValueError, match="4 tokens, but only 3 positions"):
        positions_forward(**draw(rng, x=(7, 3), positions=(3, 3)), offsets=OFFSETS)


def test_dropout(rng):
    def forward(x):
        return dropout_forward(x, rate=0.4, rng=np.random.default_rng(5))

    dropped = forward(np.ones((3, 4, 5)))[0] == 0
    assert 0.2 < dropped.mean() < 0.6
    check(forward, dropout_backward, draw(rng, x=(3, 4, 5)), rng)


def test_mean_pool(rng):
    check(lambda x: mean_pool_forward(x, OFFSETS), mean_pool_backward, draw(rng, x=(3, 7, 4)), rng)


def test_mean_over_time(rng):
    check(mean_over_time_forward, mean_over_time_backward, draw(rng, x=(3, 4, 5)), rng)


def test_cross_entropy(rng):
    labels = np.array([2, 0, 2, 1])
    arrays = draw(rng, logits=(4, 3))
    check(lambda logits: cross_entropy_forward(logits, labels), cross_entropy_backward, arrays, rng)


def test_kl_divergence(rng):
    teacher = 2 * rng.standard_normal((4, 3))

    def forward(logits):
        return kl_divergence_forward(logits, teacher, temperature=2.5)

    check(forward, kl_divergence_backward, draw(rng, logits=(4, 3)), rng)


def test_mse(rng):
    target = rng.standard_normal((4, 3))
    check(lambda x: mse_forward(x, target), mse_backward, draw(rng, x=(4, 3)), rng)


# --- surrogates ---------------------------------------------------------------------------------


def kinks(surrogate, alpha):
    """Where σ or its slope has a corner, at which centred differences are off by O(step)."""
    return {
        "triangle": (-1 / alpha, 0, 1 / alpha),
        "rectangle": (-0.5 / alpha, 0.5 / alpha),
        "fast_sigmoid": (0,),
    }.get(surrogate, ())


def is_off_kinks(u, surrogate, alpha):
    """No u within 1e-3 of a kink: a hundred times what a finite-difference step can move it."""
    return all(np.abs(u - kink).min() > 1e-3 for kink in kinks(surrogate, alpha))


@pytest.mark.parametrize("alpha", [0.7, 2.0, 4.0])
@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_is_the_slope_of_its_primitive_and_has_area_1(name, alpha):
    primitive, derivative = SURROGATES[name]
    u = np.linspace(-2.9, 3.1, 401)
    u = u[[is_off_kinks(value, name, alpha) for value in u]]
    numeric = numerical_vjp(lambda u: primitive(u, alpha), u, np.ones_like(u))
    assert_same_gradient(derivative(u, alpha), numeric, TOLERANCE, name)
    # u = tan θ maps the whole line onto (-π/2, π/2): nothing of a heavy tail is cut off.
    theta = (np.arange(100_000) + 0.5) / 100_000 * np.pi - np.pi / 2
    area = (derivative(np.tan(theta), alpha) / np.cos(theta) ** 2).mean() * np.pi
    assert area == pytest.approx(1, abs=1e-3)
    assert primitive(np.array([-1e12, 0, 1e12]), alpha) == pytest.approx([0, 0.5, 1], abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_keeps_the_dtype_and_stays_finite(name, dtype):
    u = np.array([-1e4, -1.0, 0, 1.0, 1e4], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for function in SURROGATES[name]:
            assert function(u, 2.0).dtype == dtype
            assert np.isfinite(function(u, 2.0)).all()


# --- the LIF neuron -----------------------------------------------------------------------------

# alpha = 2, tau = 2 and v_reset = 0 would each hide a missing factor or term.
TWIN = LIFNeuron(alpha=1.3, v_th=0.9, v_reset=-0.3, spiking=False)
SHAPE = (3, 2)  # (N, D)


def drawn_current(rng, neuron, steps):
    """x (T, N, D) that makes the hard neuron fire, some but not all, and H stay off the kinks."""
    for _ in range(200):
        x = firing_floor(neuron, steps) * rng.normal(0.8, 0.6, (steps, *SHAPE))
        _, hard = lif_forward(x, neuron=replace(neuron, spiking=True))
        _, smooth = lif_forward(x, neuron=neuron)
        u = smooth.h - neuron.v_th
        # A bump of compact support must be hit, or every gradient is zero.
        hit = SURROGATES[neuron.surrogate].derivative(u, neuron.alpha) > 0
        fires = 0.02 < hard.s.mean() < 0.98
        if fires and hit.mean() > 0.2 and is_off_kinks(u, neuron.surrogate, neuron.alpha):
            return x
    pytest.fail(f"no usable current in 200 draws for {neuron}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("detach_reset", [False, True], ids=["attached", "detached"])
@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_lif(rng, surrogate, reset, detach_reset, backend):
    for tau, steps, decay_input in product((1.5, 3.0, 10.0), (3, 5), (True, False)):
        neuron = replace(
            TWIN,
            tau=tau,
            reset=reset,
            detach_reset=detach_reset,
            decay_input=decay_input,
            surrogate=surrogate,
        )
        x = drawn_current(rng, neuron, steps)
        # A detached reset is a constant: it is held while x is moved.
        trace = lif_forward(x, neuron=neuron, backend=backend)[1] if detach_reset else None

        def forward(x, neuron=neuron, trace=trace):
            return lif_forward(x, neuron=neuron, backend=backend, frozen=trace)

        check(forward, lif_backward, {"x": x}, rng)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_detached_reset_is_not_the_gradient_of_the_unfrozen_network(rng, reset, backend):
    for tau, steps in product((1.5, 3.0), (3, 5)):
        neuron = replace(TWIN, tau=tau, reset=reset, detach_reset=True)
        x = drawn_current(rng, neuron, steps)
        s, cache = lif_forward(x, neuron=neuron, backend=backend)
        ds = rng.standard_normal(s.shape)

        def unfrozen(x, neuron=neuron):
            return lif_forward(x, neuron=neuron, backend=backend)[0]

        assert relative_error(lif_backward(ds, cache), numerical_vjp(unfrozen, x, ds)) > 1e-3


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
def test_one_time_step(rng, reset):
    neuron = replace(TWIN, tau=3.0, reset=reset, detach_reset=False)

    def forward(x, v):
        s, h, v = lif_step_forward(x, v, neuron)
        return np.stack([s, v]), (h, s)

    def backward(dy, cache):
        ds, dv = dy
        return lif_step_backward(ds, dv, *cache, neuron)

    check(forward, backward, {"x": 3 * rng.standard_normal(SHAPE), "v": rng.random(SHAPE)}, rng)
