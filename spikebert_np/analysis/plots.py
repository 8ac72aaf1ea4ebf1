"""Figures, in one style that readers with any colour vision can read.

Letters: T spike steps, n tokens of one sentence, D width, H heads.
"""

from textwrap import fill

import numpy as np

from ..files import write_atomically
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


def plot_sentence(explanation, path, **settings):
    """Write `sentence_figure` to path, whose ending, such as .png or .svg, is the format."""
    save_figure(sentence_figure(explanation, **settings), path)


def sentence_figure(explanation, *, title, layer=-1, head=None):
    """One sentence as a matplotlib Figure: left its spikes and each token's part, right attention.

    explanation: an `Explanation`. title: the heading, such as the sentence and the answer. layer,
    head: whose attention; head None for the sum of all. Without attention the right half is not
    there.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    cache, tokens = explanation.cache, explanation.tokens
    layers = spike_layers(cache)
    last = len(cache.blocks) - 1
    rates = np.stack([s.mean(axis=(0, 2)) for s in layers.values()])  # (layers, n)
    halves = 1 if cache.blocks[layer].ssa is None else 2
    with rc_context(STYLE):
        figure = Figure(figsize=(7.5 * halves, 9.6), layout="constrained")
        figure.suptitle(fill(title if len(title) <= 240 else f"{title[:239]}…", 60 * halves))
        ratios = (1.2, 1)[:halves]
        left, *right = figure.subfigures(1, halves, width_ratios=ratios, squeeze=False)[0]
        axes = left.subplots(4, 1, sharex=True, height_ratios=(1, 1, 0.7, 1.2))
        draw_raster(axes[0], layers["encoder"], BLUE)
        axes[0].set_title("Spikes of the encoder")
        draw_raster(axes[1], layers[f"blocks.{last}.mlp.down"], VERMILLION)
        axes[1].set_title(f"Spikes of the last layer, blocks.{last}.mlp.down")
        _draw_parts(axes[2], explanation)
        _draw_rates(axes[3], 100 * rates, list(layers))
        _name_tokens(axes[3].xaxis, tokens)
        axes[0].tick_params(labeltop=True, labelrotation=90, labelsize=_font_size(len(tokens)))
        axes[3].set_xlabel(f"token, {cache.head.time.steps} time steps wide")
        for half in right:
            axis = half.subplots()
            draw_attention(axis, explanation.attention(layer, head), tokens)
            heads = "all heads" if head is None else f"head {head}"
            block = f"blocks.{range(len(cache.blocks))[layer]}"
            axis.set_title(f"Attention of {block}: q kᵀ over {heads} and time steps")
    return figure


def save_figure(figure, path):
    """Write to path, in the format of its ending. Raises InputError as `write_atomically` does."""
    write_atomically(path, lambda part: figure.savefig(part, format=path.suffix[1:]))


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


def _draw_parts(axis, explanation):
    """What each token adds to the margin; hatched where the answer is another without it."""
    decided = explanation.answers_without != explanation.answer
    colours = np.where(explanation.parts < 0, VERMILLION, BLUE)
    bars = axis.bar(range(len(decided)), explanation.parts, 0.8, color=colours)
    for bar, decides in zip(bars, decided, strict=True):
        bar.set(hatch="///" if decides else "", edgecolor="white")
    axis.axhline(0, color="#808080", linewidth=0.8)
    axis.set_title("What each token adds to the margin (hatched: without it, another answer)")
    axis.set_ylabel("logits")


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
