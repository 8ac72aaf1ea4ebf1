"""`spikebert depth`: why many blocks do not learn, and what mends it."""

import argparse
import json
from dataclasses import asdict
from itertools import product
from pathlib import Path

from ..training.depth import REMEDIES
from .options import at_least, patient_output

_DEFAULTS = {"width": 64, "blocks": 12, "updates": 300}
_HEAD = """# Depth

Written by `spikebert depth`, never by hand. A student of {blocks} blocks, {width} wide, learns from
labels and logits through {updates} updates of at most 256 tokens; each row but the first changes
one thing. Of seeds {seeds}: the lowest to the highest; of KL and accuracy, the mean.

Gradient: the Euclidean norm by all parameters of the first block, or of the last, before clipping.
Silent: the share of (step, token) rows in which nothing has fired up to the last block's MLP. Each
layer norm then divides by the small spread of a bias alone, in every block again, and so does the
gradient. Firing: the share of the network's neurons, blocks alone, that fire. The three are on
training batches that are not learnt from, at the start and after; KL is the mean over all updates,
accuracy on dev after them.
"""
_COLUMNS = (
    "name", "what is changed", "first block's gradient, start", "after",
    "last block's gradient, start", "after", "silent, start", "after", "firing, start", "after",
    "KL", "accuracy",
)  # fmt: skip


def register(commands):
    """Add `depth`."""
    names = "\n".join(f"  {remedy.name:12} {remedy.label}" for remedy in REMEDIES)
    depth = commands.add_parser(
        "depth",
        help="gradient norm and firing by layer through many blocks, and what mends them",
        description="Measures a deep, narrow student on the cache of `spikebert reproduce`: the "
        "norm of the gradient, the firing and the silent tokens of every block, at the start and "
        "after a few hundred updates; then again with one thing changed. It writes one table, "
        "DIR/DEPTH.md, and a plot. Stopped at any moment, the same command goes on.",
        epilog="what is changed:\n" + names + "\n\nexample:\n  spikebert depth results/sst2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    depth.add_argument("out", metavar="OUT", type=Path, help="--out of `reproduce`, with its cache")
    depth.add_argument("--to", metavar="DIR", type=Path, help="where all lies (default: OUT/depth)")
    for name, text in (
        ("width", "width D, a multiple of 8"),
        ("blocks", "encoder blocks"),
        ("updates", "updates between the two measurements"),
    ):
        depth.add_argument(
            f"--{name}",
            metavar="N",
            type=at_least(1),
            default=_DEFAULTS[name],
            help=f"{text} (default: {_DEFAULTS[name]})",
        )
    depth.add_argument(
        "--seeds", metavar="N", type=at_least(1), default=3, help="runs of each (default: 3)"
    )
    depth.add_argument("--json", action="store_true", help="print one line of JSON last")
    depth.add_argument("--quiet", action="store_true", help="no progress bar")
    depth.set_defaults(run=run_depth)


def run_depth(args):
    """Plan, say so, run, write the table."""
    from ..analysis.depth_plot import plot_depth
    from .ablation import cache_digest, open_cache_of, publish, separate_folder
    from .steps import make_plan, print_plan, run_plan

    with patient_output():
        to, folder = separate_folder(args.out, args.to or args.out / "depth"), args.out / "cache"
        cache = open_cache_of(args.out, "cache")
        plan = make_plan(to, list(_steps(cache, args)), {"cache": cache_digest(folder)})
        print_plan(plan)
        run_plan(plan)
        rows = [
            {
                "name": remedy.name,
                "label": remedy.label,
                "runs": [
                    json.loads((to / remedy.name / f"seed{seed}" / "depth.json").read_text("utf-8"))
                    for seed in range(args.seeds)
                ],
            }
            for remedy in REMEDIES
        ]
        publish(to / "DEPTH.md", depth_page(rows, args), plot_depth, rows, json_line=args.json)


def _steps(cache, args):
    from ..training.depth import BATCH_TOKENS, deep_model, deep_settings, measure_depth
    from ..training.recipe import plain_choices
    from .ablation import student_cost
    from .steps import Step, write_step_json

    shape = {"width": args.width, "blocks": args.blocks}
    for remedy, seed in product(REMEDIES, range(args.seeds)):
        model, settings = deep_model(remedy, **shape), deep_settings(remedy, seed=seed)
        cost = student_cost(cache, model, settings, args.updates * BATCH_TOKENS)
        record = {
            "model": plain_choices(model),
            "training": asdict(settings),
            "updates": args.updates,
        }

        def make(folder, remedy=remedy, seed=seed):
            measured = measure_depth(
                cache, remedy, **shape, updates=args.updates, seed=seed, quiet=args.quiet
            )
            write_step_json(folder, "depth.json", measured)

        name = f"{remedy.name}/seed{seed}"
        yield Step(name, (), record, cost._replace(disk_bytes=0.0), make)


def depth_page(rows, args):
    """The Markdown of DEPTH.md."""
    from .ablation import study_page

    seeds = ", ".join(map(str, range(args.seeds)))
    head = _HEAD.format(blocks=args.blocks, width=args.width, updates=args.updates, seeds=seeds)
    parts = ["spikebert", "depth", args.out.name, "--seeds", str(args.seeds)]
    for name, default in _DEFAULTS.items():
        if (value := getattr(args, name)) != default:
            parts += [f"--{name}", str(value)]
    return study_page(head, parts, _COLUMNS, map(_cells, rows), "![by block](depth.png)")


def _cells(row):
    runs = row["runs"]

    def span(form, value):
        """The lowest to the highest of value(run at the start), and of value(run after)."""
        for when in ("start", "end"):
            numbers = [value(run[when]) for run in runs]
            low, high = f"{min(numbers):{form}}", f"{max(numbers):{form}}"
            yield low if low == high else f"{low} to {high}"

    def mean(name):
        return f"{sum(run[name] for run in runs) / len(runs):.3f}"

    return [
        row["name"],
        row["label"],
        *span(".2g", lambda run: run["gradient"][0]),
        *span(".2g", lambda run: run["gradient"][-1]),
        *span(".3f", lambda run: run["silent"][-1]),
        *span(".3f", lambda run: sum(run["firing"]) / len(run["firing"])),
        mean("kl"),
        mean("dev_accuracy"),
    ]
