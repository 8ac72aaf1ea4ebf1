"""`spikebert sparsity`: accuracy, step time and energy of students that are taught to fire less."""

import argparse
import hashlib
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

from ..errors import InputError
from ..training.ablations import Budget
from .options import at_least, patient_output

RATES = (0.0, 0.3, 1.0, 3.0, 10.0)
_COLUMNS = ("w_rate", "firing, %", "accuracy on dev", "step", "energy, µJ")
_HEAD = """# Sparsity

Written by `spikebert sparsity`, never by hand. The base of `spikebert ablate`, {width} wide, learns
for {passes} with w_rate times the share of all neurons that fire added to its loss. Of seeds
{seeds}: the mean, the lowest and the highest.

Firing and accuracy are those of the epoch that is best on dev, on dev, so dev flatters it. Step:
core-seconds of a whole training step on the same batches, by turns in one process, over those at
w_rate 0; a median. Energy: theoretical, a sentence of dev (45 nm; no hardware is measured).
"""


def register(commands):
    """Add `sparsity`."""
    sparsity = commands.add_parser(
        "sparsity",
        help="accuracy, step time and energy against the firing rate",
        description="Trains the base of `spikebert ablate` on the cache of `spikebert reproduce`, "
        "with a penalty on firing of several weights, and measures how often its neurons fire, how "
        "long its training step takes and what energy a sentence costs in theory. It writes one "
        "table, DIR/SPARSITY.md, and a plot. Stopped at any moment, the same command goes on.",
        epilog="example:\n  spikebert sparsity results/sst2 --rates 0,1,3 --seeds 1",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sparsity.add_argument(
        "out", metavar="OUT", type=Path, help="--out of `reproduce`, with its cache"
    )
    sparsity.add_argument(
        "--to", metavar="DIR", type=Path, help="where all lies (default: OUT/sparsity)"
    )
    sparsity.add_argument(
        "--rates",
        metavar="W,...",
        type=_rates,
        default=RATES,
        help="weights of the firing rate, with commas; 0, which the others are measured by, is "
        f"always among them (default: {','.join(f'{rate:g}' for rate in RATES)})",
    )
    for name, text in (("width", "width D"), ("epochs", "passes over the train split")):
        default = getattr(Budget, name)
        sparsity.add_argument(
            f"--{name}",
            metavar="N",
            type=at_least(1),
            default=default,
            help=f"{text} (default: {default})",
        )
    sparsity.add_argument(
        "--seeds", metavar="N", type=at_least(1), default=3, help="runs of each (default: 3)"
    )
    sparsity.add_argument("--json", action="store_true", help="print one line of JSON last")
    sparsity.add_argument("--quiet", action="store_true", help="no progress bar")
    sparsity.set_defaults(run=run_sparsity)


def _rates(text):
    """ "1,3" -> (0.0, 1.0, 3.0)."""
    try:
        rates = {float(part) for part in text.split(",")}
    except ValueError:
        rates = {math.nan}
    if not all(0 <= rate < math.inf for rate in rates):
        raise argparse.ArgumentTypeError(f"{text}: give numbers from 0 up, such as 0,1,3")
    return tuple(sorted(rates | {0.0}))


def run_sparsity(args):
    """Plan, say so, run, write the table."""
    from ..analysis.sparsity_plot import plot_sparsity
    from .ablation import cache_digest, open_cache_of, publish, separate_folder
    from .steps import make_plan, print_plan, run_plan

    with patient_output():
        to = separate_folder(args.out, args.to or args.out / "sparsity")
        cache, digest = open_cache_of(args.out, "cache"), cache_digest(args.out / "cache")
        plan = make_plan(to, list(_steps(cache, to, args)), {"cache": digest})
        print_plan(plan)
        run_plan(plan)
        measured = [
            json.loads((to / _measured(args, seed) / "sparsity.json").read_text("utf-8"))
            for seed in range(args.seeds)
        ]
        rows = [
            {"w_rate": rate, "runs": list(runs)}
            for rate, *runs in zip(args.rates, *measured, strict=True)
        ]
        page = sparsity_page(rows, args)
        publish(to / "SPARSITY.md", page, plot_sparsity, rows, json_line=args.json)


def _name(rate, seed):
    return f"rate-{rate!r}/seed{seed}"


def _measured(args, seed):
    """Times are compared within one step: another set of rates is another step."""
    digest = hashlib.sha256(repr(args.rates).encode()).hexdigest()[:8]
    return f"measured-{digest}/seed{seed}"


def _steps(cache, to, args):
    from ..benchmarks.sparsity import ROUNDS, measure_sparsity
    from ..training.ablations import setups, spread
    from ..training.checkpoint import load_run
    from ..training.estimate import PYTHON_BYTES, Estimate
    from ..training.recipe import plain_choices
    from ..training.stages import new_student, run_stage, run_tables, student_config
    from .ablation import student_cost, train_tokens
    from .steps import Step, write_step_json
    from .train import print_epoch

    try:
        base = setups(Budget(args.width, args.epochs), cache.word_embeddings.shape[1])["base"]
    except ValueError as error:
        raise InputError(str(error)) from None
    config = student_config(cache, where="--width", **base.model)
    fitting = spread(cache, config.blocks)
    for seed in range(args.seeds):
        own = {rate: replace(base.training, w_rate=rate, seed=seed) for rate in args.rates}
        for rate, settings in own.items():

            def train(folder, settings=settings):
                run_stage(
                    folder,
                    "finetune",
                    fitting,
                    new_student(cache, config, settings),
                    config,
                    settings,
                    tables=run_tables("finetune", cache, settings, name=cache.tokenizer.parent),
                    on_epoch=print_epoch,
                    quiet=args.quiet,
                )

            record = {"training": asdict(settings), "model": plain_choices(base.model)}
            cost = student_cost(cache, base.model, settings, train_tokens(cache))
            yield Step(_name(rate, seed), (), record, cost, train)

        def measure(folder, own=own, seed=seed):
            students = {
                rate: (load_run(to / _name(rate, seed)), settings) for rate, settings in own.items()
            }
            rows = measure_sparsity(students, fitting, quiet=args.quiet)
            write_step_json(folder, "sparsity.json", rows)

        needs = tuple(_name(rate, seed) for rate in own)
        minute = Estimate(60.0, 0.0, PYTHON_BYTES + 1e9)
        yield Step(_measured(args, seed), needs, {"rounds": ROUNDS}, minute, measure)


def sparsity_page(rows, args):
    """The Markdown of SPARSITY.md."""
    from .ablation import study_page

    seeds = ", ".join(map(str, range(args.seeds)))
    passes = "1 epoch" if args.epochs == 1 else f"{args.epochs} epochs"
    head = _HEAD.format(width=args.width, passes=passes, seeds=seeds)
    parts = ["spikebert", "sparsity", args.out.name, "--seeds", str(args.seeds)]
    parts += ["--rates", ",".join(f"{rate:g}" for rate in args.rates)]
    for name in ("width", "epochs"):
        if (value := getattr(args, name)) != getattr(Budget, name):
            parts += [f"--{name}", str(value)]
    return study_page(head, parts, _COLUMNS, map(_cells, rows), "![by firing rate](sparsity.png)")


def _cells(row):
    def span(name, form, factor=1):
        numbers = [factor * run[name] for run in row["runs"]]
        low, high = f"{min(numbers):{form}}", f"{max(numbers):{form}}"
        mean = f"{sum(numbers) / len(numbers):{form}}"
        return mean if low == high else f"{mean} ({low} to {high})"

    return [
        f"{row['w_rate']:g}",
        span("firing_rate", ".2f", 100),
        span("dev_accuracy", ".3f"),
        span("step", ".2f"),
        span("microjoules", ".2f"),
    ]
