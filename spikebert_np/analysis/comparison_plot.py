"""Many variants side by side: a dot for the mean, a line from the lowest seed to the highest."""

from .plots import BLUE, STYLE, VERMILLION, save_figure


def plot_comparison(rows, path, *, title):
    """Write `comparison_figure` to path, whose ending is the format; whole or not at all."""
    save_figure(comparison_figure(rows, title=title), path)


def comparison_figure(rows, *, title):
    """One line a row, top to bottom, as a matplotlib Figure.

    rows: dicts with label, mean, lowest, highest, name and beside. A row that others are compared
    with has another colour, and a line down the rows that are.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(8, 1.2 + 0.24 * len(rows)), layout="constrained")
        axis = figure.subplots()
        axis.set_title(title)
        for i, row in enumerate(rows):
            base = row["name"] == row["beside"]
            colour = VERMILLION if base else BLUE
            axis.plot([row["lowest"], row["highest"]], [i, i], color=colour, linewidth=1.5)
            axis.plot(row["mean"], i, "D" if base else "o", color=colour, markersize=5)
            if base:
                places = [j for j, other in enumerate(rows) if other["beside"] == row["name"]]
                ends = min(places) - 0.4, max(places) + 0.4
                axis.vlines(row["mean"], *ends, VERMILLION, "dotted", zorder=0)
        axis.set_yticks(range(len(rows)), [row["label"] for row in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_xlabel("accuracy on dev: mean, lowest to highest seed")
        axis.grid(axis="x", color="#E0E0E0", linewidth=0.5)
        axis.set_axisbelow(True)
    return figure
