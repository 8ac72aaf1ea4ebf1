"""The table of a reproduced recipe, OUT/results.json and OUT/RESULTS.md; `spikebert results`."""

import argparse
import json
from pathlib import Path

from ..errors import InputError
from ..files import read_json
from .steps import peak_of

_HEAD = """# Results

Written by `spikebert reproduce` and `spikebert results`, never by hand. Accuracy is on dev; each
model's epoch, or penalty, was chosen by it, so dev flatters all of them a little. No model learnt
from dev, and no test split was read. With several seeds: the mean, and the lowest to the highest.
Minutes are of training alone, on the machine that ran it: of one seed on the average, and of all
seeds with stage 1, which they share. Peak memory is that of the whole process.
"""
_COLUMNS = (
    "recipe", "model", "seeds", "mean", "lowest to highest", "dev sentences", "parameters",
    "minutes a seed", "minutes in all", "peak memory",
)  # fmt: skip


def register(commands):
    """Add `results`."""
    results = commands.add_parser(
        "results",
        help="join the tables of several recipes in one page",
        description="Join what `spikebert reproduce` wrote into several folders in one page, each "
        "table under the command that repeats it. Tables of other recipes that the page already "
        "has stay as they are.",
        epilog="example:\n  spikebert results results/sst2 results/mr --write RESULTS.md",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    results.add_argument("out", metavar="OUT", type=Path, nargs="+", help="--out of `reproduce`")
    results.add_argument("--write", metavar="FILE", type=Path, help="default: print it")
    results.set_defaults(run=run_results)


def run_results(args):
    """Write or print the page."""
    from ..files import write_atomically

    sections = _sections(args.write) if args.write and args.write.exists() else {}
    given = {}
    for out in args.out:
        table = _read(out)
        if table["recipe"] in given:
            raise InputError(f"{out}: is of the recipe {table['recipe']} too; give one of them")
        given[table["recipe"]] = _section(table)
    sections |= given  # in its place, where the page has one of the same recipe
    page = "\n".join([_HEAD, *sections.values()])
    if args.write:
        write_atomically(args.write, lambda path: path.write_text(page, "utf-8"))
        print(f"{args.write}: written")
    else:
        print(page, end="")


def _sections(path):
    """{recipe: its part} of a page that `results` has written. Raises InputError of any other."""
    head, *parts = path.read_text("utf-8", errors="replace").split("\n## ")
    if head != _HEAD:
        raise InputError(f"{path}: was not written by `spikebert results`; name another file")
    parts = [f"## {part.rstrip()}\n" for part in parts]
    return {part[3 : part.index(":")]: part for part in parts}


def _read(out):
    return read_json(
        out / "results.json",
        remedy="give the command of `spikebert reproduce` again",
        missing="give an --out that `spikebert reproduce` has finished",
    )


def write_results(out, recipe, seeds, command):
    """Write out/results.json and out/RESULTS.md from the steps' folders. Returns the rows."""
    from ..files import write_atomically

    rows = [*_student_rows(out, recipe, seeds), *_baseline_rows(out, recipe)]
    table = {"recipe": recipe.name, "about": recipe.data.about, "command": command, "rows": rows}
    for name, text in (
        ("results.json", json.dumps(table, indent=2) + "\n"),
        ("RESULTS.md", f"{_HEAD}\n{_section(table)}"),
    ):
        write_atomically(out / name, lambda path, text=text: path.write_text(text, "utf-8"))
    return rows


def _student_rows(out, recipe, seeds):
    from ..training.checkpoint import load_run
    from ..training.recipe import STUDENTS

    stage1 = training_seconds(out / "stage1") if recipe.stage1 else 0.0
    dev_sentences = _baselines(out)["dev_sentences"]
    for name, student in STUDENTS.items():
        folders = [f"seed{seed}/{name}" for seed in seeds]
        scores = [best_accuracy(out / folder) for folder in folders]
        seconds = [training_seconds(out / folder) for folder in folders]
        known = stage1 is not None or not student.distilled
        peaks = [peak_of(out, folder) for folder in folders]
        params = load_run(out / folders[0]).params
        yield {
            "recipe": recipe.name,
            "model": student.label,
            "seeds": seeds,
            "mean": sum(scores) / len(scores),
            "lowest": min(scores),
            "highest": max(scores),
            "dev_sentences": dev_sentences,
            "parameters": sum(value.size for value in params.values()),
            "seconds": sum(seconds) / len(seconds),
            "minutes": (sum(seconds) + stage1 * student.distilled) / 60 if known else None,
            "peak_bytes": max((peak for peak in peaks if peak), default=None),
        }


def _baseline_rows(out, recipe):
    found = _baselines(out)
    for row in found["rows"]:
        score, seconds = row["accuracy"], row["seconds"]
        yield {
            "recipe": recipe.name,
            "model": row["model"],
            "seeds": [],
            "mean": score,
            "lowest": score,
            "highest": score,
            "dev_sentences": found["dev_sentences"],
            "parameters": row["parameters"],
            "seconds": seconds,
            "minutes": None if seconds is None else seconds / 60,
            "peak_bytes": row.get("peak_bytes"),
        }


def _baselines(out):
    return json.loads((out / "baselines" / "baselines.json").read_text("utf-8"))


def records_of(run):
    """What was measured in each epoch of a run."""
    metrics = run / "metrics.jsonl"
    return [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]


def training_seconds(run):
    """The seconds of all epochs of a run or teacher, or None where it does not say."""
    if not (run / "metrics.jsonl").is_file():
        return None
    return sum(record["seconds"] for record in records_of(run))


def best_accuracy(run):
    """The dev accuracy of the epoch that was kept."""
    return max(record["dev_accuracy"] for record in records_of(run))


def _section(table):
    """The Markdown of one results.json."""
    from ..training.report import markdown_lines

    lines = [f"## {table['recipe']}: {table['about']}", "", "```", table["command"], "```", ""]
    lines += markdown_lines(_COLUMNS, map(_cells, table["rows"]))
    return "\n".join(lines) + "\n"


def _cells(row):
    seeds = row["seeds"]
    several = len(seeds) > 1
    minutes = [None if row["seconds"] is None else row["seconds"] / 60, row["minutes"]]
    return [
        row["recipe"],
        row["model"],
        f"{seeds[0]} to {seeds[-1]}" if several else "".join(map(str, seeds)),
        f"{row['mean']:.4f}",
        f"{row['lowest']:.4f} to {row['highest']:.4f}" if several else "",
        f"{row['dev_sentences']:,}",
        f"{row['parameters']:,}",
        *("not known" if value is None else f"{value:.1f}" for value in minutes),
        f"{row['peak_bytes'] / 1e9:.2f} GB" if row["peak_bytes"] else "",
    ]
