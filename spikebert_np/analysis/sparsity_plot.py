"""Accuracy, time and energy against the share of neurons that fire."""

from .plots import BLUE, STYLE, VERMILLION, save_figure

_PANELS = (
    ("dev_accuracy", "accuracy on dev"),
    ("step", "training step, core-seconds, w_rate 0 = 1"),
    ("microjoules", "theoretical energy a sentence, µJ"),
)


def plot_sparsity(rows, path):
    """Write `sparsity_figure` to path, whose ending is the format; whole or not at all."""
    save_figure(sparsity_figure(rows), path)


def sparsity_figure(rows):
    """Three panels over the firing rate: a dot a run, and a line through the means of each w_rate.

    rows: dicts with w_rate and runs, what `measure_sparsity` gave for each seed.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(12, 3.8), layout="constrained")
        for axis, (name, title) in zip(figure.subplots(1, 3), _PANELS, strict=True):
            means = []
            for row in rows:
                firing = [100 * run["firing_rate"] for run in row["runs"]]
                values = [run[name] for run in row["runs"]]
                axis.plot(firing, values, "o", color=BLUE, markersize=4)
                means.append((sum(firing) / len(firing), sum(values) / len(values)))
                axis.annotate(f"{row['w_rate']:g}", means[-1], (4, 4), textcoords="offset points")
            axis.plot(*zip(*means, strict=True), "-", color=VERMILLION, linewidth=1, zorder=0)
            axis.set_title(title)
            axis.set_xlabel("neurons that fire, % (numbers: w_rate)")
            axis.grid(color="#E0E0E0", linewidth=0.5)
    return figure
