"""Every hand-written backward pass of the package against centred differences, in all its settings
and on both backends; and in float32 against float64."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from spikebert_np.blocks.ssa import attention_backward, attention_forward
from spikebert_np.checking.case import check_float32, check_run, prepare
from spikebert_np.checking.cases import CASES, check
from spikebert_np.checking.draw import Draw
from spikebert_np.checking.gradcheck import (
    check_gradients,
    firing_rates,
    numerical_vjp,
    relative_error,
)
from spikebert_np.layers.lif import lif_backward, lif_forward

SEED = 2308
pairs = pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name, case in CASES.items() for backend in case.backends],
)


def check_variants(name, backend, variants, seed):
    for variant in variants:
        report = check_run(prepare(CASES[name], seed, variant), backend=backend)
        assert report.passed, f"{variant}\n{report}"
        assert {row.name for row in report.rows} - {"y"} == report.evidence.arrays.keys()


@pairs
def test_gradients_of_every_input_and_parameter(name, backend):
    variants = CASES[name].variants
    # Both resets, one detached and one attached; with attention and without; both encoders.
    few = variants[::3] if name in ("ssa", "spikebert", "spikebert_rate") else variants
    few = variants[2:] if name in ("encoder_block", "encoder_block_rate") else few
    check_variants(name, backend, few, SEED)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pairs
def test_in_every_setting(name, backend, seed):
    check_variants(name, backend, CASES[name].variants, seed)


@pairs
def test_float32_agrees_with_float64_to_rounding(name, backend):
    for variant in CASES[name].variants[:12]:
        report = check_float32(prepare(CASES[name], SEED, variant), backend=backend)
        assert report.passed, f"{variant}\n{report}"


def test_both_backends_of_what_has_a_twin():
    twins = {name for name, case in CASES.items() if len(case.backends) > 1}
    assert twins >= {
        "lif", "embedding", "gelu", "linear", "spiking_linear", "ssa", "mlp", "encoder_block",
        "spike_encoding", "spike_input", "feed_forward", "spikebert",
    }  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_no_case_has_settings_that_hide_mistakes(name):
    case = CASES[name]
    for variant, seed in product(case.variants, range(3)):
        run = prepare(case, seed, variant)
        y, cache = run.call(case.pair()[0], run.problem.args)
        neuron = run.problem.settings.get("neuron")
        if neuron is not None:
            assert neuron.tau != 2
            assert neuron.alpha != 2
            assert neuron.v_reset != 0
            assert not neuron.spiking
            assert (run.frozen is not None) == neuron.detach_reset
            assert all(0.02 <= rate <= 0.98 for rate in firing_rates(cache))
        for key, value in (run.problem.params or {}).items():
            assert np.std(value) > 0.05, f"{key} is constant"
        if "ids" in run.problem.settings:
            ids = run.problem.settings["ids"]
            assert len(np.unique(ids)) < len(ids), "no word stands twice"
        assert np.isfinite(y).all()


def test_the_draw_has_at_least_three_steps_and_unlike_sentences():
    for seed in range(20):
        draw = Draw(seed)
        assert draw.T >= 3
        assert len(set(np.diff(draw.offsets))) == 3
        assert draw.neuron.tau != 2


def test_an_impossible_draw_says_so():
    with pytest.raises(ValueError, match=r"mlp: no usable numbers in 400 draws, T = 3, tau = 1\.5"):
        prepare(CASES["mlp"], 0, {"v_th": 50.0}, T=3, tau=1.5)


@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
def test_lif_with_long_and_short_memories(reset):
    lengths = [*product((1.0, 1.5, 3.0, 10.0), (1, 2, 3, 5)), (1.5, 9), (3.0, 9)]
    for (tau, steps), detach in product(lengths, (True, False)):
        variant = {"reset": reset, "detach_reset": detach, "surrogate": "atan"}
        report = check_run(prepare(CASES["lif"], SEED, variant, T=steps, tau=tau), backend="numba")
        assert report.passed, report


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_a_detached_reset_is_not_the_gradient_of_the_unfrozen_network(reset, backend):
    for tau, steps in product((1.5, 3.0), (3, 5)):
        variant = {"reset": reset, "detach_reset": True, "surrogate": "atan"}
        run = prepare(CASES["lif"], SEED, variant, T=steps, tau=tau)
        x, neuron = run.problem.inputs["x"], run.problem.settings["neuron"]
        s, cache = lif_forward(x, neuron=neuron, backend=backend)
        ds = np.random.default_rng(SEED).standard_normal(s.shape)

        def unfrozen(x, neuron=neuron):
            return lif_forward(x, neuron=neuron, backend=backend)[0]

        assert relative_error(lif_backward(ds, cache), numerical_vjp(unfrozen, x, ds)) > 1e-3


def test_a_function_of_ones_own_is_checked_by_name():
    assert check("lif", backward=lif_backward, variant={"reset": "soft"}).passed
    report = check("lif", backward=lambda ds, cache: 2 * lif_backward(ds, cache))
    assert not report.passed
    assert report.suggestions[0].name == "constant factor: 2"


def test_a_float32_pass_that_widens_fails(monkeypatch):
    run = prepare(CASES["tanh"], SEED)
    wide = CASES["tanh"]._replace(
        backward=lambda dy, cache: dy.astype(np.float64) * (1 - cache.y.astype(np.float64) ** 2)
    )
    report = check_float32(run._replace(case=wide))
    assert not report.passed
    assert "the dtype is float64" in str(report)


def test_a_pass_that_is_right_in_some_settings_only_is_caught_and_they_are_named():
    def hard_detached_atan(ds, cache):
        fixed = replace(
            cache.neuron, reset="hard", detach_reset=True, surrogate="atan", decay_input=True
        )
        return lif_backward(ds, cache._replace(neuron=fixed))

    report = check("lif", backward=hard_detached_atan)
    assert not report.passed
    assert "surrogate atan, reset hard, detach_reset True, decay_input False" in report.title


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("liff", {}, "no case is called liff; there are lif"),
        ("lif", {"variant": {"reset": "medium"}}, "it has {'reset': ['hard', 'none', 'soft']}"),
        ("lif", {"variant": {"rezet": "soft"}}, "lif has no setting rezet"),
        ("softmax", {"variant": {"reset": "soft"}}, "softmax has no setting reset: none"),
        ("layernorm", {"backend": "numba"}, "layernorm has no backend numba: numpy"),
        ("lif", {"backend": "cuda"}, "lif has no backend cuda: numpy, numba"),
    ],
)
def test_what_does_not_exist_is_answered_by_one_sentence(name, asked, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check(name, **asked)


def test_a_float32_forward_pass_that_widens_fails():
    from spikebert_np.layers.activations import tanh_forward

    def widened(x):
        y, cache = tanh_forward(x)
        return y.astype(np.float64), cache

    run = prepare(CASES["tanh"], SEED)
    report = check_float32(run._replace(case=CASES["tanh"]._replace(forward=widened)))
    assert report.rows[0].name == "y"
    assert report.rows[0].status == "FAIL"


def test_attention_of_a_long_sentence(rng):
    q, k, v = rng.standard_normal((3, 2, 21, 4))
    report = check_gradients(
        lambda q, k, v: attention_forward(
            q, k, v, offsets=np.array([0, 1, 21]), heads=2, scale=0.4
        ),
        attention_backward,
        q, k, v,
    )  # fmt: skip
    assert report.passed, report
