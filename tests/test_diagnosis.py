"""What the checker says of mistakes that the bank does not hold: the error's pattern, and formulas
with a term exchanged, from numbers alone."""

import numpy as np
import pytest

from spikebert_np.blocks.encoder_block import encoder_block_backward
from spikebert_np.blocks.mlp import mlp_backward
from spikebert_np.blocks.self_attention import self_attention_backward
from spikebert_np.blocks.spiking_linear import spiking_linear_backward
from spikebert_np.blocks.ssa import (
    attention_backward,
    split_heads,
    ssa_backward,
    ssa_sentence_backward,
)
from spikebert_np.checking.cases import check
from spikebert_np.checking.gradcheck import check_gradients
from spikebert_np.checking.mistakes import MISTAKES, explain
from spikebert_np.checking.patterns import spell_factor
from spikebert_np.layers.layernorm import layernorm_backward
from spikebert_np.layers.lif import lif_backward, lif_step_backward
from spikebert_np.layers.linear import linear_backward
from spikebert_np.layers.losses import kl_divergence_backward
from spikebert_np.layers.parameters import with_prefix
from spikebert_np.layers.pooling import mean_pool_backward


def through_time(step):
    def backward(ds, cache):
        dx, dv = np.empty_like(cache.h), np.zeros_like(cache.h[0])
        for t in reversed(range(len(dx))):
            dx[t], dv = step(ds[t], dv, cache.h[t], cache.s[t], cache.neuron)
        return dx

    return backward


@through_time
def exponential_leak(ds, dv, h, s, neuron):
    dx, carried = lif_step_backward(ds, dv, h, s, neuron)
    return dx, carried / (1 - 1 / neuron.tau) * np.exp(-1 / neuron.tau)


@through_time
def carried_from_the_input(ds, dv, h, s, neuron):
    dx, _ = lif_step_backward(ds, dv, h, s, neuron)
    return dx, dx * (1 - 1 / neuron.tau)


@through_time
def odd_leak(ds, dv, h, s, neuron):
    dx, carried = lif_step_backward(ds, dv, h, s, neuron)
    return dx, 0.77 * carried


@through_time
def odd_slope(ds, dv, h, s, neuron):
    return lif_step_backward(ds * (1 + 0.3 * h), dv, h, s, neuron)


def loop_that_stops_early(ds, cache):
    dx = lif_backward(ds, cache)
    dx[0] = 0
    return dx


def half_a_loop(ds, cache):
    dx = lif_backward(ds, cache)
    dx[1::2] = 0
    return dx


def larger_at_a_spike(ds, cache):
    return lif_backward(ds, cache) * np.where(cache.h >= cache.neuron.v_th, 1.5, 1)


def an_odd_gain(dy, cache):
    dx, dgain, dbias = layernorm_backward(dy, cache)
    return dx, dgain + 0.3 * np.abs(dy).sum(axis=(0, 1)), dbias


def standard_deviation_on_top(dy, cache):
    dx, dgain, dbias = layernorm_backward(dy, cache)
    return dx / cache.inv_std**2, dgain, dbias


def weight_without_its_input(dy, cache):
    dx, dweight, dbias = linear_backward(dy, cache)
    return dx, np.ones_like(dweight) * dbias, dbias


def attention_turned_round(dy, cache):
    dq, dk, dv = attention_backward(dy, cache)
    return dk, dq, dv


def ssa_of_the_output(dy, cache):
    dx_ssa, dssa = ssa_backward(dy, cache.ssa)
    dx_mlp, dmlp = mlp_backward(dy + dx_ssa, cache.mlp)
    return dy + dx_ssa + dx_mlp, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


def residual_before_the_norm(dy, cache):
    dx, grads = self_attention_backward(dy, cache)
    dsum, _, _ = layernorm_backward(dy, cache.norm)
    return dx - dsum + dy, grads


def no_bias(dy, cache):
    dx, dweight, dbias = linear_backward(dy, cache)
    return dx, dweight, 0 * dbias


def a_row_off(dy, cache):
    dx, dgain, dbias = layernorm_backward(dy, cache)
    return dx + dy.mean(axis=-1, keepdims=True), dgain, dbias


def temperature_too_many(dloss, cache):
    return kl_divergence_backward(dloss, cache) * cache.temperature**2


def one_sentence_twice(dy, cache):
    dx = mean_pool_backward(dy, cache)
    dx[:, : cache.lengths[0]] *= 2
    return dx


def tokens_at(which):
    def backward(dy, cache):
        dx = mean_pool_backward(dy, cache)
        stops = np.cumsum(cache.lengths)
        dx[:, stops - 1 if which == "last" else stops - cache.lengths] *= 2
        return dx

    return backward


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        ("lif", exponential_leak, "another leak"),
        ("lif", carried_from_the_input, "leak of the input's gradient"),
        ("lif", odd_leak, "right at the last step only"),
        ("lif", odd_slope, "wrong at the last step too"),
        ("lif", loop_that_stops_early, "first step left out"),
        ("lif", half_a_loop, "steps without gradient"),
        ("lif", larger_at_a_spike, "wrong only where a neuron fired"),
        ("layernorm", an_odd_gain, "right for the input only"),
        ("layernorm", standard_deviation_on_top, "times std, not 1/std"),
        ("layernorm", a_row_off, "missing a constant along the last axis"),
        ("linear", weight_without_its_input, "input left out"),
        ("linear", no_bias, "gradient missing"),
        ("attention", attention_turned_round, "q and k swapped"),
        ("encoder_block", ssa_of_the_output, "in the wrong order: ssa"),
        ("self_attention", residual_before_the_norm, "straight path of another gradient"),
        ("kl_divergence", temperature_too_many, "constant factor: temperature²"),
        ("mean_pool", one_sentence_twice, "one sentence right"),
        ("mean_pool", tokens_at("first"), "first token only"),
        ("mean_pool", tokens_at("last"), "last token only"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_mistake_is_named_by_one_of_the_first_two_suggestions(name, wrong, expected):
    for seed in (3, 4):
        report = check(name, backward=wrong, seed=seed)
        assert report.count("FAIL") > 0, report
        assert expected in [suggestion.name for suggestion in report.suggestions[:2]], report


def ssa_edited(edit):
    """ssa_sentence_backward with its gradients edited: edit(dq, dk, dv, heads, scale)."""

    def backward(dy, q, k, v, *, heads, scale):
        return edit(*ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale), heads, scale)

    return backward


def lif_walk(dv=0.0, exchanged=False, appended=False):
    """lif_backward from another dv, with h and s exchanged, or its steps as they are collected."""

    def backward(ds, cache):
        h, s = (cache.s, cache.h) if exchanged else (cache.h, cache.s)
        dx, dv_next = [], np.full_like(h[0], dv)
        for t in reversed(range(len(h))):
            dx_t, dv_next = lif_step_backward(ds[t], dv_next, h[t], s[t], cache.neuron)
            dx = [*dx, dx_t] if appended else [dx_t, *dx]
        return np.stack(dx)

    return backward


def only_the_spikes_path(ds, dv, h, s, neuron):
    return lif_step_backward(ds, 0 * dv, h, s, neuron)


def queries_for_keys(dy, q, k, v, *, heads, scale):
    _, dk, dv = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
    return ssa_sentence_backward(dy, q, q, v, heads=heads, scale=scale)[0], dk, dv


def queries_of_the_spike(dout, cache):
    """`ssa_backward` whose q takes its parameters' gradients from dy, before attention's."""
    dx, dparams = ssa_backward(dout, cache)
    ds, _ = spiking_linear_backward(dout, cache.out)
    dy = lif_backward(ds, cache.attention_lif)
    _, wrong = spiking_linear_backward(dy, cache.q)
    return dx, dparams | with_prefix(wrong, "q.")


def norm_by_hand(dx_of):
    """layernorm_backward with dx = dx_of(dy, x_hat, gain) / std."""

    def backward(dy, cache):
        _, dgain, dbias = layernorm_backward(dy, cache)
        return dx_of(dy, cache.x_hat, cache.gain) * cache.inv_std, dgain, dbias

    return backward


def mean(x):
    return x.mean(axis=-1, keepdims=True)


NORM_SLIPS = [
    ("sums for means", lambda dy, x, g: (
        dy * g - (dy * g).sum(-1, keepdims=True) - x * (dy * g * x).sum(-1, keepdims=True))),
    ("normalised over tokens", lambda dy, x, g: (
        dy * g - (dy * g).mean() - x * (dy * g * x).mean())),
    ("mean added, not subtracted", lambda dy, x, g: (
        dy * g - mean(dy * g) + x * mean(dy * g * x))),
    ("x_hat missing from the variance term", lambda dy, x, g: (
        dy * g - mean(dy * g) - x * mean(dy * g))),
    ("x_hat missing from the variance term", lambda dy, x, g: (
        dy * g - mean(dy * g) - mean(dy * g * x))),
    ("gain applied last", lambda dy, x, g: g * (dy - mean(dy) - x * mean(dy * x))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong", "expected"),
    [
        *(("layernorm", norm_by_hand(dx_of), expected) for expected, dx_of in NORM_SLIPS),
        ("linear", lambda dy, cache: (
            lambda dx, *rest: (dx.reshape(-1, dx.shape[-1]), *rest))(*linear_backward(dy, cache)),
         "not reshaped"),
        ("lif", lif_walk(dv=1.0), "dv does not start at 0"),
        ("lif", lif_walk(appended=True), "steps in reverse order"),
        ("lif", lif_walk(exchanged=True), "h and s exchanged"),
        ("lif_step", only_the_spikes_path, "carried gradient left out"),
        ("ssa_sentence", queries_for_keys, "q for k, or k for q"),
        # Not the name of the order that ours takes.
        ("ssa_sentence", ssa_edited(lambda dq, dk, dv, heads, scale: (0 * dq, dk, dv)),
         "gradient missing"),
        ("ssa", queries_of_the_spike, "in the wrong order: spiking_linear"),
        ("ssa_sentence", ssa_edited(lambda dq, dk, dv, heads, scale: (
            dq, dk, split_heads(dv, heads))), "heads not joined"),
        # A formula that explains what is wrong is named, and not the factor that it makes.
        ("ssa_sentence", ssa_edited(lambda dq, dk, dv, heads, scale: (dq, dk, dv * scale)),
         "scale twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_slip_is_named_first(name, wrong, expected):
    report = check(name, backward=wrong, seed=3)
    assert not report.passed
    names = [suggestion.name for suggestion in report.suggestions]
    assert names[0] == expected, report
    assert not any(name.startswith("constant factor") for name in names)


def test_q_k_and_v_are_not_taken_for_parameters():
    wrong = ssa_edited(lambda dq, dk, dv, heads, scale: (dq, dk + 0.1 * np.sin(dk), dv))
    assert not check("ssa_sentence", backward=wrong).suggestions


def test_the_right_pass_of_a_block_is_not_accused():
    report = check("encoder_block", backward=encoder_block_backward)
    assert report.passed
    assert not report.suggestions


def test_a_pass_whose_numbers_fit_nothing_is_caught_and_not_accused(rng):
    noise = rng.standard_normal(1000)
    report = check("tanh", backward=lambda dy, cache: dy * noise[: dy.size].reshape(dy.shape))
    assert report.count("FAIL") == 1
    assert not report.suggestions


def test_a_forward_pass_that_fits_nothing_is_caught(rng):
    from spikebert_np.layers.activations import tanh_forward

    report = check("tanh", forward=lambda x: (1.1 * tanh_forward(x)[0], tanh_forward(x)[1]))
    assert report.rows[0].name == "y"
    assert report.rows[0].status == "FAIL"
    assert report.suggestions[0].name == "constant factor: 1.1"


@pytest.mark.parametrize(
    ("factor", "spelt"),
    [
        (3.4, "tau"),
        (1 / 3.4, "1 / tau"),
        (1 - 1 / 3.4, "1 - 1 / tau"),
        (7**0.5, "√heads"),
        (7**-0.5, "1 / √heads"),
        (0.5, "1 / 2"),
        (1 / (3.4 * 7), "1 / (tau heads)"),
        (1.2345, "1.2345"),
    ],
)
def test_a_factor_is_spelt_by_the_constants_that_make_it_up(factor, spelt):
    assert spell_factor(factor, {"tau": 3.4, "heads": 7}) == spelt


@pytest.mark.parametrize(
    ("backward", "name"),
    [
        (lambda dy, x: dy + 3 * x**2, "upstream added"),
        (lambda dy, x: 3 * x**2, "upstream ignored"),
        (lambda dy, x: dy, "passed straight through"),
        (lambda dy, x: dy * 3 * x**2 + dy, "straight path counted twice"),
        (lambda dy, x: dy * 3 * x**2 - dy, "straight path dropped"),
    ],
)
def test_what_became_of_the_upstream_gradient(rng, backward, name):
    report = check_gradients(lambda x: (x**3, x), backward, rng.standard_normal((3, 4)))
    assert [s.name for s in report.suggestions] == [name]


def test_two_gradients_in_each_others_place(rng):
    def forward(a, b):
        return a * np.sin(b), (a, b)

    def backward(dy, cache):
        a, b = cache
        return dy * a * np.cos(b), dy * np.sin(b)

    report = check_gradients(forward, backward, *rng.standard_normal((2, 5)))
    assert [s.name for s in report.suggestions] == ["gradients swapped"]


def test_arguments_without_names_are_numbered(rng):
    def forward(*args):
        return args[0] * args[1], args

    def backward(dy, args):
        return dy * args[1], dy * args[0]

    report = check_gradients(forward, backward, *rng.standard_normal((2, 4)))
    assert report.passed
    assert [row.name for row in report.rows] == ["argument 0", "argument 1"]


def test_every_mistake_has_its_sentence():
    assert all(MISTAKES.values())
    assert explain("left out: lif") == MISTAKES["left out"]
