"""The checker itself: on functions whose gradients are known, on wrong ones, and where it must not
say PASS."""

import numpy as np
import pytest

from spikebert_np.checking.cases import check
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
    # At the kink, and to both sides of it, within both steps and between them.
    for distance in (0, 0.1, 1 / 3, 0.45, 0.5, 0.7, 0.95):
        x[3], x[7] = distance * step, -distance * step
        report = check_gradients(relu, relu_backward, x)
        assert report.rows[0].verdict == "PASS +2 KINK", distance
    x[3], x[7] = 1.1 * step, -1.1 * step
    assert check_gradients(relu, relu_backward, x).rows[0].verdict == "PASS"


def test_a_kink_does_not_hide_a_wrong_entry(rng):
    x = np.sign(rng.standard_normal(12)) * (1 + rng.random(12))
    x[3] = 0
    report = check_gradients(relu, lambda dy, x: 1.001 * relu_backward(dy, x), x)
    assert report.rows[0].verdict == "FAIL +1 KINK"
    assert report.rows[0].index != (3,)


def test_a_jump_is_a_kink():
    x = np.array([0.3, 1e-7, -0.8, 0.9])
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
    assert "f_backward returned no gradient of it" in str(report)


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


def test_a_backward_pass_may_write_to_its_argument(rng):
    def backward(dy, x):
        dy *= 3 * x**2
        return dy

    assert check_gradients(cube, backward, rng.standard_normal(5)).passed


def test_a_pass_that_writes_to_its_input_is_told(rng):
    def backward(dy, x):
        x *= 2
        return 3 * dy * (x / 2) ** 2

    report = check_gradients(cube, backward, rng.standard_normal(5))
    assert report.passed
    assert report.notes == ("x changed: no pass may write to its arguments",)


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
