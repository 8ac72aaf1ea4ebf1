"""The bank of wrong passes: each is caught, and named from its numbers alone; whatever T, tau, seed
and sizes are drawn."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikebert_np.blocks.mlp import mlp_backward
from spikebert_np.checking.case import check_run, prepare
from spikebert_np.checking.cases import CASES, check
from spikebert_np.checking.diagnosis import diagnose
from spikebert_np.checking.mistakes import MISTAKES
from spikebert_np.checking.mutants import MUTANTS, try_mutant
from spikebert_np.checking.patterns import explain_by_pattern
from spikebert_np.checking.planting import planted
from spikebert_np.layers.linear import linear_backward

IDS = [f"{mutant.case}: {mutant.wrong.__name__}" for mutant in MUTANTS]
# Whole blocks and students, with a firing penalty: seconds for each.
PENALISED = {"encoder_block_rate", "spikebert_rate"}
BIG = {"ssa", "encoder_block", "spikebert"} | PENALISED
QUICK = [mutant for mutant in MUTANTS if mutant.case not in BIG]


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=name, marks=pytest.mark.slow if mutant.case in PENALISED else ())
        for name, mutant in zip(IDS, MUTANTS, strict=True)
    ],
)
def test_a_mutant_is_caught_and_named(mutant):
    trial = try_mutant(mutant, seed=1)
    assert trial.caught_by, trial.report
    assert trial.diagnosed, trial.report


def test_the_bank_is_wide():
    assert len(MUTANTS) >= 40
    assert len({mutant.case for mutant in MUTANTS}) >= 20
    assert len({(mutant.case, mutant.wrong.__name__) for mutant in MUTANTS}) == len(MUTANTS)
    # Every mutant's sentence exists; its name is a mistake's.
    assert all(mutant.sentence for mutant in MUTANTS)
    assert {mutant.name.partition(":")[0] for mutant in MUTANTS} <= MISTAKES.keys()
    # No single answer names them all.
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) <= 6


def whatever_is_drawn(bank):
    """A mutant, a seed (and with it all sizes), T and tau."""
    return given(
        mutant=st.sampled_from(bank),
        seed=st.integers(0, 2**31),
        T=st.integers(3, 6),
        tau=st.floats(1.2, 1.8) | st.floats(2.2, 4),
    )


def caught_and_named(mutant, seed, T, tau):
    trial = try_mutant(mutant, seed, T=T, tau=tau)
    assert trial.caught_by, trial.report
    assert trial.diagnosed, trial.report


@settings(max_examples=25, deadline=None)
@whatever_is_drawn(QUICK)
def test_a_mutant_is_caught_and_named_whatever_is_drawn(mutant, seed, T, tau):
    caught_and_named(mutant, seed, T, tau)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@whatever_is_drawn(MUTANTS)
def test_the_same_of_all_mutants(mutant, seed, T, tau):
    caught_and_named(mutant, seed, T, tau)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(["lif", "layernorm", "linear", "softmax", "ssa_sentence"]),
    seed=st.integers(0, 2**31),
)
def test_the_right_pass_is_neither_caught_nor_accused(name, seed):
    run = prepare(CASES[name], seed)
    report = diagnose(check_run(run), run)
    assert report.passed, report
    # Not even where it is taken for wrong.
    assert not explain_by_pattern(list(report.evidence.arrays), report.evidence)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.floats(1e-5, 1e3), which=st.integers(0, 2))
def test_one_wrong_entry_is_caught(seed, size, which):
    rng = np.random.default_rng(seed)

    def one_entry_off(dy, cache):
        grads = list(linear_backward(dy, cache))
        index = tuple(rng.integers(n) for n in grads[which].shape)
        grads[which][index] += size * np.abs(grads[which]).max()
        return tuple(grads)

    report = check("linear", backward=one_entry_off, seed=seed % 1000)
    assert len(report.rows) == 3
    assert [row.status for row in report.rows].count("FAIL") == 1
    assert report.rows[which].status == "FAIL"


# Mistakes of a layer, within a block whose own lines are right.
INSIDE = [
    (mutant, variant)
    for mutant in MUTANTS
    for variant in CASES["encoder_block"].variants[:4]
    if mutant.case in ("lif", "layernorm", "linear", "ssa_sentence")
    and not mutant.forward
    and all(variant.get(key, value) == value for key, value in mutant.where.items())
    and mutant.name not in ("not summed", "forward in time")
][::5]


@pytest.mark.parametrize(("mutant", "variant"), INSIDE)
def test_a_wrong_layer_is_seen_through_the_block(mutant, variant):
    run = prepare(CASES["encoder_block"], 1, variant | mutant.where)
    with planted(CASES[mutant.case].backward, mutant.wrong):
        report = check_run(run)
    assert report.count("FAIL") > 0, report


def test_what_was_planted_is_taken_out_again():
    from spikebert_np.blocks import encoder_block

    with planted(mlp_backward, print):
        assert encoder_block.mlp_backward is print
    assert encoder_block.mlp_backward is mlp_backward


def test_a_pattern_speaks_where_no_formula_fits():
    from spikebert_np.layers.lif import lif_backward

    def right_at_the_end(ds, cache):
        dx = lif_backward(ds, cache)
        dx[:-1] *= 1.5
        return dx

    report = check("lif", backward=right_at_the_end)
    assert report.suggestions[0].name == "right at the last step only"


def test_a_reset_that_meets_only_zeros_is_drawn_anew():
    """In this draw no neuron fires before the last step: the mutant was right by chance."""
    mutant = next(m for m in MUTANTS if (m.case, m.name) == ("lif", "reset factor missing"))
    caught_and_named(mutant, seed=178, T=3, tau=3.0)
