"""`spikebert ablate`: which part of the student does what."""

import argparse
import json
import shlex
from pathlib import Path

from ..training.ablations import VARIANTS, Budget
from .options import at_least, patient_output

LENGTHS = (8, 16, 32, 64, 128)


def register(commands):
    """Add `ablate`."""
    names = "\n".join(f"  {variant.name:16} {variant.label}" for variant in VARIANTS)
    ablate = commands.add_parser(
        "ablate",
        help="one part after the other taken away or exchanged, at a small budget",
        description="Trains a small student on the caches of `spikebert reproduce`, and again with "
        "one thing changed: a loss, stage 1, the features' tap, T, tau, depth, encoder, positions, "
        "reset, attention, norm. It writes one table, DIR/ABLATIONS.md, and a plot, over all runs "
        "that are done by then.\n\n"
        "First it says what is done, what is to do and what that will about take. Stopped at any "
        "moment, the same command goes on; several commands with different --only may share one "
        "DIR. Of a run the settings and the measurements are kept, not the weights.",
        epilog="variants:\n" + names + "\n\nexamples:\n"
        "  spikebert ablate results/sst2\n"
        "  spikebert ablate results/sst2 --only base,no-kl,no-attention --seeds 1",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ablate.add_argument(
        "out", metavar="OUT", type=Path, help="--out of `reproduce`, that has come to its cache"
    )
    ablate.add_argument(
        "--to", metavar="DIR", type=Path, help="where all runs lie (default: OUT/ablations)"
    )
    ablate.add_argument("--only", metavar="NAME,...", help="these variants (default: all)")
    ablate.add_argument(
        "--seeds", metavar="N", type=at_least(1), default=3, help="runs a variant (default: 3)"
    )
    ablate.add_argument(
        "--seed", metavar="N", type=at_least(0), default=0, help="first seed (default: 0)"
    )
    for name, text in (
        ("width", "width of the base"),
        ("epochs", "passes over the train split"),
    ):
        default = getattr(Budget, name)
        ablate.add_argument(
            f"--{name}",
            metavar="N",
            type=at_least(1),
            default=default,
            help=f"{text} (default: {default})",
        )
    ablate.add_argument("--json", action="store_true", help="print one line of JSON last")
    ablate.add_argument("--quiet", action="store_true", help="no progress bar")
    ablate.set_defaults(run=run_ablate)


def run_ablate(args):
    """Plan, say so, run, write the table."""
    from ..analysis.attention_cost import attention_costs
    from .ablation import Ablation, separate_folder
    from .ablation_table import ablation_rows, write_ablations
    from .steps import locked, make_plan, print_plan, run_plan

    with patient_output():
        to = separate_folder(args.out, args.to or args.out / "ablations")
        budget = Budget(args.width, args.epochs)
        seeds = list(range(args.seed, args.seed + args.seeds))
        names = args.only.split(",") if args.only else None
        work = Ablation(args.out, to, budget, seeds, names=names, quiet=args.quiet)
        # The table is over the runs of other commands too: first it is seen that they fit.
        make_plan(to, list(work.steps(work.setups)), work.shared)
        plan = make_plan(to, list(work.steps()), work.shared)
        print_plan(plan)
        run_plan(plan)
        with locked(to / "ABLATIONS.md"):
            rows = ablation_rows(work)
            base = work.setups["base"].model
            costs = attention_costs(LENGTHS, width=base["width"], heads=base["heads"])
            write_ablations(work, rows, costs, _command(args))
        print(f"\n{(to / 'ABLATIONS.md').read_text('utf-8')}\nwritten: {to / 'ABLATIONS.md'}")
        if args.json:
            print(json.dumps({"out": str(to), "rows": rows}))


def _command(args):
    """The command that makes the whole table, with the names of files but not where they lie."""
    parts = ["spikebert", "ablate", args.out.name, "--seeds", args.seeds, "--seed", args.seed]
    for name in ("width", "epochs"):
        if getattr(args, name) != getattr(Budget, name):
            parts += [f"--{name}", getattr(args, name)]
    return shlex.join(map(str, parts))
