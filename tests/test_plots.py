"""The figure of a sentence shows its spikes and says what it shows."""

import warnings

import numpy as np
import pytest

from spikebert_np.analysis.firing import spike_layers
from spikebert_np.analysis.plots import plot_sentence, sentence_attention, sentence_figure
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward

TOKENS = ["[CLS]", "costs", "$", "5", "not", "$", "6", "[SEP]"]
TITLE = "costs $5^^6, not $6"  # as a formula, this would be an error


def forward(gain=1):
    config = SpikeBertConfig(vocab_size=10, embedding_width=8, width=16, heads=2, steps=3)
    params = init_spikebert(config, np.random.default_rng(0))
    params = {key: value * gain if "norm" in key else value for key, value in params.items()}
    ids, offsets = np.arange(8), np.array([0, 8])
    return spikebert_forward(ids, offsets, params, config, backend="numpy")[1]


def texts(labels):
    return [label.get_text() for label in labels]


def test_labels_and_spikes():
    cache = forward()
    figure = sentence_figure(cache, TOKENS, title=TITLE)
    figure.canvas.draw()
    encoder, last, rates, attention = figure.subfigs[0].axes[:3] + figure.subfigs[1].axes[:1]
    assert figure.get_suptitle() == TITLE
    for axis in (encoder, last, rates, attention):
        assert axis.get_title(loc="left")
        assert axis.get_ylabel()
    assert rates.get_xlabel() == "token, 3 time steps wide"
    assert attention.get_xlabel()
    assert texts(encoder.get_xticklabels()) == TOKENS
    assert texts(rates.get_xticklabels()) == TOKENS
    assert texts(attention.get_xticklabels()) == TOKENS
    assert texts(attention.get_yticklabels()) == TOKENS
    layers = spike_layers(cache)
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
    np.testing.assert_array_equal(attention.images[0].get_array(), sentence_attention(cache))


def test_attention_counts_the_channels_that_fire_together():
    cache = forward()
    q, k = cache.blocks[-1].ssa.q.lif.s, cache.blocks[-1].ssa.k.lif.s
    together = (q[:, :, None] * k[:, None]).sum(axis=(0, 3))
    assert together.any()
    np.testing.assert_array_equal(sentence_attention(cache), together)


def test_a_silent_network_is_white():
    figure = sentence_figure(forward(gain=0), TOKENS, title=TITLE)
    attention = figure.subfigs[1].axes[0].images[0]
    assert not attention.get_array().any()
    assert attention.get_clim() == (0, 1)


def test_file(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_sentence(forward(), TOKENS, tmp_path / "sentence.png", title=TITLE)
    assert [file.name for file in tmp_path.iterdir()] == ["sentence.png"]
    assert (tmp_path / "sentence.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_left_where_saving_fails(tmp_path):
    taken = tmp_path / "sentence.png"
    taken.mkdir()
    with pytest.raises(OSError, match=r"sentence\.png"):
        plot_sentence(forward(), TOKENS, taken, title=TITLE)
    assert list(tmp_path.iterdir()) == [taken]
