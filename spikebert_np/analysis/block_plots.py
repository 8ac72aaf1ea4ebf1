"""Figures of the course: the spikes of a sentence, and the counts that blocks make of them.

Each function gives a Picture, which a notebook shows.

Letters: T spike steps, n words of one sentence, N packed tokens, D width.
"""

import numpy as np

from .neuron_plots import Picture, new_axes
from .plots import BLUE, SCALE, draw_raster


def sentence_spikes(panels, words, *, title):
    """A sentence's spikes, {panel's name: (T, n, D)}: a word is T steps wide, a row is a neuron."""
    steps, n, width = next(iter(panels.values())).shape
    figure, axes = new_axes(len(panels), size=(8, 0.9 + len(panels) * (0.5 + 0.13 * width)),
                         sharex=True)  # fmt: skip
    for axis, (name, s) in zip(axes, panels.items(), strict=True):
        draw_raster(axis, s, BLUE)
        for edge in np.arange(1, n * steps) / steps:  # so that spikes side by side can be counted
            axis.axvline(edge - 0.5, color="white", linewidth=0.8)
        for edge in range(1, width):
            axis.axhline(edge + 0.5, color="white", linewidth=0.8)
        axis.set_yticks(width - np.arange(width), range(width), fontsize=7)
        axis.set_ylabel("neuron")
        axis.set_title(name, loc="left")
    axes[-1].set_xticks(range(n), words)
    axes[-1].set_xlabel(f"word, {steps} time steps wide")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return Picture(figure)


def count_shares(counts, *, title, top=4):
    """How many neurons hold 0, 1, 2, ... spikes, {bar's name: (T, N, D)}; `top` is that or more."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("counts", SCALE)
    figure, (axis,) = new_axes(size=(8, 1.1 + 0.28 * len(counts)))
    left = np.zeros(len(counts))
    for count in range(top + 1):
        share = [100 * (np.minimum(x, top) == count).mean() for x in counts.values()]
        label = f"{count}{' or more' * (count == top)}"
        axis.barh(range(len(counts)), share, left=left, color=scale(count / top), label=label,
                  edgecolor="#808080", linewidth=0.6)  # fmt: skip
        left += share
    axis.set_yticks(range(len(counts)), counts)
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.set_xlabel("neurons, at all steps and words (%)")
    axis.set_ylabel("x behind")
    axis.set_title(title, loc="left")
    axis.legend(title="spikes", frameon=False, fontsize=8, loc="center left",
                bbox_to_anchor=(1, 0.5))  # fmt: skip
    return Picture(figure)
