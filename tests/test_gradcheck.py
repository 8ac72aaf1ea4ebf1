"""The checker itself: on functions whose gradients are known, on wrong ones, and where it must not
say PASS."""

import re
from typing import NamedTuple

import numpy as np
import pytest

from spikebert_np.checking.cases import check
from spikebert_np.checking.differences import differences, find_kinks
from spikebert_np.checking.gradcheck import (
    check_gradients,
    directional_derivative,
    numerical_vjp,
    relative_error,
    step_size,
)
from spikebert_np.layers.lif import LIFNeuron, lif_backward, lif_forward
from spikebert_np.layers.linear import linear_backward, linear_forward


def relu(x):
    return np.maximum(x, 0), x


def relu_backward(dy, x):
    return dy * (x > 0)


def cube(x):
    return x**3, x


def cube_backward(dy, x):
    return 3 * dy * x**2


def arrays(rng):
    return rng.standard_normal((3, 4, 5)), rng.standard_normal((5, 6)), rng.standard_normal(6)


def test_three_lines_in_a_notebook(rng):
    x, weight, bias = arrays(rng)
    report = check_gradients(linear_forward, linear_backward, x, weight, bias)
    assert report.passed
    assert [row.name for row in report.rows] == ["x", "weight", "bias"]
    assert report.worst < 1e-9
    assert "linear_backward" in str(report)
    assert str(report).count("PASS") == 3
    assert report._repr_html_().count("<tr>") == 4


def test_a_dict_of_parameters_is_an_argument_too(rng):
    x, weight, bias = arrays(rng)

    def forward(x, params):
        return linear_forward(x, params["w"], params["b"])

    def backward(dy, cache):
        dx, dweight, dbias = linear_backward(dy, cache)
        return dx, {"w": dweight, "b": 2 * dbias}

    report = check_gradients(forward, backward, x, {"w": weight, "b": bias})
    assert [row.verdict for row in report.rows] == ["PASS", "PASS", "FAIL"]
    assert report.suggestions[0].name == "constant factor: 2"
    assert "[" in str(report)  # the worst index, with both values


def test_the_numeric_gradient_of_a_polynomial_is_exact():
    x = np.array([-2.0, 0.5, 3.0])
    numeric = numerical_vjp(lambda x: x**3, x, np.array([1.0, 2.0, -1.0]))
    np.testing.assert_allclose(numeric, [12, 1.5, -27], rtol=1e-9)
    assert x.tolist() == [-2.0, 0.5, 3.0]
    slope = directional_derivative(lambda p: np.sum(p["x"] ** 3), {"x": x}, {"x": np.ones(3)})
    assert slope == pytest.approx(12 + 0.75 + 27, rel=1e-8)


def test_the_step_goes_with_the_size_of_the_array(rng):
    x = rng.standard_normal(200)
    assert step_size(1000 * x) == pytest.approx(1000 * step_size(x))
    assert step_size(0 * x) > 0
    for size in (1e-2, 1.0, 1e4):
        assert check_gradients(cube, cube_backward, size * x).passed, size


def test_a_difference_across_a_kink_is_reported_not_averaged(rng):
    x = np.sign(rng.standard_normal(12)) * (1 + rng.random(12))
    x[3] = x[7] = 0
    step = step_size(x)
    assert check_gradients(relu, relu_backward, x).rows[0].verdict == "PASS +2 KINK"
    # To both sides of it, within both steps and between them: a smaller step does not reach it.
    for distance in (0.1, 1 / 3, 0.45, 0.5, 0.7, 0.95):
        x[3], x[7] = distance * step, -distance * step
        found = differences(lambda x: relu(x)[0], x, np.ones(12))
        kinks = find_kinks(found.numeric, found.roughness, 1e-6, found.floor)
        assert np.flatnonzero(kinks).tolist() == [3, 7], distance
        assert check_gradients(relu, relu_backward, x).rows[0].verdict == "PASS", distance
    x[3], x[7] = 1.1 * step, -1.1 * step
    assert check_gradients(relu, relu_backward, x).rows[0].verdict == "PASS"


def test_a_kink_does_not_hide_a_wrong_entry(rng):
    x = np.sign(rng.standard_normal(12)) * (1 + rng.random(12))
    x[3] = 0
    report = check_gradients(relu, lambda dy, x: 1.001 * relu_backward(dy, x), x)
    assert report.rows[0].verdict == "FAIL +1 KINK"
    assert report.rows[0].index != (3,)


def test_a_gradient_at_a_kink_lies_between_the_slopes_on_its_sides(rng):
    x = np.sign(rng.standard_normal(12)) * (1 + rng.random(12))
    x[3] = 0
    for slope, status in ((0, "PASS"), (0.5, "PASS"), (1, "PASS"), (1.1, "FAIL"), (1e9, "FAIL")):
        report = check_gradients(relu, lambda dy, x, at=slope: dy * np.where(x == 0, at, x > 0), x)
        assert report.rows[0].status == status, slope


def test_too_many_kinks_are_void(rng):
    x = rng.standard_normal(10)
    x[:3] = 0
    assert check_gradients(relu, relu_backward, x).rows[0].verdict == "VOID +3 KINK"


def test_a_sharp_bend_is_no_kink(rng):
    def forward(x):
        return np.arctan(1000 * x), x

    def backward(dy, x):
        return dy * 1000 / (1 + (1000 * x) ** 2)

    x = rng.standard_normal(60)
    x[:6] = np.linspace(-0.45, 0.45, 6) / 1000
    assert check_gradients(forward, backward, x).rows[0].verdict == "PASS"
    wrong = check_gradients(forward, lambda dy, x: backward(dy, x) * (np.abs(x) > 5e-4), x)
    assert wrong.rows[0].verdict == "FAIL"


def test_what_hides_a_gradient_is_told(rng):
    x = rng.standard_normal(8)
    for f, backward, x, note in (
        (lambda x: (x**2 + 1e8, x), lambda dy, x: 2 * x * dy, x, "rounding hides this gradient"),
        (lambda x: (np.log(x), x), lambda dy, x: dy / x, np.full(3, 1e-8), "not finite beside"),
        (cube, cube_backward, np.zeros((0, 3)), "the array is empty"),
    ):
        with np.errstate(invalid="ignore"):
            report = check_gradients(f, backward, x)
        assert report.rows[0].status == "VOID"
        assert note in str(report)
    report = check_gradients(lambda x: (x.astype(np.float32) ** 2, x), lambda dy, x: 2 * x * dy, x)
    assert "f computes in float32" in str(report)


def test_a_jump_is_a_kink():
    x = np.array([0.3, 0, -0.8, 0.9])
    report = check_gradients(lambda x: (np.floor(x) + x, x), lambda dy, x: dy, x)
    assert report.rows[0].verdict == "PASS +1 KINK"


@pytest.mark.parametrize("size", [1.0, 1e-4])
def test_two_arrays_of_zeros_are_void(size):
    x = -np.ones(3)
    report = check_gradients(lambda x: (size * relu(x)[0], x), relu_backward, x)
    assert [row.status for row in report.rows] == ["VOID"]
    assert not report.passed


def test_every_entry_at_a_kink_is_void():
    report = check_gradients(relu, relu_backward, np.zeros(3))
    assert report.rows[0].verdict == "VOID +3 KINK"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("directional", [False, True])
def test_what_is_not_finite_fails(rng, bad, directional):
    def backward(dy, x):
        dx = cube_backward(dy, x)
        dx[2] = bad
        return dx

    report = check_gradients(cube, backward, rng.standard_normal(5), directional=directional)
    assert report.rows[0].status == "FAIL"
    assert report.rows[0].index == (2,)
    assert "not finite" in str(report)


def test_a_wrong_shape_fails(rng):
    x, weight, bias = arrays(rng)

    def backward(dy, cache):
        dx, dweight, _ = linear_backward(dy, cache)
        return dx, dweight, dy

    report = check_gradients(linear_forward, backward, x, weight, bias)
    assert "the shape is (3, 4, 6) and should be (6,)" in str(report)
    assert report.suggestions[0].name == "not summed"


def test_a_gradient_too_few_is_refused_by_number(rng):
    def backward(dy, cache):
        return linear_backward(dy, cache)[:2]

    message = "returned 2 gradients; 3 are due: x, weight, bias"
    with pytest.raises(ValueError, match=message):
        check_gradients(linear_forward, backward, *arrays(rng))


def test_a_parameter_without_its_gradient_fails(rng):
    x, weight, bias = arrays(rng)

    def forward(x, params):
        return linear_forward(x, params["w"], params["b"])

    def backward(dy, cache):
        dx, dweight, _ = linear_backward(dy, cache)
        return [dx, {"w": dweight}]

    report = check_gradients(forward, backward, x, {"w": weight, "b": bias})
    assert [row.status for row in report.rows] == ["PASS", "PASS", "FAIL"]
    assert "the backward pass returned no gradient of it" in str(report)


def test_a_missing_gradient_of_zeros_fails(rng):
    report = check_gradients(cube, lambda dy, x: 0 * dy, rng.standard_normal(5))
    assert report.rows[0].status == "FAIL"
    assert report.suggestions[0].name == "gradient missing"


def test_an_upstream_of_ones_would_not_do(rng):
    """Softmax's rows sum to 1: under an all-ones upstream its gradient vanishes."""
    from spikebert_np.layers.softmax import softmax_forward

    x = rng.standard_normal((3, 4))
    assert np.abs(numerical_vjp(lambda x: softmax_forward(x)[0], x, np.ones((3, 4)))).max() < 1e-9
    assert check("softmax", backward=lambda dy, cache: dy * cache.y).count("FAIL") == 1


def test_a_pass_that_writes_to_what_it_was_given_fails(rng):
    def writes_dy(dy, x):
        dy *= 3 * x**2
        return dy

    def writes_cache(dy, cache):
        dx = 3 * dy * cache["x"][0] ** 2
        cache["x"][0][...] = 0
        return dx

    def forward(x):
        y = x**3
        cache = {"x": [x.copy()]}
        x *= 2
        return y, cache

    def clean(dy, cache):
        return 3 * dy * cache["x"][0] ** 2

    x = rng.standard_normal(5)
    for f, backward, fault in (
        (cube, writes_dy, "the backward pass wrote to dy: no pass may write to its arguments"),
        (lambda x: (x**3, {"x": [x.copy()]}), writes_cache, "the backward pass wrote to its cache"),
        (forward, clean, "f wrote to x"),
    ):
        report = check_gradients(f, backward, x)
        assert [row.status for row in report.rows] == ["PASS"]
        assert report.faults[0].startswith(fault)
        assert not report.passed
        assert report.count("FAIL") == 1
        assert fault in str(report)
        assert fault in report._repr_html_()


def test_a_backward_pass_is_linear_and_can_be_called_again(rng):
    x = rng.standard_normal((5, 9))
    noise = np.random.default_rng()

    def used_up(x):
        return x**3, [x]

    for f, backward, fault in (
        (cube, lambda dy, x: 3 * x**2 * np.clip(dy, -5, 5), "not -10 times its gradient of x"),
        (cube, lambda dy, x: 3 * x**2 * dy * (1 + 1e-8 * noise.random()), "not -10 times"),
        (used_up, lambda dy, cache: 3 * cache.pop() ** 2 * dy, "wrote to its cache"),
    ):
        report = check_gradients(f, backward, x)
        assert not report.passed
        assert fault in report.faults[0]


def test_a_forward_pass_may_return_its_input_or_one_buffer(rng):
    x, buffer = rng.standard_normal((2, 3)), np.empty((2, 3))

    def into_the_buffer(x):
        np.multiply(x, 3, out=buffer)
        return buffer, None

    for f, backward in (
        (lambda x: (x, None), lambda dy, cache: dy),
        (lambda x: (x.T, None), lambda dy, cache: dy.T),
        (into_the_buffer, lambda dy, cache: 3 * dy),
    ):
        assert check_gradients(f, backward, x).passed


def test_a_detached_reset_that_moves_is_void_and_one_that_is_held_is_judged(rng):
    x, neuron = rng.normal(1.2, 1.5, (5, 6, 4)), LIFNeuron(spiking=False, tau=3.0)
    report = check_gradients(lambda x: lif_forward(x, neuron=neuron), lif_backward, x)
    assert report.rows[0].status == "VOID"
    assert "frozen=trace" in str(report)
    assert not report.suggestions
    _, trace = lif_forward(x, neuron=neuron)

    def held(x):
        return lif_forward(x, neuron=neuron, frozen=trace)

    assert check_gradients(held, lif_backward, x).passed
    report = check_gradients(held, lambda ds, cache: -lif_backward(ds, cache), x)
    assert report.rows[0].status == "FAIL"
    assert report.suggestions[0].name == "sign flipped"


def test_a_function_that_is_constant_is_told(rng):
    report = check_gradients(lambda x: (np.floor(x), x), lambda dy, x: dy, rng.random(5) + 3)
    assert report.rows[0].status == "FAIL"
    assert "f is piecewise constant, or does not depend on it" in str(report)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_another_dtype_fails(rng, dtype):
    report = check_gradients(
        cube, lambda dy, x: cube_backward(dy, x).astype(dtype), rng.standard_normal(5), bound=1e-3
    )
    assert report.rows[0].status == "FAIL"
    assert f"the dtype is {np.dtype(dtype)} and should be float64" in str(report)
    assert not report.suggestions


def test_zero_by_theory_is_looked_at(rng):
    def forward(x, b):
        return x - x.mean() + 0 * b, None

    def backward_with(db):
        return lambda dy, cache: (dy - dy.mean(), db)

    x = rng.standard_normal(4)
    for db, status in ((np.zeros(3), "PASS"), (np.zeros(1), "FAIL"), (np.full(3, 1e-3), "FAIL")):
        report = check_gradients(
            lambda x, b: forward(x, b[0]), backward_with(db), x, np.ones(3), zero=("b",)
        )
        assert [row.status for row in report.rows] == ["PASS", status]
    report = check_gradients(
        lambda x, b: (x + b, None), lambda dy, c: (dy, 0 * dy), x, np.ones(4), zero=("b",)
    )
    assert [row.status for row in report.rows] == ["PASS", "FAIL"]


def test_no_arrays_are_no_proof_and_a_report_shows_its_table():
    assert not check_gradients(lambda p: (1.0, None), lambda dy, c: {}, {}).passed
    report = check_gradients(cube, cube_backward, np.ones(2))
    assert repr(report) == str(report)


@pytest.mark.parametrize(
    ("f", "backward", "args", "message"),
    [
        (lambda x: x**2, cube_backward, 1, "f must return y, cache; it returned ndarray alone"),
        (lambda x: ((x, x), x), cube_backward, 1, "y is a tuple of 2"),
        (lambda x: (x, x, x), cube_backward, 1, "it returned a tuple of 3"),
        (cube, lambda dy, x: None, 1, "the backward pass returned None: does it end in `return`"),
        (cube, lambda dy, x: "dx", 1, "for x, not numbers"),
        (cube, lambda dy, x: {"x": dy, "z": dy}, 1, "a gradient of z, which is no array of f's"),
    ],
)
def test_a_slip_is_answered_by_one_sentence(rng, f, backward, args, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        check_gradients(f, backward, *rng.standard_normal((args, 4)))


def test_a_slip_in_the_arguments_is_answered_by_one_sentence(rng):
    w = rng.standard_normal(4)
    with pytest.raises(TypeError, match="ids holds integers, which have no gradient: bind ids"):
        check_gradients(lambda w, ids: (w[ids], ids), lambda dy, c: (dy, dy), w, np.arange(2))
    with pytest.raises(ValueError, match=r"1 names \(x\) for 2 arguments"):
        check_gradients(lambda x, y: (x * y, None), lambda dy, c: (dy, dy), w, w, names=["x"])
    with pytest.raises(ValueError, match="two arrays are called w: give each a name of its own"):
        check_gradients(lambda q, k: (q["w"], None), lambda dy, c: (dy, dy), {"w": w}, {"w": w})


def test_gradients_may_come_as_a_named_tuple(rng):
    class Gradients(NamedTuple):
        dx: np.ndarray
        dw: np.ndarray

    report = check_gradients(
        lambda x, w: (x * w, (x, w)),
        lambda dy, cache: Gradients(dy * cache[1], dy * cache[0]),
        *rng.standard_normal((2, 4)),
    )
    assert report.passed


def test_a_forward_pass_of_fresh_random_numbers_is_told(rng):
    def noisy(x):
        mask = rng.random(x.shape) < 0.5
        return x * mask, mask

    report = check_gradients(noisy, lambda dy, mask: dy * mask, rng.standard_normal(9))
    assert "bind a seeded generator" in report.notes[0]


def test_hard_spikes_are_pointed_out(rng):
    x = rng.standard_normal((3, 4)) + 1
    report = check_gradients(lambda x: lif_forward(x, neuron=LIFNeuron()), lif_backward, x)
    assert not report.passed
    assert "LIFNeuron(spiking=False)" in str(report)


@pytest.mark.parametrize("current", [-3.0, 9.0])
def test_silent_and_saturated_neurons_are_void(rng, current):
    neuron = LIFNeuron(spiking=False, detach_reset=False, tau=3.0)
    x = current + 0.1 * rng.standard_normal((3, 4))
    report = check_gradients(lambda x: lif_forward(x, neuron=neuron), lif_backward, x)
    assert [row.status for row in report.rows] == ["VOID"]
    assert "2 % and 98 %" in str(report)


def test_along_one_direction(rng):
    x = rng.standard_normal((6, 7))
    assert check_gradients(cube, cube_backward, x, directional=True).passed

    def one_entry_wrong(dy, x):
        dx = cube_backward(dy, x)
        dx[4, 4] *= 1.1
        return dx

    report = check_gradients(cube, one_entry_wrong, x, directional=True)
    assert report.rows[0].status == "FAIL"
    assert report.rows[0].shape == (6, 7)


def test_html_is_escaped(rng):
    def backward(dy, x):
        return -cube_backward(dy, x)

    report = check_gradients(
        cube, backward, rng.standard_normal(5), names=["<b>"], title="<script>"
    )
    page = report._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;" in page
    assert "sign flipped" in page


def test_relative_error_is_norm_wise():
    assert relative_error(np.array([1e-9, 1.0]), np.array([0.0, 1.0])) == pytest.approx(1e-9)
    assert relative_error(np.zeros(3), np.zeros(3)) == 0
    assert relative_error(np.zeros(3), np.ones(3)) == 1
