"""The event-driven linear layer: the reference's sums in another order, and when it is taken."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.cli import main
from spikebert_np.errors import InputError
from spikebert_np.layers.linear import linear_backward, linear_forward
from spikebert_np.process import EVENTS_UP_TO

BOUNDS = {np.float32: 1e-6, np.float64: 1e-14}


def spike_counts(rng, shape, density, dtype):
    """Counts from 1 to 3 where a neuron fires."""
    fires = rng.random(shape) < density
    return (fires * rng.integers(1, 4, shape)).astype(dtype)


@settings(deadline=None)  # the first draws compile
@given(
    rows=st.integers(1, 9),
    width=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    dtype=st.sampled_from(list(BOUNDS)),
    seed=st.integers(0, 99),
)
def test_events_agree_with_the_reference(rows, width, density, dtype, seed):
    # From no event to all of them: rows and columns without one, and rests below four.
    rng = np.random.default_rng(seed)
    x = spike_counts(rng, (2, rows, width), density, dtype)
    weight, bias, dy = (
        rng.standard_normal(shape).astype(dtype) for shape in [(width, 5), (5,), (2, rows, 5)]
    )
    results = {}
    for backend in ("numpy", "events"):
        y, cache = linear_forward(x, weight, bias, backend=backend)
        assert (cache.events is not None) == (backend == "events")
        results[backend] = (y, *linear_backward(dy, cache))
    for ours, expected in zip(results["events"], results["numpy"], strict=True):
        assert ours.dtype == dtype
        assert ours.shape == expected.shape
        # Of sums of up to 40 terms; all but a few are zero at both or at neither.
        assert relative_error(ours, expected) < BOUNDS[dtype] or np.array_equal(ours, expected)


def test_one_spike_for_all_steps(rng):
    # The Heaviside encoder repeats one array by a stride of zero.
    spikes = spike_counts(rng, (5, 8), 0.2, np.float64)
    x = np.broadcast_to(spikes, (3, 5, 8))
    weight, dy = rng.standard_normal((8, 6)), rng.standard_normal((3, 5, 6))
    y, cache = linear_forward(x, weight, np.zeros(6), backend="events")
    np.testing.assert_allclose(y[2], spikes @ weight, atol=1e-14)
    _, dweight, _ = linear_backward(dy, cache)
    np.testing.assert_allclose(dweight, spikes.T @ dy.sum(axis=0), atol=1e-13)


def test_the_wider_of_two_dtypes_is_kept(rng):
    x = spike_counts(rng, (5, 8), 0.4, np.float64)
    weight = rng.standard_normal((8, 3)).astype(np.float32)
    dy = rng.standard_normal((5, 3)).astype(np.float32)
    results = {}
    for backend in ("numpy", "events"):
        y, cache = linear_forward(x, weight, np.zeros(3, np.float32), backend=backend)
        results[backend] = [y, linear_backward(dy, cache)[1]]
    for ours, expected in zip(results["events"], results["numpy"], strict=True):
        assert ours.dtype == expected.dtype == np.float64
        np.testing.assert_allclose(ours, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("backend", "density", "by_events"),
    [
        ("numba", EVENTS_UP_TO - 0.05, True),
        ("numba", EVENTS_UP_TO + 0.05, False),
        ("dense", 0.0, False),
        ("events", 1.0, True),
        ("numpy", 0.0, False),
    ],
)
def test_the_product_is_chosen_by_density(backend, density, by_events, monkeypatch):
    monkeypatch.delenv("SPIKEBERT_EVENTS_UP_TO", raising=False)
    assert goes_by_events(backend, density) == by_events


def goes_by_events(backend, density):
    x = np.zeros((4, 100), np.float32)
    x[:, : round(100 * density)] = 1
    _, cache = linear_forward(x, np.ones((100, 3), np.float32), np.zeros(3, np.float32),
                              backend=backend)  # fmt: skip
    return cache.events is not None


@pytest.mark.parametrize(
    ("setting", "density", "by_events"),
    [
        ("0.5", 0.5, True),  # up to, and with it
        ("0.5", 0.51, False),
        ("0.05", EVENTS_UP_TO - 0.05, False),
        ("0", 0.01, False),
        ("1", 1.0, True),
        ("", EVENTS_UP_TO - 0.05, True),  # as if it were not set
        ("", EVENTS_UP_TO + 0.05, False),
    ],
)
def test_the_environment_moves_the_crossing(setting, density, by_events, monkeypatch):
    monkeypatch.setenv("SPIKEBERT_EVENTS_UP_TO", setting)
    assert goes_by_events("numba", density) == by_events
    assert goes_by_events("events", density)
    assert not goes_by_events("dense", density)


@pytest.mark.parametrize("setting", ["20%", "nan", "-0.1", "1.5", "inf"])
def test_a_crossing_that_is_no_share_is_refused(setting, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("SPIKEBERT_EVENTS_UP_TO", setting)
    sentence = f"SPIKEBERT_EVENTS_UP_TO = {setting}: set it to a share from 0 to 1, such as 0.22, "
    with pytest.raises(InputError) as error:
        goes_by_events("numba", 0.1)
    assert str(error.value) == f"{sentence}or unset it"
    # Before a command has written anything.
    assert main(["bench", "--scaling", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
