"""The figure of a sentence shows its spikes and says what it shows."""

import warnings

import numpy as np
import pytest

from spikebert_np.analysis.explanation import Explanation
from spikebert_np.analysis.firing import spike_layers
from spikebert_np.analysis.plots import plot_sentence, sentence_figure
from spikebert_np.errors import InputError
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward

TOKENS = ["[CLS]", "costs", "$", "5", "not", "$", "6", "[SEP]"]
TITLE = "costs $5^^6, not $6"  # as a formula, this would be an error


# Without its tokens: margins of class 1 that fall and rise, and below 0 for the last.
LOGITS, LOGITS_WITHOUT = np.array([0, 3.5]), np.array([[0, 3.5 - i] for i in range(-3, 5)])


def explanation(gain=1, attention=True):
    config = SpikeBertConfig(
        vocab_size=10, embedding_width=8, width=16, heads=2, steps=3, attention=attention
    )
    params = init_spikebert(config, np.random.default_rng(0))
    params = {key: value * gain if "norm" in key else value for key, value in params.items()}
    ids, offsets = np.arange(8), np.array([0, 8])
    cache = spikebert_forward(ids, offsets, params, config, backend="numpy")[1]
    return Explanation(TITLE, TOKENS, False, LOGITS, LOGITS_WITHOUT, cache)


def texts(labels):
    return [label.get_text() for label in labels]


def test_labels_and_spikes():
    found = explanation()
    figure = sentence_figure(found, title=TITLE)
    figure.canvas.draw()
    encoder, last, parts, rates = figure.subfigs[0].axes[:4]
    attention = figure.subfigs[1].axes[0]
    assert figure.get_suptitle() == TITLE
    for axis in (encoder, last, parts, rates, attention):
        assert axis.get_title(loc="left")
        assert axis.get_ylabel()
    assert rates.get_xlabel() == "token, 3 time steps wide"
    assert attention.get_xlabel()
    assert texts(encoder.get_xticklabels()) == TOKENS
    assert texts(rates.get_xticklabels()) == TOKENS
    assert texts(attention.get_xticklabels()) == TOKENS
    assert texts(attention.get_yticklabels()) == TOKENS
    layers = spike_layers(found.cache)
    assert texts(rates.get_yticklabels()) == list(layers)
    for axis, name in ((encoder, "encoder"), (last, "blocks.1.mlp.down")):
        (image,) = axis.images
        # Each token's steps stand side by side, in the order of time.
        raster = image.get_array().filled(0).reshape(16, 8, 3)
        np.testing.assert_array_equal(raster.transpose(2, 1, 0), layers[name])
        assert raster.any()
        assert all(band.get_zorder() < image.get_zorder() for band in axis.patches)
    np.testing.assert_array_equal(
        rates.images[0].get_array()[0], 100 * layers["encoder"].mean((0, 2))
    )
    np.testing.assert_array_equal(attention.images[0].get_array(), found.attention())


def test_each_tokens_part_is_a_bar_hatched_where_it_decides():
    figure = sentence_figure(explanation(), title=TITLE)
    bars = figure.subfigs[0].axes[2].patches
    assert [bar.get_height() for bar in bars] == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert [bool(bar.get_hatch()) for bar in bars] == [False] * 7 + [True]
    assert bars[0].get_facecolor() != bars[7].get_facecolor()


def test_attention_of_the_block_and_head_asked_for():
    found = explanation()
    axis = sentence_figure(found, title=TITLE, layer=0, head=1).subfigs[1].axes[0]
    assert axis.get_title(loc="left").startswith("Attention of blocks.0: q kᵀ over head 1 ")
    np.testing.assert_array_equal(axis.images[0].get_array(), found.attention(0, 1))
    assert len(sentence_figure(explanation(attention=False), title=TITLE).subfigs) == 1


def test_a_title_leaves_room_for_the_picture():
    figure = sentence_figure(explanation(), title="long " * 2000)
    assert len(figure.get_suptitle()) == 240
    assert figure.get_suptitle().count("\n") < 3


def test_a_silent_network_is_white():
    figure = sentence_figure(explanation(gain=0), title=TITLE)
    attention = figure.subfigs[1].axes[0].images[0]
    assert not attention.get_array().any()
    assert attention.get_clim() == (0, 1)


def test_file(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_sentence(explanation(), tmp_path / "sentence.png", title=TITLE)
    assert [file.name for file in tmp_path.iterdir()] == ["sentence.png"]
    assert (tmp_path / "sentence.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_left_where_saving_fails(tmp_path):
    taken = tmp_path / "sentence.png"
    taken.mkdir()
    with pytest.raises(InputError, match=r"sentence\.png: is not a file; name another"):
        plot_sentence(explanation(), taken, title=TITLE)
    assert list(tmp_path.iterdir()) == [taken]
