"""Figures of the course: what a neuron does from step to step, what flows back through it, and
which words look at which.

Each function gives a Picture, which a notebook shows.

Letters: T spike steps, n neurons, or words of one sentence.
"""

import io
from typing import NamedTuple

import numpy as np

from ..layers.lif import membrane_after_reset
from ..layers.surrogate import SURROGATES
from .plots import BAND, BLUE, SKY_BLUE, STYLE, VERMILLION, draw_attention

# Three more that are dark enough for a line on white; no line is told by its colour alone.
GREEN, PURPLE, GREY = "#009E73", "#AA4499", "#606060"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, GREY)
DASHES = ("-", "--", "-.", ":", (0, (1, 1)))


class Picture(NamedTuple):
    """A matplotlib Figure that every notebook shows, whichever backend it has."""

    figure: object

    def _repr_png_(self):
        file = io.BytesIO()
        self.figure.savefig(file, format="png", dpi=STYLE["figure.dpi"])
        width = self.figure.get_figwidth()
        return file.getvalue(), {"width": round(100 * width)}


def new_axes(rows=1, columns=1, size=(8, 3.2), **settings):
    """A matplotlib Figure in the course's style and its flat array of rows x columns Axes; size in
    inches, settings as `Figure.subplots` takes them."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **settings).ravel()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def membrane(x, cache, *, title):
    """One neuron: its input X, its membrane before (H) and after the reset (V), its spikes.

    x, and h and s of the cache: (T,), or (T, 1, 1).
    """
    neuron = cache.neuron
    x, h, s, v = (np.ravel(a) for a in (x, cache.h, cache.s, membrane_after_reset(cache)))
    t = np.arange(len(x))
    figure, (above, below) = new_axes(2, size=(8, 4.6), sharex=True, height_ratios=(1, 2.6))
    above.bar(t, x, width=0.5, color=SKY_BLUE)
    above.set_ylabel("input X")
    above.set_title(title, loc="left")
    below.axhline(neuron.v_th, color=GREY, linestyle="--", linewidth=1)
    below.axhline(neuron.v_reset, color=GREY, linestyle=":", linewidth=1)
    named = {"color": GREY, "fontsize": 8}
    below.text(-1, neuron.v_th, "threshold", va="bottom", **named)
    below.text(len(x) - 0.42, neuron.v_reset, "reset", va="top", ha="right", **named)
    before = np.concatenate([[neuron.v_reset], v[:-1]])
    for step in t:
        below.plot([step - 1, step], [before[step], h[step]], color=BLUE, linewidth=1)
    # A ring around a dot: where the reset changed nothing, both are seen.
    below.plot(t, h, "o", color=BLUE, ms=4.5, label="H, before the reset")
    below.vlines(t, v, h, color=VERMILLION, linestyle=":", linewidth=1.2)
    below.plot(t, v, "o", mfc="none", color=VERMILLION, ms=8.5, label="V, after the reset")
    low, high = min(h.min(), v.min(), neuron.v_reset), max(h.max(), neuron.v_th)
    top = high + 0.22 * (high - low)
    fired = np.flatnonzero(s > 0.5)
    below.plot(fired, np.full(len(fired), top), "|", color="black", ms=11, mew=2, label="spike S")
    below.set_ylabel("membrane (units of X)")
    below.set_xlabel("time step t")
    below.set_xticks(t)
    below.set_xlim(-1.05, len(x) - 0.4)
    below.set_ylim(low - 0.3 * (high - low), top + 0.1 * (high - low))  # the legend lies below
    below.legend(loc="lower left", bbox_to_anchor=(0, -0.02), ncols=3, frameon=False, fontsize=8)
    return Picture(figure)


def raster(s, *, title):
    """Spikes of n neurons: a mark where neuron i fires at step t. s: (T, n)."""
    steps, neurons = s.shape
    figure, (axis,) = new_axes(size=(8, 1.2 + 0.13 * min(neurons, 30)))
    for t in range(0, steps, 2):
        axis.axvspan(t - 0.5, t + 0.5, color=BAND, linewidth=0, zorder=-1)
    t, i = np.nonzero(s)
    axis.plot(t, i, "|", color=BLUE, ms=max(3, min(8, 200 / neurons)), mew=2)
    axis.set_xlim(-0.5, steps - 0.5)
    axis.set_ylim(-0.7, neurons - 0.3)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("time step t")
    axis.set_ylabel("neuron")
    axis.set_title(title, loc="left")
    return Picture(figure)


def surrogates(names=tuple(SURROGATES), alpha=2.0):
    """Slopes σ'(u) and curves σ(u), each slope with the area under it."""
    u = np.linspace(-2, 2, 801)
    wide = np.sinh(np.linspace(-12, 12, 20_001))  # atan's tails are long: dense at 0, and far out
    figure, (left, right) = new_axes(1, 2, size=(9, 3.6))
    for name, colour, dashes in zip(names, COLOURS, DASHES, strict=False):
        pair = SURROGATES[name]
        area = np.trapezoid(pair.derivative(wide, alpha), wide)
        style = {"color": colour, "linestyle": dashes, "linewidth": 1.6}
        left.plot(u, pair.derivative(u, alpha), **style, label=f"{name}, area {area:.2f}")
        right.plot(u, pair.primitive(u, alpha), **style)
    right.step([-2, 0, 2], [0, 0, 1], where="pre", color="black", linewidth=0.8, label="spike Θ(u)")
    left.set_title(f"Slope σ'(u), alpha = {alpha:g}", loc="left")
    right.set_title("Curve σ(u)", loc="left")
    left.set_ylabel("slope (per unit of membrane)")
    right.set_ylabel("output (spikes)")
    for axis in (left, right):
        axis.set_xlabel("u = H - v_th (units of membrane)")
        axis.legend(frameon=False, fontsize=8, loc="upper left")
    left.set_ylim(0, 1.45 * max(SURROGATES[name].derivative(u, alpha).max() for name in names))
    return Picture(figure)


def under_the_slope(cache, *, title):
    """The slope σ' of one neuron, and where the membrane of each step stands on it.

    h and s of the cache: (T,), or (T, 1, 1).
    """
    neuron = cache.neuron
    derivative = SURROGATES[neuron.surrogate].derivative
    u = np.linspace(-2, 2, 801)
    at = np.ravel(cache.h) - neuron.v_th
    figure, (axis,) = new_axes(size=(7, 3.6))
    axis.plot(u, derivative(u, neuron.alpha), color=BLUE, linewidth=1.6)
    axis.vlines(at, 0, derivative(at, neuron.alpha), color=VERMILLION, linestyle=":")
    axis.plot(at, derivative(at, neuron.alpha), "o", color=VERMILLION, ms=5)
    for t, x in enumerate(at):  # by turns on either side: neighbours do not overlap
        side, shift = ("left", 6) if t % 2 else ("right", -6)
        place = {"xytext": (shift, 0), "textcoords": "offset points", "ha": side}
        axis.annotate(f"t = {t}", (x, derivative(x, neuron.alpha)), **place, fontsize=8)
    axis.set_xlabel("u = H - v_th (units of membrane)")
    axis.set_ylabel("slope σ'(u) (per unit)")
    axis.set_title(title, loc="left")
    return Picture(figure)


def gradient_map(gradients, *, title, spikes=None):
    """Gradients over (t, neuron), {panel's name: (T, n)}, on one scale: blue below 0, red above.

    spikes: (T, n), marked with a dot where a neuron fired.
    """
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("signed", ["#00436B", BLUE, "white", VERMILLION,
                                                         "#6E2F00"])  # fmt: skip
    steps, neurons = next(iter(gradients.values())).shape
    top = max(np.abs(g).max() for g in gradients.values())
    size = (2 + 3.4 * len(gradients), 1.7 + 0.24 * min(neurons, 20))
    figure, axes = new_axes(1, len(gradients), size=size, sharey=True)
    for axis, (name, gradient) in zip(axes, gradients.items(), strict=True):
        image = axis.imshow(gradient.T, cmap=scale, vmin=-top, vmax=top, aspect="auto")
        if spikes is not None:
            t, i = np.nonzero(spikes)
            axis.plot(t, i, ".", color="black", ms=5)
        axis.set_xticks(range(steps))
        axis.set_xlabel("time step t")
        axis.set_title(name, loc="left")
    axes[0].set_ylabel("neuron" + (" (dot: it fired)" if spikes is not None else ""))
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("dL/dX (per unit of input)")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return Picture(figure)


def attention_maps(maps, words, *, title):
    """Who looks at whom, {panel's name: (map (n, n), its unit)}; row i is what word i looks at."""
    n = len(words)
    figure, axes = new_axes(1, len(maps), size=(4 * len(maps), 4.6))
    for axis, (name, (map_, unit)) in zip(axes, maps.items(), strict=True):
        draw_attention(axis, map_, words, unit)
        axis.set_title(name, loc="left")
        top = max(map_.max(), 1)
        for i, j in np.ndindex(n, n) if n <= 8 else ():  # no number is told by its colour alone
            colour = "white" if map_[i, j] > 0.6 * top else "black"
            axis.text(j, i, f"{map_[i, j]:.2g}", ha="center", va="center", color=colour, fontsize=8)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return Picture(figure)


def bars(panels, *, title, unit):
    """Horizontal bars with their values, {panel: {label: value}}, the same labels in each panel."""
    labels = list(next(iter(panels.values())))
    size = (max(6, 2.2 + 2.6 * len(panels)), 1.3 + 0.22 * len(labels))
    figure, axes = new_axes(1, len(panels), size=size, sharey=True)
    for axis, (name, values) in zip(axes, panels.items(), strict=True):
        places = range(len(labels))
        drawn = axis.barh(places, [values[label] for label in labels], color=BLUE, height=0.7)
        axis.bar_label(drawn, fmt="{:.3g}", padding=2, fontsize=8)
        axis.margins(x=0.22)
        axis.set_yticks(places, labels)
        axis.set_title(name, loc="left")
        axis.set_xlabel(unit)
    axes[0].invert_yaxis()  # all panels share it
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    return Picture(figure)


def curves(x, lines, *, title, xlabel, ylabel, log=False, xticks=None, dots=None):
    """Curves over x, {name: values}, told apart by colour and by dashes.

    xticks: the numbers below the axis, in place of those that matplotlib chooses.
    dots: {name: values} too, each in the colour of the curve of its name.
    """
    figure, (axis,) = new_axes(size=(7, 3.6))
    for (name, values), colour, dashes in zip(lines.items(), COLOURS, DASHES, strict=False):
        axis.plot(x, values, color=colour, linestyle=dashes, linewidth=1.6, label=name)
        if dots:
            axis.plot(x, dots[name], "o", color=colour, ms=3.5)
    if log:
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.grid(color=BAND)
    if xticks is not None:
        axis.set_xticks(xticks, xticks)
        axis.set_xticks([], minor=True)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.set_title(title, loc="left")
    axis.legend(frameon=False, fontsize=8)
    return Picture(figure)
