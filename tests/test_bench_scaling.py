"""`spikebert bench --scaling` and `--calibrate`: the fits, what is held, what is written. No test
here asserts a time."""

import os

import numpy as np
import pytest
from tiny import last_json

from spikebert_np.analysis.scaling_plot import scaling_figure
from spikebert_np.benchmarks import cache_reading, calibration, scaling
from spikebert_np.cli import main
from spikebert_np.data.teacher_cache import load_cache

TINY = {
    "width": (8, 16),
    "blocks": (1, 2),
    "steps": (2, 3),
    "tokens": (24, 48),
    "rate": (0.05, 0.15),
}


@pytest.fixture
def tiny(monkeypatch):
    """The whole of it, in small."""
    monkeypatch.setattr(scaling.Shape.__new__, "__defaults__", (16, 1, 2, 48, 0.05))
    monkeypatch.setattr(scaling, "AXES", TINY)
    monkeypatch.setattr(cache_reading, "TOKENS", (100, 200))


def test_a_power_law_is_found_again():
    sizes = np.array([1, 2, 4, 8])
    fit = scaling.fit_power(sizes, 3 * sizes**1.5)
    assert fit.exponent == pytest.approx(1.5)
    assert fit.factor == pytest.approx(3)
    assert fit.off < 1e-12
    # ln t = 0, 1, 0 at ln x = 0, 1, 2: a level line, at a third, that is off by 2/3 in the middle.
    bent = scaling.fit_power(np.exp([0, 1, 2]), np.exp([0, 1, 0]))
    assert bent.exponent == pytest.approx(0, abs=1e-12)
    assert bent.factor == pytest.approx(np.exp(1 / 3))
    assert bent.off == pytest.approx(np.exp(2 / 3) - 1)


def test_a_round_that_the_machine_stretches_moves_no_exponent():
    stretched = np.array([[1.0], [50.0], [1.0]])
    times = [size * stretched * [[1, 2]] for size in (1, 2, 4)]
    axis = scaling.new_axis("tokens", "N", "a step", 1, (10, 20, 40), times)
    assert axis.seconds == pytest.approx([1, 2, 4])
    assert axis.cores == pytest.approx([2, 4, 8])
    assert axis.fit.exponent == pytest.approx(1)
    assert axis.cores_fit.exponent == pytest.approx(1)


def test_a_students_rate_is_set_and_nothing_else(tiny):
    steps = {rate: scaling.ShapedStep(scaling.Shape(rate=rate)) for rate in (0.05, 0.15)}
    for rate, step in steps.items():
        assert step().firing_rate() == pytest.approx(rate, rel=0.3)
    few, many = (scaling.shaped_student(scaling.Shape(rate=rate)) for rate in steps)
    assert few.config == many.config
    moved = {key for key in few.params if (few.params[key] != many.params[key]).any()}
    assert moved == {
        "embedding.norm.bias",
        *(f"blocks.0.{unit}.norm.bias"
          for unit in ("ssa.q", "ssa.k", "ssa.v", "ssa.out", "mlp.up", "mlp.down")),
    }  # fmt: skip
    shifts = {float(many.params[key][0] - few.params[key][0]) for key in moved}
    assert max(shifts) - min(shifts) < 1e-6 < min(shifts)


def test_an_epoch_reads_every_token_of_a_cache_of_the_size_asked_for(tmp_path):
    cache = load_cache(cache_reading.write_tiled(tmp_path / "cache", 5000))
    assert 4500 < len(cache.ids) <= 5500  # more than the shipped cache has with hidden states
    assert cache_reading.read_epoch(cache, 0) == len(cache.ids) == len(cache.hidden[3])


def test_the_command_writes_table_and_plot(tiny, tmp_path, capsys):
    out = tmp_path / "new" / "scaling"
    assert main(["bench", "--scaling", str(out), "--rounds", "1", "--json"]) == 0
    rows = {row["name"]: row for row in last_json(capsys.readouterr().out)["rows"]}
    assert [*rows] == [*TINY, "workers", "cache_opened", "cache_read"]
    for name, sizes in TINY.items():
        row = rows[name]
        assert len(row["rates"]) == len(row["seconds"]) == 2
        assert row["sizes"] == (row["rates"] if name == "rate" else list(sizes))
    assert rows["rate"]["rates"][0] < rows["rate"]["rates"][1]
    assert rows["workers"]["sizes"] == [1, 2]
    page = (out / "SCALING.md").read_text("utf-8")
    assert "D 16, 1 blocks, T 2, 48 tokens" in page
    assert "| a step | width D | 8, 16 |" in page
    assert "Two threads against one" in page
    assert (out / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in out.iterdir()} == {"SCALING.md", "scaling.png"}
    figure = scaling_figure(list(rows.values()), title="base")
    panels = [axis for axis in figure.axes if axis.get_title(loc="left")]
    for panel, row in zip(panels, rows.values(), strict=True):
        assert f"exponent {row['fit']['exponent']:.2f}" in panel.get_title(loc="left")
        assert panel.get_xscale() == panel.get_yscale() == "log"
        assert panel.get_xlabel() == row["label"]
        assert panel.get_ylabel().endswith("ms")
        points, line = panel.lines[:2]
        np.testing.assert_allclose(points.get_ydata(), 1e3 * np.array(row["seconds"]))
        # Of two points the line goes through both.
        np.testing.assert_allclose(line.get_ydata(), points.get_ydata())


def test_what_cannot_be_written_or_measured_is_refused_before_measuring(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["bench", "--scaling", str(tmp_path / "file")]) == 2
    assert "is not a folder; name another" in capsys.readouterr().err
    assert main(["bench", "--calibrate", "--run", str(tmp_path)]) == 2
    assert "leave --run out" in capsys.readouterr().err


def test_the_crossing_lies_on_the_line_between_two_densities():
    densities = (0.1, 0.2, 0.4)
    assert calibration.crossing(densities, [0.5, 0.5, 2]) == pytest.approx(0.3)
    assert calibration.crossing(densities, [0.25, 2, 0.5]) == pytest.approx(0.1 + 0.1 * 2 / 3)
    assert calibration.crossing(densities, [0.5, 0.6, 0.7]) == 0.4
    assert calibration.crossing(densities, [1.1, 2, 3]) == 0.0


def test_both_ways_of_the_calibration_are_one_product(monkeypatch):
    monkeypatch.setattr(calibration, "ROWS", 40)
    sides = calibration.new_sides((16, 12), 0.3)
    (by_events, cache), (dense, other) = (sides["forward", way](0) for way in ("events", "dense"))
    assert cache.events is not None
    assert other.events is None
    assert 0.2 < np.mean(cache.x != 0) < 0.4
    np.testing.assert_allclose(by_events, dense, rtol=1e-5, atol=1e-5)
    dw = [sides["dW", way](0) for way in ("events", "dense")]
    np.testing.assert_allclose(*dw, rtol=1e-5, atol=1e-5)


def test_the_command_tells_what_to_set_and_sets_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SPIKEBERT_EVENTS_UP_TO", "0.3")
    monkeypatch.setattr(calibration, "ROWS", 16)
    monkeypatch.setattr(calibration, "WIDTHS", (4, 8))
    monkeypatch.setattr(calibration, "DENSITIES", (0.1, 0.4))
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "--calibrate", "--rounds", "1", "--json"]) == 0
    assert dict(os.environ) == before
    assert not list(tmp_path.iterdir())
    printed = capsys.readouterr().out
    found = last_json(printed)
    assert found["now"] == 0.3
    assert found["events_up_to"].keys() == {"d4", "d8"}
    assert all(0 <= value <= 0.4 for value in found["events_up_to"].values())
    for width in (4, 8):
        value = found["events_up_to"][f"d{width}"]
        assert f"D {width}:  export SPIKEBERT_EVENTS_UP_TO={value:g}\n" in printed
        rows = [row for row in found["rows"] if row["width"] == width]
        assert {row["product"] for row in rows} == {
            f"{width} -> {width}", f"{width} -> {4 * width}", f"{4 * width} -> {width}", "a block"
        }  # fmt: skip
        assert [row["part"] for row in rows] == 4 * ["forward", "dW", "both"]
        assert all(len(row["ratios"]) == 2 and min(row["ratios"]) > 0 for row in rows)
    assert "nothing has been changed" in printed
