"""The table of the ablations, DIR/ablations.json and DIR/ABLATIONS.md, and its plot."""

import json
from math import prod

from ..files import write_atomically
from ..training.report import markdown_lines
from .results import records_of, training_seconds
from .steps import is_done

_HEAD = """# Ablations

Written by `spikebert ablate`, never by hand. Each row changes one thing of the base: {base}.
Passes over the {train:,} sentences of the train split: {epochs}. Where a student has another number
of blocks, the teacher's layers are spread over them, the last on the last.

Accuracy is on dev ({dev:,} sentences); each run's epoch was chosen by it, so dev flatters all rows
a little. With several seeds: the mean, and the lowest to the highest. The difference is that of the
means, in points, to the row it is beside; where the two ranges overlap it shows little. Parameters
are counted without the word embeddings. Seconds are of one run on the average, on the machine that
ran it. Firing is the share of all neurons that fire, in training, at the epoch that was kept.
{stage1}"""
_STAGE1 = """
Stage 1: one epoch over unlabelled text, {sentences:,} sentences in all, once for all seeds.
"""
_COLUMNS = (
    "name", "what is changed", "seeds", "mean", "lowest to highest", "difference", "beside",
    "parameters", "seconds", "firing",
)  # fmt: skip


def ablation_rows(work):
    """A dict for each variant that has a finished run, in the order of the table."""
    rows = []
    for name, setup in work.setups.items():
        seeds = [seed for seed in work.seeds if is_done(work.to / name / f"seed{seed}")]
        if not seeds:
            continue
        folders = [work.to / name / f"seed{seed}" for seed in seeds]
        best = [max(records_of(run), key=lambda record: record["dev_accuracy"]) for run in folders]
        scores = [record["dev_accuracy"] for record in best]
        rows.append(
            {
                "name": name,
                "label": setup.variant.label,
                "beside": setup.variant.beside,
                "seeds": seeds,
                "mean": sum(scores) / len(scores),
                "lowest": min(scores),
                "highest": max(scores),
                "parameters": _parameters(folders[0]),
                "seconds": sum(map(training_seconds, folders)) / len(folders),
                "firing_rate": sum(record["firing_rate"] for record in best) / len(best),
            }
        )
    means = {row["name"]: row["mean"] for row in rows}
    for row in rows:
        known = row["beside"] in means and row["beside"] != row["name"]
        row["difference"] = row["mean"] - means[row["beside"]] if known else None
    return rows


def _parameters(folder):
    """Of a run's config.toml, without the word embeddings."""
    from ..models.kinds import kind_of
    from ..training.checkpoint import config_from, model_choices, read_toml

    path = folder / "config.toml"
    tables = read_toml(path)
    config = config_from(model_choices(tables["model"], tables["neuron"], path), path)
    shapes = dict(kind_of(config).parameter_shapes(config))
    return sum(prod(shape) for key, shape in shapes.items() if key != "embedding.weight")


def write_ablations(work, rows, costs, command):
    """Write the page, the same as JSON, and the plot, each whole or not at all."""
    from ..analysis.comparison_plot import plot_comparison

    page = ablations_page(work, rows, costs, command)
    table = {"command": command, "rows": rows, "attention": [cost._asdict() for cost in costs]}
    for name, text in (
        ("ablations.json", json.dumps(table, indent=2) + "\n"),
        ("ABLATIONS.md", page),
    ):
        write_atomically(work.to / name, lambda path, text=text: path.write_text(text, "utf-8"))
    plot_comparison(rows, work.to / "ablations.png", title="What each part does: accuracy on dev")


def ablations_page(work, rows, costs, command):
    """The Markdown of ABLATIONS.md."""
    base, splits = work.setups["base"], work.cache.splits
    train, dev = (splits[name][1] - splits[name][0] for name in ("train", "dev"))
    shape = "{blocks} blocks, {width} wide, {heads} heads, {steps} steps".format(**base.model)
    stage1 = ""
    if any(work.setups[row["name"]].variant.stage1 for row in rows):
        first, last = work.text.splits["train"]
        stage1 = _STAGE1.format(sentences=last - first)
    head = _HEAD.format(base=shape, stage1=stage1, epochs=work.budget.epochs, train=train, dev=dev)
    lines = [head, "```", command, "```", "", *markdown_lines(_COLUMNS, map(_cells, rows))]
    lines += ["", "![the same as a plot](ablations.png)", "", *_attention(costs)]
    return "\n".join(lines) + "\n"


def _cells(row):
    seeds = row["seeds"]
    several, difference = len(seeds) > 1, row["difference"]
    return [
        row["name"],
        row["label"],
        ", ".join(map(str, seeds)),
        f"{row['mean']:.4f}",
        f"{row['lowest']:.4f} to {row['highest']:.4f}" if several else "",
        "" if difference is None else f"{100 * difference:+.1f}",
        "" if row["beside"] == row["name"] else row["beside"],
        f"{row['parameters']:,}",
        f"{row['seconds']:.0f}",
        f"{row['firing_rate']:.3f}",
    ]


def _attention(costs):
    """What the order of attention's two products costs; what it gives is the same to the bit."""
    yield (
        "Attention's two orders, (q kᵀ) v over words and q (kᵀ v) over channels, give the same on "
        "spikes to the bit (a test proves it). The two products of one sentence, one core, "
        "milliseconds:"
    )
    yield ""
    columns = ("tokens", "(q kᵀ) v", "q (kᵀ v)")
    yield from markdown_lines(
        columns, ([str(c.tokens), f"{c.by_words:.3f}", f"{c.by_channels:.3f}"] for c in costs)
    )
