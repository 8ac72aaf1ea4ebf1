"""The figures of a report show the numbers that they are given, and say what they show."""

import warnings

import numpy as np
import pytest

from spikebert_np.analysis.answers import calibration
from spikebert_np.analysis.report_plots import (
    calibration_figure,
    curves_figure,
    health_figure,
    plot_health,
)

METRICS = [
    {"epoch": 1, "loss": 0.9, "ce": 2.0, "kl": 0.7, "train_accuracy": 0.5, "dev_accuracy": 0.8},
    {"epoch": 2, "loss": 0.5, "ce": 1.0, "kl": 0.4, "train_accuracy": 0.7, "dev_accuracy": 0.6},
]
WEIGHTS = {"ce": 0.1, "kl": 1.0, "feat": 0.0}


def layer(firing):
    return {"firing": firing, "histogram": [0.0] * 8 + [1.0] + [0.0] * 7}


def record(step, *, firing=0.1, norm=0.5):
    return {
        "step": step,
        "layers": {"encoder": layer(firing), "blocks.0.mlp.up": layer(None)},
        "gradients": {"embedding": norm, "blocks.0.mlp.up": 0.0, "head": None},
        "spike_gradients": {"blocks.0": [0.2, 0.1, None], "encoder": [norm, norm, norm]},
    }


def drawn(figure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()  # lays it out too
    assert all(axis.get_title(loc="left") for axis in figure.axes if axis.get_xlabel())
    return figure.axes


def test_curves_are_weighted_and_the_kept_epoch_is_marked():
    loss, accuracy = drawn(curves_figure(METRICS, WEIGHTS))
    lines = {line.get_label(): line.get_ydata() for line in loss.lines}
    assert list(lines) == ["loss", "0.1 ce", "kl"]
    np.testing.assert_allclose(lines["0.1 ce"], [0.2, 0.1])
    np.testing.assert_allclose(lines["loss"], lines["0.1 ce"] + lines["kl"])
    train, dev, kept = accuracy.lines
    assert (train.get_label(), dev.get_label(), kept.get_label()) == ("train", "dev", "kept")
    assert kept.get_xdata()[0] == 1


def test_without_accuracy_there_is_one_panel():
    (_,) = drawn(curves_figure([{"epoch": i, "loss": 1.0, "feat": 1.0} for i in (1, 2)], WEIGHTS))


def test_health_shows_every_layer():
    records = [record(1), record(11, firing=0.3, norm=1.0)]
    firing, gradient, membrane, flow = drawn(health_figure(records))[:4]

    def image(axis):
        (mesh,) = axis.collections
        return mesh.get_array()

    np.testing.assert_allclose(image(firing)[0], [10, 30])
    assert image(firing).mask[1].all()
    np.testing.assert_allclose(image(gradient)[0], [0.5, 1.0])
    assert image(gradient).mask[2].all()
    np.testing.assert_allclose(image(membrane)[0], [0] * 8 + [100] + [0] * 7)
    assert [label.get_text() for label in flow.get_yticklabels()] == ["encoder", "blocks.0"]
    np.testing.assert_allclose(image(flow)[1, :2], [0.2, 0.1])
    assert "step 11" in membrane.get_title(loc="left")


def test_an_encoder_without_a_membrane_has_no_row_of_its_own():
    records = [record(1), record(11)]
    for entry in records:
        del entry["layers"]["encoder"]["histogram"]
    firing, _, membrane, _ = drawn(health_figure(records))[:4]
    names = [[label.get_text() for label in axis.get_yticklabels()] for axis in (firing, membrane)]
    assert names == [["encoder", "blocks.0.mlp.up"], ["blocks.0.mlp.up"]]


def test_gradients_that_are_alike_look_alike():
    records = [record(step, norm=0.19) for step in (1, 11)]
    flow = drawn(health_figure(records))[3]
    (mesh,) = flow.collections
    assert mesh.norm(0.2) - mesh.norm(0.19) < 0.1
    assert mesh.norm(0.1) - mesh.norm(0.02) == pytest.approx(np.log10(5))


def test_no_label_is_a_formula():
    """The style of all figures reads none: a word may hold a $."""
    for low in (0.7, 0.2, 1e-6):
        figure = health_figure([record(1, norm=low), record(11, norm=1.0)])
        drawn(figure)
        for axis in figure.axes:
            labels = axis.get_yticklabels(which="both")
            assert not [label.get_text() for label in labels if "$" in label.get_text()]


@pytest.mark.parametrize("norm", [0.0, None])
def test_a_gradient_that_is_nowhere_is_drawn_too(norm, tmp_path):
    records = [record(step, norm=norm) for step in (1, 11)]
    for entry in records:
        entry["spike_gradients"] = {"encoder": [norm, norm, norm]}
    drawn(health_figure(records))
    plot_health(records, tmp_path / "health.png")
    assert [path.name for path in tmp_path.iterdir()] == ["health.png"]


def test_calibration_has_a_bar_for_each_bin_that_holds_a_sentence():
    probabilities = np.array([[0.95, 0.05], [0.97, 0.03], [0.45, 0.55]])
    (axis,) = drawn(calibration_figure(calibration(probabilities, np.array([0, 1, 1]))))
    assert [(bar.get_x(), bar.get_height()) for bar in axis.patches] == [(0.5, 1.0), (0.9, 0.5)]
    assert [text.get_text() for text in axis.texts] == ["1", "2"]
    (legend,) = axis.figure.legends  # below the axis: a bar may reach to any corner of it
    assert legend.get_window_extent().y1 < axis.get_window_extent().y0
