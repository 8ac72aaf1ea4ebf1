"""Figures of the course: how training goes, and what a trained student does.

Each function gives a Picture, which a notebook shows.

Letters: n tokens of one sentence, C classes.
"""

import numpy as np

from .neuron_plots import COLOURS, DASHES, GREY, Picture, new_axes
from .plots import BAND, BLUE, SCALE, VERMILLION

MARKS = ("o", "s", "^", "D", "v")


def _scale():
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("from none to many", SCALE)


def gradient_norms(norms, *, title):
    """{loss: {part of the network: norm of its gradient}} as a map; no colour where there is none.

    The colours are logarithmic, and each norm stands in its field.
    """
    from matplotlib.colors import LogNorm

    parts = list(next(iter(norms.values())))
    values = np.array([[row[part] for part in parts] for row in norms.values()])
    shade = LogNorm(values[values > 0].min() / 2, 4 * values.max())
    figure, (axis,) = new_axes(size=(8, 1.5 + 0.45 * len(norms)))
    axis.imshow(np.ma.masked_equal(values, 0), cmap=_scale(), norm=shade, aspect="auto")
    for i, j in np.argwhere(values > 0):
        colour = "white" if shade(values[i, j]) > 0.6 else "black"
        axis.text(j, i, f"{values[i, j]:.2g}", ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(parts)), parts)
    axis.set_yticks(range(len(norms)), list(norms))
    axis.set_xlabel("part of the network, the input first")
    axis.set_ylabel("loss")
    axis.set_title(title, loc="left")
    return Picture(figure)


def learning_curves(lines, *, title, chance=0.5):
    """Accuracy after each epoch, {name: values}, with a grid to read it by."""
    figure, (axis,) = new_axes(size=(8, 3.8))
    epochs = max(map(len, lines.values()))
    for (name, values), colour, dashes, mark in zip(
        lines.items(), COLOURS, DASHES, MARKS, strict=False
    ):
        axis.plot(range(1, len(values) + 1), values, color=colour, linestyle=dashes, marker=mark,
                  ms=4, linewidth=1.4, label=name)  # fmt: skip
    axis.axhline(chance, color=GREY, linestyle=":", linewidth=1)
    axis.text(epochs + 0.4, chance, "chance", color=GREY, fontsize=8, va="bottom", ha="right")
    axis.set_xlim(0.6, epochs + 0.4)
    axis.set_xticks(range(1, epochs + 1))
    axis.yaxis.set_major_locator(_every(0.1))
    axis.yaxis.set_minor_locator(_every(0.02))
    axis.tick_params(which="minor", length=0)
    axis.grid(axis="both", color="#D0D0D0", linewidth=0.8)
    axis.grid(axis="y", which="minor", color=BAND, linewidth=0.6)
    axis.set_xlabel("epoch")
    axis.set_ylabel("accuracy (share that is right)")
    axis.set_title(title, loc="left")
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    return Picture(figure)


def _every(step):
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(step)


def accuracies(scores, *, title, chance=0.5):
    """{model: {kind of sentence: accuracy}}: a row a kind, a mark a model."""
    kinds = list(next(iter(scores.values())))
    figure, (axis,) = new_axes(size=(8, 1.5 + 0.5 * len(kinds)))
    for y in range(0, len(kinds), 2):
        axis.axhspan(y - 0.5, y + 0.5, color=BAND, linewidth=0, zorder=-1)
    shifts = np.linspace(-0.27, 0.27, len(scores))  # marks of one height do not hide each other
    for (model, row), colour, mark, shift in zip(
        scores.items(), COLOURS, MARKS, shifts, strict=False
    ):
        places = np.arange(len(kinds)) + shift
        axis.plot([row[kind] for kind in kinds], places, mark, color=colour, ms=6, label=model)
    axis.axvline(chance, color=GREY, linestyle=":", linewidth=1)
    axis.set_yticks(range(len(kinds)), kinds)
    axis.set_ylim(len(kinds) - 0.5, -0.5)
    axis.set_xlim(min(0.38, *(min(row.values()) - 0.03 for row in scores.values())), 1.02)
    axis.set_xlabel("accuracy on the test split (dotted: chance)")
    axis.set_title(title, loc="left")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return Picture(figure)


def firing_map(rates, columns, *, title, xlabel, line=None):
    """{layer: shares of its neurons that fire}, one a column, as a map.

    columns: their names. line: a line is drawn before this column.
    """
    percent = 100 * np.array(list(rates.values()))  # (layers, columns)
    words = isinstance(columns[0], str)
    figure, (axis,) = new_axes(size=(8, 1.3 + 0.2 * len(percent) + 0.5 * words))
    image = axis.imshow(percent, cmap=_scale(), vmin=0, vmax=max(percent.max(), 1), aspect="auto",
                        interpolation="nearest")  # fmt: skip
    if line is not None:
        axis.axvline(line - 0.5, color="black", linewidth=1.2)
    axis.set_xticks(range(len(columns)), columns, rotation=90 if words else 0)
    axis.set_yticks(range(len(percent)), list(rates), fontsize=8)
    axis.set_xlabel(xlabel)
    axis.set_ylabel("layer, the input first")
    axis.set_title(title, loc="left")
    figure.colorbar(image, ax=axis, pad=0.02).set_label("neurons that fire, %")
    return Picture(figure)


def votes(votes, tokens, *, title):
    """What each token pleads for: its vote for praise less that for blame, votes (n, 2)."""
    leaning = votes[:, 1] - votes[:, 0]
    places = np.arange(len(tokens))
    figure, (axis,) = new_axes(size=(8, 3.2))
    colours = [BLUE if value > 0 else VERMILLION for value in leaning]
    axis.bar(places, leaning, width=0.7, color=colours)
    axis.axhline(0, color="black", linewidth=0.8)
    mean = leaning.mean()
    axis.axhline(mean, color=GREY, linestyle="--", linewidth=1.2)
    axis.text(len(tokens) - 0.4, mean, "mean: the verdict", color=GREY, fontsize=8, va="bottom",
              ha="left")  # fmt: skip
    axis.set_xticks(places, tokens, rotation=90)
    axis.set_xlim(-0.6, len(tokens) + 2.2)
    axis.set_xlabel("token")
    axis.set_ylabel("logit of praise less blame")
    axis.set_title(title, loc="left")
    return Picture(figure)
