"""Figures, in one style that readers with any colour vision can read.

Letters: T spike steps, n tokens of one sentence, D width, H heads.
"""

import os
from pathlib import Path
from textwrap import fill

import numpy as np

from ..blocks.ssa import attention_map
from .firing import spike_layers

# From the palette of Okabe and Ito, whose colours every kind of colour vision tells apart.
BLUE, SKY_BLUE, VERMILLION = "#0072B2", "#56B4E9", "#D55E00"
# From none to many: white, then ever darker, so that it also survives a black-and-white printer.
SCALE = ("#FFFFFF", SKY_BLUE, BLUE, "#00263B")
BAND = "#F0F0F0"

STYLE = {
    "figure.dpi": 150,
    "figure.titlesize": 13,
    "font.size": 9,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.edgecolor": "#808080",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.parse_math": False,  # a word may hold a $
}

_NEURONS = 64  # rows of a raster: more would be finer than the eye


def plot_sentence(cache, tokens, path, *, title):
    """Write `sentence_figure` to path, whose ending, such as .png or .svg, is the format."""
    save_figure(sentence_figure(cache, tokens, title=title), path)


def sentence_figure(cache, tokens, *, title):
    """One sentence as a matplotlib Figure: left the spikes it makes, right its attention map.

    cache: the SpikeBertCache of a forward pass on this sentence alone, by a student with attention.
    tokens: its n tokens as text. title: the heading, such as the sentence and the prediction.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    layers = spike_layers(cache)
    last = f"blocks.{len(cache.blocks) - 1}"
    steps = cache.head.time.steps
    rates = np.stack([s.mean(axis=(0, 2)) for s in layers.values()])  # (layers, n)
    with rc_context(STYLE):
        figure = Figure(figsize=(15, 8.6), layout="constrained")
        figure.suptitle(fill(title, 120))
        left, right = figure.subfigures(1, 2, width_ratios=(1.2, 1))
        axes = left.subplots(3, 1, sharex=True, height_ratios=(1, 1, 1.2))
        draw_raster(axes[0], layers["encoder"], BLUE)
        axes[0].set_title("Spikes of the encoder")
        draw_raster(axes[1], layers[f"{last}.mlp.down"], VERMILLION)
        axes[1].set_title(f"Spikes of the last layer, {last}.mlp.down")
        _draw_rates(axes[2], 100 * rates, list(layers))
        _name_tokens(axes[2].xaxis, tokens)
        axes[0].tick_params(labeltop=True, labelrotation=90, labelsize=_font_size(len(tokens)))
        axes[2].set_xlabel(f"token, {steps} time steps wide")
        axis = right.subplots()
        draw_attention(axis, sentence_attention(cache), tokens)
        axis.set_title(f"Attention of {last}: q kᵀ over all heads and time steps")
    return figure


def sentence_attention(cache):
    """q kᵀ of the last block, summed over heads and steps, of a batch of one sentence: (n, n)."""
    attention = cache.blocks[-1].ssa.attention
    maps = attention_map(attention.q, attention.k, attention.heads)  # (T, H, n, n)
    return maps.sum(axis=(0, 1))  # (n, n)


def save_figure(figure, path):
    """Write under a temporary name, then rename: a reader never sees half a picture."""
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        figure.savefig(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _draw_counts(axis, counts, **settings):
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("spikes", SCALE)
    top = max(counts.max(), 1)  # a silent network is white all over
    return axis.imshow(counts, cmap=scale, vmin=0, vmax=top, interpolation="nearest", **settings)


def draw_raster(axis, s, colour):
    """Every spike of s (T, n, D) as a dash; each token is one unit wide and holds its T steps."""
    from matplotlib.colors import ListedColormap

    steps, tokens, width = s.shape
    neurons = np.linspace(0, width - 1, min(_NEURONS, width)).astype(int)
    raster = s[:, :, neurons].transpose(2, 1, 0).reshape(len(neurons), tokens * steps)
    for token in range(0, tokens, 2):
        axis.axvspan(token - 0.5, token + 0.5, color=BAND, linewidth=0, zorder=-1)
    axis.imshow(
        np.ma.masked_equal(raster, 0),
        cmap=ListedColormap([colour]),
        extent=(-0.5, tokens - 0.5, 0.5, len(neurons) + 0.5),
        aspect="auto",
        interpolation="nearest",
    )
    shown = "all" if len(neurons) == width else f"{len(neurons)} of"
    axis.set_ylabel(f"neuron ({shown} {width})")
    axis.set_yticks([])


def _draw_rates(axis, percent, names):
    """How many percent of a layer's neurons fire, (layers, n)."""
    image = _draw_counts(axis, percent, aspect="auto")
    axis.set_title("Firing rate of every layer, mean over time and neurons")
    axis.set_yticks(range(len(names)), names, fontsize=_font_size(4 * len(names)))
    axis.set_ylabel("layer")
    bar = axis.figure.colorbar(image, ax=axis, location="bottom", aspect=50, pad=0.02)
    bar.set_label("neurons that fire, %")


def draw_attention(axis, attention, tokens, unit="spikes that query and key have in common"):
    """A map (n, n) over the tokens on a matplotlib Axes: row i is what token i looks at."""
    image = _draw_counts(axis, attention)
    _name_tokens(axis.xaxis, tokens)
    _name_tokens(axis.yaxis, tokens)
    axis.set_ylabel("token that looks (query)")
    axis.set_xlabel("token looked at (key)")
    bar = axis.figure.colorbar(image, ax=axis, location="bottom", aspect=50, pad=0.02)
    bar.ax.xaxis.get_major_locator().set_params(integer=attention.max() > 1)
    bar.set_label(unit)
    axis.set_anchor("N")  # the bar has moved the anchor to itself


def _name_tokens(axis, tokens):
    rotation = {"rotation": "vertical"} if axis.axis_name == "x" else {}
    axis.set_ticks(range(len(tokens)), tokens, fontsize=_font_size(len(tokens)), **rotation)


def _font_size(labels):
    """9 points, less where so many labels stand side by side that they would overlap."""
    return min(9, 400 / labels)
