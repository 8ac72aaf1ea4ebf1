"""Figures of the course: how training goes, and what it leaves behind.

Each function gives a Picture, which a notebook shows.

Letters: n tokens of one sentence.
"""

import numpy as np

from .neuron_plots import Picture, _axes
from .plots import SCALE


def gradient_norms(norms, *, title):
    """{loss: {part of the network: norm of its gradient}} as a map; no colour where there is none.

    The colours are logarithmic, and each norm stands in its field.
    """
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    parts = list(next(iter(norms.values())))
    values = np.array([[row[part] for part in parts] for row in norms.values()])
    least, most = values[values > 0].min(), values.max()
    figure, (axis,) = _axes(size=(8, 1.5 + 0.45 * len(norms)))
    scale = LinearSegmentedColormap.from_list("norms", SCALE)
    shade = LogNorm(least / 2, 4 * most)
    axis.imshow(np.ma.masked_equal(values, 0), cmap=scale, norm=shade, aspect="auto")
    for i, j in np.argwhere(values > 0):
        colour = "white" if shade(values[i, j]) > 0.6 else "black"
        axis.text(j, i, f"{values[i, j]:.2g}", ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(parts)), parts)
    axis.set_yticks(range(len(norms)), list(norms))
    axis.set_xlabel("part of the network, the input first")
    axis.set_ylabel("loss")
    axis.set_title(title, loc="left")
    return Picture(figure)
