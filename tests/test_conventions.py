"""tutorials/conventions.md against the code and against what the libraries gave when they were run.

The stored file is made by tests/oracles/make_conventions_reference.py, which describes it;
tests/test_oracle_libraries.py makes it anew and runs the recipes on the libraries' own objects.
"""

import math
import re
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from conventions_page import PAGE, recipes, tables
from test_lif_reference import load

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.layers.lif import (
    LIFNeuron,
    lif_backward,
    lif_forward,
    lif_step_forward,
    membrane_after_reset,
)
from spikebert_np.layers.surrogate import SURROGATES

CALL = re.compile(r"(?:([\d.]+) \* )?(\w+)\(([\d.]+)\)")  # 0.08 * fast_sigmoid(25)


@pytest.fixture(scope="module")
def reference():
    return load("conventions.npz")


def shows(cell, number):
    """Whether the cell is the number, rounded to as many digits as the cell has."""
    if "." in cell and "e" not in cell:
        return cell == f"{number:.{len(cell.partition('.')[2])}f}"
    return cell == f"{number:.3g}"


# Rows of the table of neurons, in their order: the probe that answers each.
PROBES = ["leak", "gain", "tie", "trace", "next input", "soft", "reset gradient"]
COLUMNS = {
    "ours": "ours",
    "SpikingJelly LIFNode": "SpikingJelly",
    "snnTorch Leaky": "snnTorch",
    "Norse LIFBoxCell": "Norse",
    "spytorch": "spytorch",
}


def our_answers():
    """What one neuron of ours (tau = 4, v_th = 1, from rest at 0) says, in the page's words."""

    def run(*x, reset="hard"):
        x = np.array(x)[:, None]
        s, cache = lif_forward(x, neuron=LIFNeuron(tau=4.0, reset=reset))
        return s[:, 0], cache.h[:, 0], membrane_after_reset(cache)[:, 0], cache

    _, h, _, _ = run(0.5, 0.0)
    s, at_spike, after_spike, cache = run(6.0, 2.0)  # H = 1.5 fires, H = 0.5 does not
    _, soft, _, _ = run(6.0, 0.0, reset="soft")
    through_reset = lif_backward(np.array([[0.0], [1.0]]), cache)[0, 0]
    assert s.tolist() == [1, 0]
    return {
        "leak": h[1] / h[0],
        "gain": h[0] / 0.5,
        "tie": ">= 0" if run(4.0)[0][0] else "> 0",
        "trace": "H and V" if (at_spike[0], after_spike[0]) == (1.5, 0.0) else "?",
        "next input": "kept" if at_spike[1] == 0.5 else "lost",
        "soft": {0.375: "before leak", 0.125: "after leak"}[soft[1]],
        "reset gradient": "attached" if through_reset else "detached",
    }


@pytest.mark.parametrize("column", COLUMNS)
def test_table_of_neurons(reference, column):
    rows = tables()["", "ours"]
    assert len(rows) == len(PROBES)
    assert set(rows[0]) == {"", *COLUMNS}
    # The constants with which each neuron was probed, in its own letters.
    constants = {"tau": 4.0, "beta": 0.75, "dt": 0.001, "tau_mem_inv": 250.0}
    ours = our_answers()
    for row, probe in zip(rows, PROBES, strict=True):
        answer = ours[probe] if column == "ours" else reference[f"neuron/{COLUMNS[column]}/{probe}"]
        if probe in ("leak", "gain"):
            assert eval(row[column], constants) == pytest.approx(float(answer)), row
        elif probe == "tie" and column != "ours":
            assert row[column] == f"{answer} 0", row
        else:
            assert row[column] == str(answer), row


def test_ties(reference):
    """Each library's answer where H is v_th exactly, and ours where v_th is raised to the next."""
    answers = {name: str(reference[f"neuron/{name}/tie"]) for name in list(COLUMNS.values())[1:]}
    assert answers == {"SpikingJelly": ">=", "snnTorch": ">", "Norse": ">", "spytorch": ">"}
    just_above = recipes()["just_above"]
    for dtype in (np.float32, np.float64):
        for v_th in (1.0, 0.8, 3.0):
            tie = dtype(v_th)
            x = np.array([[np.nextafter(tie, dtype(0)), tie, np.nextafter(tie, dtype(9))]])
            for threshold, fires in ((float(tie), [0, 1, 1]), (just_above(v_th, dtype), [0, 0, 1])):
                neuron = LIFNeuron(v_th=threshold, decay_input=False)
                for backend in ("numpy", "numba"):
                    s, _ = lif_forward(x, neuron=neuron, backend=backend)
                    assert s.tolist() == [fires]


def test_table_of_detaching():
    stored = load("lif_spikingjelly.npz")
    variants = list(zip(stored["resets"], stored["v_resets"], stored["detach_resets"], strict=True))
    detached, attached = variants.index(("hard", 0.0, True)), variants.index(("hard", 0.0, False))
    rows = tables()["T", "least"]
    assert [int(row["T"]) for row in rows] == stored["steps"].tolist()
    for row in rows:
        dx = stored[f"t{row['T']}/dx"]  # (surrogates, taus, decays, variants, T, M)
        differences = [
            relative_error(dx[*index, detached], dx[*index, attached])
            for index in np.ndindex(dx.shape[:3])
        ]
        assert shows(row["least"], min(differences)), min(differences)
        assert shows(row["median"], np.median(differences)), np.median(differences)
        assert shows(row["most"], max(differences)), max(differences)


def test_table_of_soft_resets(reference):
    rows = tables()["tau", "ours fires at"]
    assert [float(row["tau"]) for row in rows] == reference["soft/tau"].tolist()
    columns = {
        "SpikingJelly": "SpikingJelly",
        "Norse": "Norse",
        "snnTorch": "snnTorch",
        "snnTorch, reset_delay=False": "snnTorch undelayed",
    }
    x = reference["soft/x"]
    assert x.shape == (8, 500)
    for i, row in enumerate(rows):
        neuron = LIFNeuron(tau=float(row["tau"]), reset="soft", decay_input=False)
        ours, _ = lif_forward(x, neuron=neuron)
        percent, unit = row["ours fires at"].split()
        assert unit == "%"
        assert shows(percent, 100 * ours.mean())
        for column, name in columns.items():
            differ = 100 * np.mean(ours != reference[f"soft/{name}"][i])
            assert shows(row[column].split()[0], differ), (row, column, differ)


def test_why_the_soft_resets_differ(reference):
    """The page's two sentences on snnTorch, as code: they give its spikes exactly."""
    x, taus = reference["soft/x"], reference["soft/tau"]
    for i, tau in enumerate(taus):
        beta = 1 - 1 / tau
        delayed, undelayed = np.empty_like(x), np.empty_like(x)
        h, v, s = np.zeros_like(x[0]), np.zeros_like(x[0]), np.zeros_like(x[0])
        for t, current in enumerate(x):
            h = beta * h - s + current
            s = delayed[t] = h > 1
            again = v > 1
            charged = beta * v + current
            fires = undelayed[t] = charged - again > 1
            v = charged - fires
        np.testing.assert_array_equal(delayed, reference["soft/snnTorch"][i])
        np.testing.assert_array_equal(undelayed, reference["soft/snnTorch undelayed"][i])


def curve_of(expression, u):
    """`0.08 * fast_sigmoid(25)` of ours, at u."""
    factor, name, alpha = CALL.fullmatch(expression).groups()
    return float(factor or 1) * SURROGATES[name].derivative(u, float(alpha))


def row_formula(row):
    """The formula of a row of the table of surrogates, as a function of u."""
    names = {name: getattr(np, name) for name in ("pi", "abs", "maximum", "cosh")}
    alpha = float(CALL.fullmatch(row["call"])[3])
    return lambda u: eval(row["σ'(u)"], {"a": alpha, "u": u, **names})


def assert_shows_numbers(row, curve):
    """The row's peak, area and half-width are those of the curve, a function even in u."""
    u = np.geomspace(1e-9, 1e9, 400_001)  # heavy tails: 1 / u^2
    with np.errstate(over="ignore"):  # cosh(1e9)
        y = curve(u)
    peak = curve(np.zeros(1))[0]
    half_width = np.exp(np.interp(-peak / 2, -y, np.log(u)))
    numbers = {"peak": peak, "area": 2 * np.trapezoid(y, u), "half-width": half_width}
    assert {name: row[name] for name in numbers} == {
        name: f"{number:.3g}" for name, number in numbers.items()
    }


def test_table_of_surrogates(reference):
    rows = tables()["library", "call"]
    u = reference["u"]
    stored = {key.partition("/")[2] for key in reference if key.startswith("curve/")}
    assert {f"{row['library']} {row['call']}" for row in rows if row["library"] != "ours"} == stored
    ours = [CALL.fullmatch(row["call"])[2] for row in rows if row["library"] == "ours"]
    assert sorted(ours) == sorted(SURROGATES)
    for row in rows:
        library, call = row["library"], row["call"]
        curve = curve_of(call, u) if library == "ours" else reference[f"curve/{library} {call}"]
        assert relative_error(row_formula(row)(u), curve) < 1e-12, row
        assert relative_error(curve_of(row["in ours"], u), curve) < 1e-12, row
        assert_shows_numbers(row, row_formula(row))


def test_the_fast_sigmoids_differ_a_hundredfold():
    rows = tables()["library", "call"]
    first, last = (
        next(i for i, row in enumerate(rows) if row["call"] == call)
        for call in ("fast_sigmoid(2)", "SurrGradSpike(100)")
    )
    fast = rows[first : last + 1]
    assert len(fast) == 6
    assert all("fast_sigmoid" in row["in ours"] for row in fast)
    widths = [float(row["half-width"]) for row in fast]
    assert max(widths) / min(widths) == pytest.approx(100, rel=0.01)
    assert "0.08 in four layers is 4e-5" in PAGE.read_text(encoding="utf-8").replace("\n", " ")
    assert f"{0.08**4:.0e}" == "4e-05"


def test_table_of_faulty_surrogates(reference):
    rows = tables()["call", "u = -4"]
    assert {f"faulty/{row['call']}" for row in rows} == {
        key for key in reference if key.startswith("faulty/")
    }
    for row in rows:
        answers = reference[f"faulty/{row['call']}"]
        for u, answer in zip(reference["faulty_u"], np.broadcast_to(answers, 5), strict=True):
            cell = row[f"u = {u:g}"]
            assert cell == (str(answer) if answers.dtype.kind == "U" else f"{answer:.3g}"), row
    (edge,) = re.findall(r"NaN below u = (-[\d.]+) ", PAGE.read_text(encoding="utf-8"))
    u = np.array([float(edge) - 0.01, float(edge)], np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf(25 * np.exp(-25 * u)).tolist() == [True, False]


def stand_in(kind, **attributes):
    """An object whose class has this name: what a recipe reads of a library's object."""
    return type(kind, (), attributes)()


def test_recipe_for_spikingjelly():
    stored = load("lif_spikingjelly.npz")
    convert = recipes()["from_spikingjelly"]
    kinds = {
        "atan": "ATan",
        "sigmoid": "Sigmoid",
        "fast_sigmoid": "SoftSign",
        "triangle": "PiecewiseQuadratic",
        "rectangle": "Rect",
    }
    for index in np.ndindex(stored["t9/dx"].shape[:4]):
        i, tau, decay, variant = index
        if stored["resets"][variant] == "none":
            continue  # SpikingJelly has no such node
        v_reset = float(stored["v_resets"][variant])
        neuron = convert(
            stand_in(
                "LIFNode",
                tau=float(stored["taus"][tau]),
                v_threshold=float(stored["v_th"]),
                v_reset=None if math.isnan(v_reset) else v_reset,
                decay_input=bool(stored["decay_inputs"][decay]),
                detach_reset=bool(stored["detach_resets"][variant]),
                surrogate_function=stand_in(
                    kinds[str(stored["surrogates"][i])],
                    alpha=float(stored["alphas"][i]),
                    spiking=True,
                ),
            )
        )
        x = stored["t9/scale"][tau, decay, variant] * stored["t9/x"]
        s, cache = lif_forward(x, neuron=neuron)
        np.testing.assert_array_equal(s, stored["t9/spikes"][tau, decay, variant])
        assert relative_error(lif_backward(stored["t9/ds"], cache), stored["t9/dx"][index]) < 1e-12


@pytest.mark.parametrize(
    ("node", "function", "spiking", "message"),
    [
        ("IFNode", "ATan", True, "IFNode: only a LIFNode"),
        ("ParametricLIFNode", "ATan", True, "ParametricLIFNode: only a LIFNode"),
        ("LIFNode", "SuperSpike", True, "ours has no SuperSpike"),
        ("LIFNode", "ATan", False, "spiking=False: the node gives no spikes"),
    ],
)
def test_recipe_for_spikingjelly_refuses_what_has_no_twin(node, function, spiking, message):
    function = stand_in(function, alpha=2.0, spiking=spiking)
    with pytest.raises(ValueError, match=message):
        recipes()["from_spikingjelly"](stand_in(node, surrogate_function=function))


@pytest.mark.parametrize(
    ("beta", "factor", "message"),
    [
        (1.0, 1.0, "beta must be one number below 1"),
        (np.array([0.5, 0.6]), 1.0, "beta must be one number below 1"),
        (0.5, 3.0, "graded_spikes_factor must be 1"),
    ],
)
def test_recipe_for_snntorch_refuses_what_has_no_twin(beta, factor, message):
    leaky = SimpleNamespace(beta=beta, graded_spikes_factor=factor)
    with pytest.raises(ValueError, match=message):
        recipes()["from_snntorch"](leaky)


def test_recipe_for_snntorch():
    stored = load("lif_snntorch.npz")
    convert = recipes()["from_snntorch"]
    for tau, variant in np.ndindex(stored["t9/scale"].shape):
        leaky = SimpleNamespace(
            beta=1 - 1 / stored["taus"][tau],
            threshold=stored["v_th"],
            reset_mechanism=str(stored["reset_mechanisms"][variant]),
            reset_delay=bool(stored["reset_delays"][variant]),
            graded_spikes_factor=1.0,
        )
        neuron = convert(leaky, "atan", float(stored["alpha"]), np.float64)
        x = stored["t9/scale"][tau, variant] * stored["t9/x"]
        s, cache = lif_forward(x, neuron=neuron)
        np.testing.assert_array_equal(s, stored["t9/spikes"][tau, variant])
        dx = lif_backward(stored["t9/ds"], cache)
        assert relative_error(dx, stored["t9/dx"][tau, variant]) < 1e-6


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_recipe_for_norse(reference, reset):
    v_reset = float(reference["norse/v_reset"]) if reset == "hard" else 0.0
    constants = SimpleNamespace(
        tau_mem_inv=1000 / reference["norse/tau"],
        v_th=reference["norse/v_th"],
        v_leak=v_reset,
        v_reset=v_reset,
        method="tanh",
        alpha=2.0,
        reset_method=SimpleNamespace(
            __name__={"hard": "reset_value", "soft": "reset_subtract"}[reset]
        ),
    )
    convert = recipes()["from_norse"]
    s, cache = lif_forward(reference["norse/x"], neuron=convert(constants, dtype=np.float64))
    assert 0.02 < s.mean() < 0.98
    np.testing.assert_array_equal(s, reference[f"norse/{reset}/spikes"])
    dx = lif_backward(reference["norse/ds"], cache)
    assert relative_error(dx, reference[f"norse/{reset}/dx"]) < 1e-12
    constants.v_leak = 0.5
    if reset == "hard":
        with pytest.raises(ValueError, match="v_leak must equal v_reset"):
            convert(constants)
    constants.v_leak, constants.method = v_reset, "logistic"
    with pytest.raises(ValueError, match='ours has no method "logistic"'):
        convert(constants)


def test_recipe_for_spytorch(reference):
    alpha, beta, scale = (float(constant) for constant in reference["spytorch/constants"])
    page = recipes()
    neuron = page["from_spytorch"](beta, scale, np.float64)
    x = page["synaptic_current"](reference["spytorch/h"], alpha)  # (T, M)
    expected, ds = reference["spytorch/spikes"], reference["spytorch/ds"]
    s, _ = lif_forward(x, neuron=neuron)
    (percent,) = re.findall(r"([\d.]+) % of the\s+spikes", PAGE.read_text(encoding="utf-8"))
    assert shows(percent, 100 * np.mean(s != expected))
    # The input that follows a spike, taken away.
    kept = np.ones_like(x)
    v = np.zeros_like(x[0])
    for t in range(len(x)):
        s_now, _, v = lif_step_forward(x[t] * kept[t], v, neuron)
        if t + 1 < len(x):
            kept[t + 1] = 1 - s_now
    s, cache = lif_forward(x * kept, neuron=neuron)
    np.testing.assert_array_equal(s, expected)
    # Back through the mask and the synapse, and the table's factor, area / 1.
    dx = 0.02 * lif_backward(ds, cache) * kept
    dh, dsyn = np.zeros_like(dx), np.zeros_like(dx[0])
    for t in reversed(range(len(dx) - 1)):
        dh[t] = dsyn  # syn = alpha * syn + h[t]
        dsyn = dx[t + 1] + alpha * dsyn  # x[t + 1] = syn
    assert scale == 100
    assert relative_error(dh, reference["spytorch/dx"]) < 1e-12


def test_the_page_names_the_versions_that_were_run(reference):
    text = PAGE.read_text(encoding="utf-8").lower()
    for name_and_version in reference["versions"]:
        if not name_and_version.startswith("torch"):
            assert name_and_version in text


def test_tau_and_beta():
    # spytorch's beta = exp(-dt / tau_mem): after a unit current both leak alike.
    neuron = recipes()["from_spytorch"](math.exp(-1 / 10))
    _, cache = lif_forward(np.array([[0.5], [0.0], [0.0], [0.0]]), neuron=neuron)
    for before, after in pairwise(cache.h[:, 0]):
        assert after / before == pytest.approx(math.exp(-1 / 10))
    assert neuron.tau != pytest.approx(10, abs=0.4)
