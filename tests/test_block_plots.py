"""The figures of sentences and blocks show what they were given, and say what they show."""

import numpy as np
import pytest

from spikebert_np.analysis import block_plots as plots

SPIKES = np.array([[[0, 1, 1], [0, 0, 0]], [[0, 0, 1], [0, 1, 0]]])  # (T, n, D) = (2, 2, 3)


def pictures():
    return {
        "sentence_spikes": plots.sentence_spikes({"a": SPIKES}, ["b", "c"], title="a title"),
        "count_shares": plots.count_shares({"a": SPIKES, "b": 3 * SPIKES}, title="a title"),
    }


@pytest.mark.parametrize("name", ["sentence_spikes", "count_shares"])
def test_axes_are_named_and_a_notebook_can_show_it(name):
    picture = pictures()[name]
    png, metadata = picture._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert metadata["width"] <= 1000  # of a notebook's column
    assert all(axis.get_xlabel() + axis.get_ylabel() for axis in picture.figure.axes)


def test_a_sentence_stands_word_by_word_and_neuron_by_neuron():
    panels = {"a": SPIKES, "b": 1 - SPIKES}
    first, second = plots.sentence_spikes(panels, ["b", "c"], title="").figure.axes
    shown = first.images[0].get_array()
    np.testing.assert_array_equal(shown.filled(0), [[0, 0, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0]])
    assert [text.get_text() for text in second.get_xticklabels()] == ["b", "c"]
    # Row 0 of the image lies at the top, and so does the tick of neuron 0.
    assert dict(zip((text.get_text() for text in first.get_yticklabels()), first.get_yticks(),
                    strict=True)) == {"0": 3, "1": 2, "2": 1}  # fmt: skip
    assert first.images[0].get_extent()[2:] == [0.5, 3.5]


def test_the_shares_of_the_counts_fill_a_bar():
    counts = np.array([[[0, 1, 1, 3], [0, 0, 5, 9]]])  # (T, N, D) = (1, 2, 4)
    (axis,) = plots.count_shares({"a": counts}, title="", top=4).figure.axes
    assert [bar.get_width() for bar in axis.patches] == [37.5, 25, 0, 12.5, 25]
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["0", "1", "2", "3", "4 or more"]
