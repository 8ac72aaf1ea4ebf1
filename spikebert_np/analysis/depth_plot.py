"""Gradient, firing and silent tokens by block, before training and after."""

import numpy as np

from .plots import STYLE, save_figure

# Of Okabe and Ito, with dashes where they begin again.
_COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
_PANELS = (
    ("gradient", "norm of the block's gradient"),
    ("firing", "neurons that fire, share"),
    ("silent", "silent rows, share"),
)


def plot_depth(rows, path):
    """Write `depth_figure` to path, whose ending is the format; whole or not at all."""
    save_figure(depth_figure(rows), path)


def depth_figure(rows):
    """Three panels before training, and below them the same after, a line a run.

    rows: dicts with label and runs, what `measure_depth` gave for each seed.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(12, 6.5), layout="constrained")
        axes = figure.subplots(2, len(_PANELS), sharex=True, sharey="col")
        for line, (when, title) in enumerate((("start", "at the start"), ("end", "after"))):
            for axis, (name, label) in zip(axes[line], _PANELS, strict=True):
                for i, row in enumerate(rows):
                    # A column a seed; the label once.
                    lines = axis.plot(
                        np.transpose([run[when][name] for run in row["runs"]]),
                        color=_COLOURS[i % len(_COLOURS)],
                        linestyle="solid" if i < len(_COLOURS) else "dashed",
                        linewidth=1,
                        marker=".",
                        markersize=3,
                    )
                    lines[0].set_label(row["label"])
                axis.set_title(f"{label}, {title}")
                axis.grid(color="#E0E0E0", linewidth=0.5)
        for axis in axes[1]:
            axis.set_xlabel("block")
        axes[0, 0].set_yscale("log")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    return figure
