"""The libraries themselves: that the stored references are what they give, and that the recipes of
tutorials/conventions.md convert their own neurons, on settings and inputs nobody has seen before.

python -m pytest -m oracles tests/test_oracle_libraries.py
"""

import importlib
from pathlib import Path

import numpy as np
import pytest
from conventions_page import recipes, tables
from test_conventions import assert_shows_numbers
from test_lif_reference import load

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.layers.lif import LIFNeuron, lif_backward, lif_forward, membrane_after_reset
from spikebert_np.layers.linear import linear_backward, linear_forward

pytestmark = pytest.mark.oracles

MAKERS = sorted(path.stem for path in (Path(__file__).parent / "oracles").glob("make_*.py"))
DRAWS = 20


@pytest.fixture(autouse=True)
def oracles_folder(monkeypatch):
    for package in ("torch", "spikingjelly", "snntorch", "norse", "transformers"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(Path(__file__).parent / "oracles")


@pytest.fixture
def libraries(oracles_folder):
    return importlib.import_module("libraries")


@pytest.fixture
def torch(oracles_folder):
    return importlib.import_module("torch")


@pytest.fixture
def rng():
    seed = np.random.SeedSequence().entropy
    print(f"seed {seed}")  # shown where the test fails
    return np.random.default_rng(seed)


@pytest.mark.parametrize("maker", MAKERS)
def test_stored_files_are_what_the_installed_libraries_give(maker):
    for name, made in importlib.import_module(maker).make().items():
        stored = load(name)
        assert made.keys() == stored.keys()
        for key, expected in stored.items():
            if key == "versions":
                continue
            got = np.asarray(made[key])
            assert got.shape == expected.shape, key
            assert got.dtype == expected.dtype, key
            if expected.dtype.kind != "f":
                np.testing.assert_array_equal(got, expected, err_msg=key)
            else:
                np.testing.assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=key)
                tolerance = 1e-12 if expected.dtype == np.float64 else 1e-6
                assert relative_error(np.nan_to_num(got), np.nan_to_num(expected)) < tolerance, key


def assert_same_layer(neuron, run, x, ds, *, trace, tolerance, gain=1.0):
    """Ours against a library's Run on the same input, which may be a draw too close to a threshold.

    Returns whether the draw was fit to be compared.
    """
    s, cache = lif_forward(x, neuron=neuron)
    if np.abs(cache.h - neuron.v_th).min() < 1e-6 or not 0.02 < s.mean() < 0.98:
        return False
    np.testing.assert_array_equal(s, run.spikes, err_msg=str(neuron))
    recorded = cache.h if trace == "H" else membrane_after_reset(cache)
    assert relative_error(recorded, run.trace) < 1e-12, neuron
    if tolerance:
        dx = gain * lif_backward(ds, cache)
        assert dx.any(), neuron
        assert relative_error(dx, run.dx) < tolerance, neuron
    return True


def draw(rng):
    """T, tau, v_th and v_reset, and input and upstream gradient for them."""
    shape = (int(rng.integers(1, 12)), 60)
    tau, v_th = float(rng.uniform(1.1, 12)), float(rng.uniform(0.4, 1.5))
    x = rng.normal(0.5 * v_th, 1.0, shape) * rng.uniform(0.7, 1.5)
    return tau, v_th, float(rng.uniform(-0.5, 0.2)), x, rng.standard_normal(shape)


def test_recipe_for_spikingjelly(libraries, rng):
    from spikingjelly.activation_based import neuron, surrogate

    convert = recipes()["from_spikingjelly"]
    kinds = [getattr(surrogate, name) for name in ("ATan", "Sigmoid", "SoftSign")]
    kinds += [surrogate.PiecewiseQuadratic, surrogate.Rect]
    compared = 0
    for i in range(4 * DRAWS):
        tau, v_th, v_reset, x, ds = draw(rng)
        decay_input, hard, detach_reset = (bool(rng.integers(2)) for _ in range(3))
        node = neuron.LIFNode(
            tau,
            decay_input,
            v_th,
            v_reset if hard else None,
            kinds[i % len(kinds)](float(rng.uniform(0.3, 5))),
            detach_reset,
            step_mode="m",
            store_v_seq=True,
        )
        x = x * tau if decay_input else x
        compared += assert_same_layer(
            convert(node),
            libraries.run_spikingjelly(node, x, ds),
            x,
            ds,
            trace="V",
            tolerance=1e-12,
        )
    assert compared > DRAWS


def test_who_remembers_the_last_call(torch):
    from spikingjelly.activation_based import functional, neuron

    x = np.full((3, 5), 1.2)
    node = neuron.LIFNode(3.0, step_mode="m", store_v_seq=True)
    calls = []
    for reset in (False, False, True):
        if reset:
            functional.reset_net(node)
        node(torch.as_tensor(x))
        calls.append(node.v_seq.numpy())
    assert np.abs(calls[0] - calls[1]).max() > 0.1
    np.testing.assert_array_equal(calls[0], calls[2])
    ours = [lif_forward(x, neuron=LIFNeuron(tau=3.0))[1].h for _ in range(2)]
    np.testing.assert_array_equal(*ours)


def test_recipe_for_an_integrate_and_fire_node(libraries, rng):
    from spikingjelly.activation_based import neuron, surrogate

    _, v_th, _, x, ds = draw(rng)
    node = neuron.IFNode(v_th, surrogate_function=surrogate.ATan(), step_mode="m", store_v_seq=True)
    ours = LIFNeuron(tau=np.inf, v_th=v_th, decay_input=False, detach_reset=False)
    s, cache = lif_forward(x, neuron=ours)
    run = libraries.run_spikingjelly(node, x, ds)
    np.testing.assert_array_equal(s, run.spikes)
    assert relative_error(lif_backward(ds, cache), run.dx) < 1e-12


def test_recipe_for_snntorch(libraries, torch, rng):
    from snntorch import Leaky, surrogate

    convert = recipes()["from_snntorch"]
    compared = {}
    for _ in range(4 * DRAWS):
        for mechanism, delay in (
            ("zero", True),
            ("zero", False),
            ("none", True),
            ("subtract", False),
        ):
            tau, _, _, x, ds = draw(rng)
            v_th = float(rng.integers(2, 6)) / 4  # exact in float32
            alpha = float(rng.uniform(0.5, 5))
            leaky = Leaky(
                torch.tensor(1 - 1 / tau, dtype=torch.float64),
                torch.tensor(v_th, dtype=torch.float64),
                surrogate.atan(alpha),
                reset_mechanism=mechanism,
                reset_delay=delay,
            )
            neuron = convert(leaky, "atan", alpha, np.float64)
            if mechanism == "subtract":
                x = x / 2
                if lif_forward(x, neuron=neuron)[1].h.max() >= 2 * v_th:
                    continue
            run = libraries.run_snntorch(leaky, x, ds)
            trace = "H" if delay else "V"
            fit = assert_same_layer(neuron, run, x, ds, trace=trace, tolerance=1e-6)
            compared[mechanism, delay] = compared.get((mechanism, delay), 0) + fit
    assert min(compared.values()) > DRAWS // 2, compared


def test_fast_sigmoid_of_snntorch_is_a_factor_where_the_reset_is_detached(libraries, torch, rng):
    from snntorch import Leaky, surrogate

    beta = torch.tensor(0.7, dtype=torch.float64)
    x, ds = rng.normal(0.3, 0.8, (6, 60)), rng.standard_normal((6, 60))
    for delay in (True, False):
        leaky = Leaky(
            beta, spike_grad=surrogate.fast_sigmoid(25), reset_mechanism="zero", reset_delay=delay
        )
        neuron = recipes()["from_snntorch"](leaky, "fast_sigmoid", 25.0, np.float64)
        _, cache = lif_forward(x, neuron=neuron)
        error = relative_error(
            0.08 * lif_backward(ds, cache), libraries.run_snntorch(leaky, x, ds).dx
        )
        assert (error < 1e-6) == delay


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_recipe_for_norse(libraries, torch, rng, reset):
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.functional.reset import reset_subtract, reset_value

    convert = recipes()["from_norse"]
    compared = {"tanh": 0, "triangle": 0, "super": 0}
    for _ in range(2 * DRAWS):
        for method, alpha in (("tanh", 2.0), ("triangle", 1.0), ("super", 100.0)):
            tau, v_th, v_reset, x, ds = draw(rng)
            parameters = LIFBoxParameters(
                *(torch.tensor(c, dtype=torch.float64) for c in (1000 / tau, v_reset, v_th)),
                v_reset=torch.tensor(v_reset, dtype=torch.float64),
                method=method,
                alpha=alpha,
                reset_method=reset_value if reset == "hard" else reset_subtract,
            )
            compared[method] += assert_same_layer(
                convert(parameters, dtype=np.float64),
                libraries.run_norse(parameters, x * tau, ds),
                x * tau,
                ds,
                trace="V",
                # `super` has twice our height, and the reset is attached: another gradient.
                tolerance=None if method == "super" else 1e-12,
            )
    assert min(compared.values()) > DRAWS // 2, compared


def test_norse_with_a_synapse_is_a_filter_on_the_input(libraries, torch, rng):
    from norse.torch.functional import lif, lif_box

    x = rng.normal(1.0, 3.0, (9, 60))
    parameters = lif.LIFParameters(tau_mem_inv=torch.tensor(300.0, dtype=torch.float64))
    tau_syn_inv = float(parameters.tau_syn_inv)
    state = lif.LIFFeedForwardState(*(torch.zeros(60, dtype=torch.float64) for _ in ("v", "i")))
    spikes = []
    for current in torch.as_tensor(x):
        s, state = lif.lif_feed_forward_step(current, state, parameters, 0.001)
        spikes.append(s.numpy())
    filtered, i = np.empty_like(x), np.zeros_like(x[0])
    for t, current in enumerate(x):
        i = filtered[t] = (1 - 0.001 * tau_syn_inv) * i + current
    box = lif_box.LIFBoxParameters(tau_mem_inv=parameters.tau_mem_inv)
    s, cache = lif_forward(filtered, neuron=recipes()["from_norse"](box, dtype=np.float64))
    assert np.abs(cache.h - 1).min() > 1e-6
    assert 0.02 < s.mean() < 0.98
    np.testing.assert_array_equal(s, spikes)


def test_weights_of_a_torch_linear_are_transposed(torch, rng):
    from spikingjelly.activation_based import neuron, surrogate

    model = torch.nn.Sequential(
        torch.nn.Linear(7, 30, dtype=torch.float64),
        neuron.LIFNode(3.0, surrogate_function=surrogate.ATan(), step_mode="m"),
    )
    linear, node = model
    weight, bias = (2 * p.detach().numpy() for p in (linear.weight, linear.bias))
    linear.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    x, ds = rng.normal(1.0, 2.0, (5, 11, 7)), rng.standard_normal((5, 11, 30))
    s = model(torch.as_tensor(x))
    (s * torch.as_tensor(ds)).sum().backward()
    z, linear_cache = linear_forward(x, weight.T, bias)
    ours, lif_cache = lif_forward(z, neuron=recipes()["from_spikingjelly"](node))
    assert 0.02 < ours.mean() < 0.98
    np.testing.assert_array_equal(ours, s.detach().numpy())
    _, dweight, dbias = linear_backward(lif_backward(ds, lif_cache), linear_cache)
    assert relative_error(dweight, linear.weight.grad.numpy().T) < 1e-12
    assert relative_error(dbias, linear.bias.grad.numpy()) < 1e-12


def test_numbers_of_the_surrogates(libraries):
    """Peak, area and half-width of the page, of the curves that the libraries' autograd gives."""
    checked = 0
    for row in tables()["library", "call"]:
        if row["library"] != "ours":
            spike = libraries.SPIKE_FUNCTIONS[row["library"], row["call"]]
            assert_shows_numbers(row, lambda u, s=spike: libraries.surrogate_curve(s, u))
            checked += 1
    assert checked == len(libraries.SPIKE_FUNCTIONS)


def test_where_the_sigmoid_of_snntorch_overflows(libraries):
    u = np.array([-3.43, -3.42], np.float32)
    sigmoid = libraries.FAULTY_SPIKE_FUNCTIONS["sigmoid(25)"]
    assert np.isnan(libraries.surrogate_curve(sigmoid, u)).tolist() == [True, False]


def test_alpha_of_the_superspike_of_norse_does_nothing(libraries):
    from norse.torch.functional.threshold import threshold

    u = np.linspace(-2, 2, 9)
    one, hundred = (
        libraries.surrogate_curve(lambda u, a=alpha: threshold(u, "super", a), u)
        for alpha in (1.0, 100.0)
    )
    np.testing.assert_array_equal(one, hundred)
