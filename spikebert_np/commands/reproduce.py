"""`spikebert reproduce`: a recipe from the corpus to the table."""

import argparse
import json
import shlex
from pathlib import Path

from .options import at_least, patient_output


def register(commands):
    """Add `reproduce`."""
    reproduce = commands.add_parser(
        "reproduce",
        help="a recipe from the corpus to the table: teacher, caches, both stages, baselines",
        description="Runs a recipe: the dev split where the corpus has none, the teacher's "
        "fine-tuning, the caches, stage 1 once, and for each seed stage 2, the same student "
        "trained directly and the convolutional baselines; then the other baselines and the "
        "table, OUT/RESULTS.md. All learn from the train split and are measured on dev, on the "
        "same sentences; a test split is never read.\n\n"
        "First it says what is done, what is to do and what that will about take. Stopped at any "
        "moment, the same command goes on. Each step lies in a folder of its own, with its "
        "settings beside it; another recipe, corpus or teacher does not mix with what is there.",
        epilog="examples:\n"
        "  spikebert reproduce sst2 --data data/sst2\n"
        "  spikebert reproduce mine.toml --data data/mr --teacher teachers/mr --out results/mr",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reproduce.add_argument(
        "recipe", metavar="RECIPE", help="a name of `spikebert recipes`, or the path of a .toml"
    )
    reproduce.add_argument(
        "--data", metavar="PATH", type=Path, required=True, help="the corpus, as the recipe says"
    )
    reproduce.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="where all steps lie (default: results/RECIPE, under this folder)",
    )
    reproduce.add_argument(
        "--seeds", metavar="N", type=at_least(1), default=3, help="students a kind (default: 3)"
    )
    reproduce.add_argument(
        "--seed", metavar="N", type=at_least(0), default=0, help="first seed (default: 0)"
    )
    reproduce.add_argument(
        "--teacher",
        metavar="DIR",
        action="append",
        default=[],
        help="a teacher that is there already, instead of the recipe's: one with a classifier was "
        "fine-tuned for this task (on the same split), one without is the general teacher. Give "
        "the flag twice for both",
    )
    reproduce.add_argument(
        "--text",
        metavar="FILE",
        type=Path,
        help="the unlabelled text (default: where the recipe says)",
    )
    reproduce.add_argument("--json", action="store_true", help="print one line of JSON last")
    reproduce.add_argument("--quiet", action="store_true", help="no progress bar")
    reproduce.set_defaults(run=run_reproduce)


def run_reproduce(args):
    """Plan, say so, run, write the table."""
    from ..training.recipe import load_recipe
    from .reproduction import Reproduction
    from .results import write_results
    from .steps import make_plan, print_plan, run_plan

    with patient_output():
        recipe = load_recipe(args.recipe)
        args.out = args.out or Path("results", recipe.name)
        print(f"{recipe.name}: {recipe.data.about}\nreading {args.data}", flush=True)
        work = Reproduction(recipe, args)
        plan = make_plan(args.out, work.steps(), work.start.about)
        print_plan(plan)
        run_plan(plan)
        rows = write_results(args.out, work.recipe, work.seeds, _command(args))
        print(f"\n{(args.out / 'RESULTS.md').read_text('utf-8')}\nwritten: {args.out}/RESULTS.md")
        if args.json:
            print(json.dumps({"recipe": work.recipe.name, "out": str(args.out), "rows": rows}))


def _command(args):
    """The command that repeats a run, with the names of files but not where they lie."""
    parts = ["spikebert", "reproduce", Path(args.recipe).name, "--data", args.data.name]
    for teacher in args.teacher:
        parts += ["--teacher", Path(teacher).name]
    parts += ["--text", args.text.name] if args.text else []
    parts += ["--out", args.out.name, "--seeds", args.seeds, "--seed", args.seed]
    return shlex.join(map(str, parts))
