"""Accuracy against theoretical energy: a dot a network, by each rule."""

from .energy import RULES
from .plots import BLUE, STYLE, VERMILLION, save_figure

_MARKERS = "os^vDP*X<>dphH8"


def plot_energy(rows, path, *, title):
    """Write `energy_figure` to path, whose ending is the format; whole or not at all."""
    save_figure(energy_figure(rows, title=title), path)


def energy_figure(rows, *, title):
    """A panel a rule, the energy on a logarithmic axis, as a matplotlib Figure.

    rows: dicts with label, teacher (whether it is one), accuracy (None: a line at its energy), and
    the energy in mJ by each rule. title: the heading, such as the corpus.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(12, 4.2 + 0.2 * len(rows)), layout="constrained")
        figure.suptitle(title)
        axes = figure.subplots(1, len(RULES), sharey=True)
        for axis, (rule, name) in zip(axes, RULES.items(), strict=True):
            for i, row in enumerate(rows):
                colour = VERMILLION if row["teacher"] else BLUE
                if row["accuracy"] is None:
                    label = f"{row['label']}, not scored"
                    axis.axvline(row[rule], color=colour, linestyle="--", label=label)
                else:
                    marker = _MARKERS[i % len(_MARKERS)]
                    axis.plot(row[rule], row["accuracy"], marker, color=colour, label=row["label"])
            axis.set_xscale("log")
            axis.set_title(f"rule: {name}")
            axis.set_xlabel("theoretical energy a sentence, mJ")
            axis.grid(color="#E0E0E0", linewidth=0.5, which="both")
            axis.set_axisbelow(True)
        axes[0].set_ylabel("accuracy")
        # Given one by one: matplotlib would leave out a name that begins with an underscore.
        lines = list(axes[0].lines)
        figure.legend(handles=lines, loc="outside lower center", ncols=3, frameon=False)
    return figure
