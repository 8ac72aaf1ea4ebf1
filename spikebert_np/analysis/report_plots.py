"""The figures of a run's report: its curves, its health through training, its calibration.

Letters: T spike steps, L layers, R records.
"""

from functools import wraps

import numpy as np

from .health import BIN_WIDTH, BINS, LOWEST
from .neuron_plots import GREY, new_axes
from .plots import BAND, BLUE, SCALE, SKY_BLUE, STYLE, VERMILLION, save_figure

# Each has a marker of its own, so that no line is told by its colour alone.
_LINES = (
    ("#000000", "o"), (BLUE, "s"), (VERMILLION, "^"), ("#009E73", "D"), ("#AA4499", "v"),
    (SKY_BLUE, "P"),
)  # fmt: skip
_NUMBERS = 48  # cells, of which each has room for its number
_CROWDED = 25.0  # percent of a membrane in one bin; silent attention's is all in one


def _styled(figure):
    """A function that draws in the STYLE of all figures."""

    @wraps(figure)
    def draw(*args):
        from matplotlib import rc_context

        with rc_context(STYLE):
            return figure(*args)

    return draw


def plot_curves(records, weights, path):
    """Write `curves_figure` to path; whole or not at all, as all of these."""
    save_figure(curves_figure(records, weights), path)


@_styled
def curves_figure(records, weights):
    """Left the loss by epoch and what it is the sum of, right the accuracy, where there is one.

    records: the lines of metrics.jsonl. weights: {part of the loss: its weight}.
    """
    panels = [{"loss": 1.0} | weights, {"train_accuracy": 1.0, "dev_accuracy": 1.0}]
    panels = [
        {name: weight for name, weight in panel.items() if name in records[0]} for panel in panels
    ]
    panels = [panel for panel in panels if panel]
    figure, axes = new_axes(1, len(panels), (5 * len(panels), 3.4))
    epochs = [record["epoch"] for record in records]
    for axis, panel in zip(axes, panels, strict=True):
        for (name, weight), (colour, marker) in zip(panel.items(), _LINES, strict=False):
            values = [weight * record[name] for record in records]
            label = name.removesuffix("_accuracy")
            label = label if weight == 1 else f"{weight:g} {label}"
            axis.plot(epochs, values, color=colour, marker=marker, markersize=4, label=label)
        if "dev_accuracy" in panel:
            best = max(records, key=lambda record: record["dev_accuracy"])["epoch"]
            axis.axvline(best, color=GREY, linestyle=":", linewidth=1, label="kept")
        axis.set_title("Loss, and what it is the sum of" if axis is axes[0] else "Accuracy")
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(color=BAND)
        axis.legend(edgecolor="none")
    axes[0].set_ylim(bottom=0)
    return figure


def plot_health(records, path):
    """Write `health_figure` to path."""
    save_figure(health_figure(records), path)


@_styled
def health_figure(records):
    """Above, through training: how often each layer fires, and its gradient's norm. Below, at the
    last checkup: each layer's membrane, and the gradient at each spike step.

    records: the lines of health.jsonl, at least two.
    """
    last = records[-1]
    layers, gradients = list(last["layers"]), list(last["gradients"])
    watched = list(last["spike_gradients"])[::-1]  # the backward pass met the last first
    figure, axes = new_axes(2, 2, (12, 4 + 0.26 * max(len(layers), len(gradients))))
    # A record stands from its step to the next.
    steps = [record["step"] for record in records]
    edges = [*steps, 2 * steps[-1] - steps[-2]]

    firing = [[100 * _number(r["layers"][name]["firing"]) for r in records] for name in layers]
    _heat(axes[0], firing, layers, edges, "neurons that fire, %")
    axes[0].set_title("Firing through training")
    norms = [[_number(r["gradients"].get(name)) for r in records] for name in gradients]
    _heat(axes[1], norms, gradients, edges, "norm", log=True)
    axes[1].set_title("Gradient of the parameters, before clipping")
    for axis in axes[:2]:
        axis.set_xlabel("step of training")

    neurons = [name for name in layers if "histogram" in last["layers"][name]]
    membranes = [[100 * share for share in last["layers"][name]["histogram"]] for name in neurons]
    bins = LOWEST + BIN_WIDTH * np.arange(BINS + 1)
    _heat(axes[2], membranes, neurons, bins, "membranes, %", top=_CROWDED)
    axes[2].axvline(1, color=VERMILLION, linewidth=1)
    axes[2].set_title(f"Membrane H at step {last['step']} (line: threshold)")
    axes[2].set_xlabel("thresholds above rest (the outermost: and beyond)")
    flows = [
        [_number(norm) for norm in last["spike_gradients"][name]] for name in watched
    ]  # (L, T)
    _heat(axes[3], flows, watched, np.arange(len(flows[0]) + 1) - 0.5, "norm", log=True)
    axes[3].set_title(f"Gradient of what each puts out, at step {last['step']}")
    axes[3].set_xlabel("spike step t")
    axes[3].set_xticks(range(len(flows[0])))
    return figure


def plot_calibration(found, path):
    """Write `calibration_figure` to path."""
    save_figure(calibration_figure(found), path)


@_styled
def calibration_figure(found):
    """How often a student is right that is so sure of its answer. found: a Calibration."""
    figure, (axis,) = new_axes(1, 1, (5.4, 4))
    some = np.flatnonzero(found.counts)
    width = 1 / len(found.counts)
    left, right = some * width, found.accuracy[some]
    axis.bar(left, right, width, align="edge", color=SKY_BLUE, edgecolor="white")
    axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="as right as sure")
    axis.plot(
        found.confidence[some], right, "o", color=VERMILLION, markersize=4, label="mean of a bar"
    )
    for x, y, count in zip(left + width / 2, right, found.counts[some], strict=True):
        axis.text(x, y + 0.01, count, ha="center", va="bottom", fontsize=8)
    axis.set_xlim(left.min(), 1)
    axis.set_ylim(0, 1.08)
    axis.set_xlabel("probability that the student gives its answer")
    axis.set_ylabel("share that is right (number: sentences)")
    axis.set_title(f"Calibration on dev: error {found.error:.3f}")
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    return figure


def _number(value):
    """health.jsonl has no number for what was not finite, nor for what had no gradient."""
    return np.nan if value is None else value


def _heat(axis, values, names, edges, label, *, top=None, log=False):
    """Values (L, R) as colours between edges (R + 1,), the first layer above; grey where unknown.

    top: what is this much or more is darkest. log: of the logarithm.
    """
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.ticker import LogFormatter

    values = np.ma.masked_invalid(np.array(values, float))
    scale, limits = LinearSegmentedColormap.from_list("amount", SCALE), {"vmin": 0, "vmax": top}
    positive = values.compressed()[values.compressed() > 0]
    if log and positive.size:
        # Six decades are enough to tell what matters; in less than one, like is to look alike.
        high = positive.max()
        low = np.clip(positive.min(), 1e-6 * high, 0.1 * high)
        limits = {"norm": LogNorm(low, high, clip=True)}
    axis.set_facecolor("#C0C0C0")
    rows = np.arange(len(names) + 1) - 0.5
    image = axis.pcolormesh(edges, rows, values, cmap=scale, **limits)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    bar = axis.figure.colorbar(image, ax=axis, pad=0.01, extend="max" if top else "neither")
    bar.set_label(label)
    if "norm" in limits:  # in plain numbers: STYLE reads no formulas, as which others are written
        bar.ax.yaxis.set_major_formatter(LogFormatter())
        bar.ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    if values.size <= _NUMBERS:
        centres = np.add(edges[1:], edges[:-1]) / 2
        for (row, column), value in np.ndenumerate(values):
            dark = image.norm(value) > 0.5
            place = (centres[column], row, f"{value:.2g}")
            axis.text(*place, ha="center", va="center", color="white" if dark else "black")
