"""How time grows with size: a panel an axis, log against log."""

from textwrap import fill

import numpy as np

from .plots import BLUE, STYLE, VERMILLION, save_figure

_COLUMNS = 3
_SERIES = (  # in the rows, and for the reader
    ("seconds", "fit", BLUE, "o", "by the clock"),
    ("cores", "cores_fit", VERMILLION, "s", "core-seconds"),
)


def plot_scaling(rows, path, *, title):
    """Write `scaling_figure` to path, whose ending is the format; whole or not at all."""
    save_figure(scaling_figure(rows, title=title), path)


def scaling_figure(rows, *, title):
    """A matplotlib Figure: measured points, and the line of the fitted power law through them.

    rows: dicts with label, what, sizes, seconds and cores, and fit and cores_fit, each a dict with
    exponent and factor.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    lines = -(-len(rows) // _COLUMNS)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.5, 0.8 + 2.7 * lines), layout="constrained")
        figure.suptitle(fill(title, 100), fontsize=10)
        axes = figure.subplots(lines, _COLUMNS, squeeze=False).ravel()
        for axis, row in zip(axes, rows, strict=False):
            sizes = np.array(row["sizes"], float)
            for times, fit, colour, marker, label in _SERIES:
                law = row[fit]
                axis.plot(sizes, 1e3 * np.array(row[times]), marker, color=colour, markersize=4,
                          label=label)  # fmt: skip
                fitted = 1e3 * law["factor"] * sizes ** law["exponent"]
                axis.plot(sizes, fitted, color=colour, linewidth=1)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_title(
                f"exponent {row['fit']['exponent']:.2f}, "
                f"of core-seconds {row['cores_fit']['exponent']:.2f}",
                fontsize=9,
            )
            ticks = [f"{size:,.2g}" if size < 1 else f"{size:,.0f}" for size in sizes]
            axis.set_xticks(sizes, ticks)
            axis.xaxis.set_minor_locator(NullLocator())
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.5g}"))
            axis.yaxis.set_minor_formatter(FuncFormatter(_few_minor_ticks))
            axis.set_xlabel(row["label"])
            axis.set_ylabel(f"{row['what']}, ms")
            axis.grid(color="#E0E0E0", linewidth=0.5, which="both")
            axis.set_axisbelow(True)
        for axis in axes[len(rows) :]:
            axis.set_axis_off()
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _few_minor_ticks(value, _):
    """Twice and five times a power of ten have a number: a panel may span less than a decade."""
    first = f"{value:.0e}"[0]
    return f"{value:,.5g}" if first in "25" else ""
