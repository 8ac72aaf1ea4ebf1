"""`spikebert bench --scaling OUT`: how a step's time grows with each of its sizes."""

import json

from ..errors import InputError
from ..files import write_atomically
from ..training.report import markdown_lines

_HEAD = """# Scaling

Written by `spikebert bench --scaling`, never by hand. Each row changes one size and holds the
others at the base point: D {width}, {blocks} blocks, T {steps}, {tokens} tokens in sentences of
{sentence}, {rate:.0%} of all neurons firing. A step is forward pass, both stages' losses, backward
pass and update, by {workers}; only the row of threads has another number. All points of a row take
turns, with the base point among them, {rounds} rounds in one process ({versions}).

Times are medians by the clock and in core-seconds (those of all threads together). An exponent e is
that of t = f x^e by least squares on ln t = ln f + e ln x, over the points x of the row:

    e = sum (ln x - mean of ln x) (ln t - mean of ln t) / sum (ln x - mean of ln x)²

in which t is the median, over the rounds, of a point's time over the base point's in the same
round. Next to it stands how far the farthest point is from the fitted line. Where that is much, the
row is no power law: a part of a step does not grow with the size, and counts for more in the small
ones.

Firing is measured in the forward pass of the timed step. The students are not trained: one number
added to the bias of every norm before a neuron sets how many neurons fire, for the row of firing
rates, and at every other point so that it stays what it is at the base point. A product
of which a share of up to {events:g} of its inputs fires goes by events, and above it is dense
(`spikebert bench --calibrate`). Caches are the shipped one's sentences over and over, two layers of
384 numbers a token as float16; opening one hashes every file; files come from the system's memory.
"""
_COLUMNS = (
    "of", "axis", "points", "firing", "ms by the clock", "core-ms", "exponent by the clock",
    "off by", "exponent of core-seconds", "off by",
)  # fmt: skip


def run_scaling(args, versions):
    """Measure, then write SCALING.md and scaling.png into args.scaling, and print the page."""
    from tqdm import tqdm

    from ..analysis.scaling_plot import plot_scaling
    from ..benchmarks import cache_reading, scaling

    out = args.scaling
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is not a folder; name another")
    points = sum(map(len, scaling.AXES.values())) + len(scaling.WORKERS)
    points += 2 * len(cache_reading.TOKENS)
    rows = []
    # Not where nobody looks: a log would keep every state of the bar.
    with tqdm(total=points * (args.rounds + 1), desc="measuring", disable=None, leave=False) as bar:
        for axes in (scaling.step_axes, cache_reading.cache_axes):
            for axis in axes(args.rounds, bar.update):
                fits = {"fit": axis.fit._asdict(), "cores_fit": axis.cores_fit._asdict()}
                rows.append(axis._asdict() | fits)
    page = scaling_page(rows, args.rounds, versions)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "SCALING.md", lambda path: path.write_text(page, "utf-8"))
    plot_scaling(rows, out / "scaling.png", title=f"Time against size, base point: {_base()}")
    print(f"{page}\nwritten: {out / 'SCALING.md'}")
    if args.json:
        print(json.dumps({"out": str(out), "rows": rows, "versions": versions}))


def _base():
    from ..benchmarks.scaling import Shape

    base = Shape()
    return (
        f"D {base.width}, {base.blocks} blocks, T {base.steps}, {base.tokens} tokens, "
        f"{base.rate:.0%} of neurons firing"
    )


def scaling_page(rows, rounds, versions):
    """The Markdown of SCALING.md. rows: Axis as dicts."""
    from ..benchmarks.scaling import SENTENCE_TOKENS, Shape
    from ..process import events_up_to
    from ..training.step import step_workers

    count = step_workers()
    head = _HEAD.format(
        **Shape()._asdict(),
        sentence=SENTENCE_TOKENS,
        workers="one thread" if count == 1 else f"{count} threads",
        rounds=rounds,
        versions=", ".join(f"{name} {number}" for name, number in versions.items()),
        events=events_up_to(),
    )
    lines = [head, *markdown_lines(_COLUMNS, map(_cells, rows)), ""]
    threads = next(row for row in rows if row["name"] == "workers")
    one, two = threads["seconds"]
    one_cores, two_cores = threads["cores"]
    lines += [
        f"Two threads against one: {one / two:.2f} times as fast by the clock, for "
        f"{two_cores / one_cores:.2f} times the core-seconds.",
        "",
        "![time against size](scaling.png)",
    ]
    return "\n".join(lines) + "\n"


def _cells(row):
    def join(form, values):
        return ", ".join(format(value, form) for value in values)

    sizes = row["sizes"]
    rates = [100 * rate for rate in row["rates"]]
    cells = [
        row["what"],
        row["label"],
        join(".4f", sizes) if row["name"] == "rate" else join(",", sizes),
        f"{join('.1f', rates)} %" if rates else "",
        join(",.1f", [1e3 * value for value in row["seconds"]]),
        join(",.1f", [1e3 * value for value in row["cores"]]),
    ]
    for fit in (row["fit"], row["cores_fit"]):
        cells += [f"{fit['exponent']:.2f}", f"{fit['off']:.0%}"]
    return cells
