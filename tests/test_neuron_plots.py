"""The figures of the course show what they were given, and say what they show."""

from dataclasses import replace

import numpy as np
import pytest

from spikebert_np.analysis import neuron_plots as plots
from spikebert_np.layers.lif import LIFNeuron, lif_forward
from spikebert_np.layers.surrogate import SURROGATES

X = np.array([2.0, 3.0, 2.0, 4.0])
NEURON = LIFNeuron(tau=4.0)
MAPS = {"counts": (np.array([[0, 2], [1, 0]]), "spikes"), "shares": (np.eye(2), "share")}


def pictures():
    s, cache = lif_forward(X, neuron=NEURON)
    gradients = {"a": np.arange(8.0).reshape(4, 2) - 3, "b": np.ones((4, 2))}
    return {
        "membrane": plots.membrane(X, cache, title="a title"),
        "raster": plots.raster(np.outer(s, [1, 0, 1]), title="a title"),
        "surrogates": plots.surrogates(),
        "under_the_slope": plots.under_the_slope(cache, title="a title"),
        "gradient_map": plots.gradient_map(gradients, title="a title", spikes=np.eye(4)[:, :2]),
        "curves": plots.curves(X, {"a": X}, title="a title", xlabel="x (steps)", ylabel="y"),
        "attention_maps": plots.attention_maps(MAPS, ["a", "b"], title="a title"),
        "bars": plots.bars({"a": {"x": 1.0, "y": 2.5}}, title="a title", unit="µJ"),
    }


NAMES = ["membrane", "raster", "surrogates", "under_the_slope", "gradient_map", "curves",
         "attention_maps", "bars"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_axes_are_named_and_a_notebook_can_show_it(name):
    picture = pictures()[name]
    png, metadata = picture._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert metadata["width"] <= 1000  # of a notebook's column
    axes = picture.figure.axes
    shown = [axis.get_xlabel() + axis.get_ylabel() for axis in axes]
    assert all(shown)
    assert any(axis.get_title(loc="left") for axis in axes) or picture.figure.get_suptitle()


def points(axis, label):
    (line,) = [line for line in axis.lines if line.get_label().startswith(label)]
    return line.get_ydata()


def test_a_membrane_before_and_after_the_reset():
    _, cache = lif_forward(X, neuron=NEURON)
    _, axis = plots.membrane(X, cache, title="").figure.axes
    np.testing.assert_array_equal(points(axis, "H"), [0.5, 1.125, 0.5, 1.375])
    np.testing.assert_array_equal(points(axis, "V"), [0.5, 0, 0.5, 0])
    assert len(points(axis, "spike")) == 2
    soft = replace(NEURON, reset="soft")
    _, axis = plots.membrane(X, lif_forward(X, neuron=soft)[1], title="").figure.axes
    assert points(axis, "V")[1] == 0.125


def test_every_surrogates_area_is_one():
    left, _ = plots.surrogates(alpha=3.0).figure.axes
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert len(labels) == 5
    assert all(label.endswith("area 1.00") for label in labels)


def test_each_step_stands_on_the_slope_at_its_membrane():
    (axis,) = pictures()["under_the_slope"].figure.axes
    _, dots = axis.lines
    np.testing.assert_array_equal(dots.get_xdata(), np.array([0.5, 1.125, 0.5, 1.375]) - 1)
    np.testing.assert_array_equal(
        dots.get_ydata(), SURROGATES["atan"].derivative(dots.get_xdata(), 2.0)
    )
    assert [text.get_text() for text in axis.texts] == ["t = 0", "t = 1", "t = 2", "t = 3"]


def test_a_gradient_map_is_white_at_zero():
    figure = pictures()["gradient_map"].figure
    for axis in figure.axes[:2]:
        (image,) = axis.images
        assert image.cmap(image.norm(0.0)) == pytest.approx((1, 1, 1, 1), abs=0.02)
        assert -image.norm.vmin == image.norm.vmax == 4


def test_dots_have_the_colour_of_their_curve():
    lines = {"a": X, "b": X + 1}
    picture = plots.curves(X, lines, dots={"a": 2 * X, "b": X}, title="", xlabel="x", ylabel="y")
    a, a_dots, b, b_dots = picture.figure.axes[0].lines
    assert a.get_color() == a_dots.get_color() != b.get_color() == b_dots.get_color()
    np.testing.assert_array_equal(a_dots.get_ydata(), 2 * X)


def test_a_logarithmic_axis_carries_the_ticks_that_are_given():
    settings = {"title": "", "xlabel": "x", "ylabel": "y", "log": True, "xticks": [4, 16]}
    picture = plots.curves([4, 8, 16], {"a": [1, 2, 3]}, **settings)
    axis = picture.figure.axes[0].xaxis
    assert [text.get_text() for text in axis.get_ticklabels()] == ["4", "16"]
    assert list(axis.get_minorticklocs()) == []


def test_attention_maps_show_their_rows_by_number_and_word():
    counts, shares, bar, _ = plots.attention_maps(MAPS, ["a", "b"], title="").figure.axes
    np.testing.assert_array_equal(counts.images[0].get_array(), [[0, 2], [1, 0]])
    assert [text.get_text() for text in counts.texts] == ["0", "2", "1", "0"]
    assert [text.get_text() for text in counts.get_yticklabels()] == ["a", "b"]
    assert "query" in counts.get_ylabel()
    assert shares.get_title(loc="left") == "shares"
    assert bar.get_xlabel() == "spikes"


def test_bars_stand_in_order_with_their_values():
    panels = {"rule": {"first": 1.0, "second": 2.5}, "other": {"second": 4.0, "first": 3.0}}
    axes = plots.bars(panels, title="", unit="µJ").figure.axes
    for axis, widths in zip(axes, ([1.0, 2.5], [3.0, 4.0]), strict=True):
        assert [bar.get_width() for bar in axis.patches] == widths
        assert [text.get_text() for text in axis.texts] == [f"{width:.3g}" for width in widths]
    low, high = axes[0].get_ylim()
    assert low > high  # the first label is above
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["first", "second"]
