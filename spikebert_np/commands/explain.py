"""`spikebert explain`: what in a sentence made a student's answer."""

import argparse
import json
import shutil
import warnings
from pathlib import Path

from ..errors import InputError
from ..files import refuse_unwritable, write_atomically
from .options import at_least
from .use import SHIPPED, from_arguments, open_student


def register(commands):
    """Add `explain`."""
    explain = commands.add_parser(
        "explain",
        help="show what in a sentence made the answer",
        description="Read one sentence and show: the answer and its margin, in logits over the "
        "next class; what each token adds to it; how often each layer fires for each token; the "
        "attention between all tokens; the theoretical energy. A token is silenced by leaving it "
        "out: the student reads the sentence again without it, no spike and no row stands in its "
        "place, and its neighbours move together. What it adds is the margin it takes away.",
        epilog="examples:\n"
        '  spikebert explain "not a single good joke"\n'
        '  spikebert explain "not a single good joke" --out joke.html\n'
        '  spikebert explain --run runs/toy "the plot was sharp" --layer 0 --head 2 --out plot.png',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.add_argument(
        "--run", dest="run_folder", metavar="RUN", type=Path, help=f"run folder {SHIPPED}"
    )
    explain.add_argument("sentence", metavar="SENTENCE", help="in quotes")
    explain.add_argument(
        "--layer",
        metavar="N",
        type=at_least(0),
        help="block whose attention is shown, from 0 (default: the last)",
    )
    explain.add_argument(
        "--head", metavar="N", type=at_least(0), help="its head, from 0 (default: the sum of all)"
    )
    explain.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write a page (.html, one file for any browser) or a picture (.png) instead of tables",
    )
    explain.add_argument("--json", action="store_true", help="print one line of JSON last")
    explain.set_defaults(run=run_explain)


def run_explain(args):
    """Print, or write, the explanation of one sentence."""
    if args.out:
        refuse_unwritable("--out", args.out, (".html", ".png"))
    (sentence,) = from_arguments([args.sentence])
    run, tokenizer = open_explainable(args.run_folder, "explain")
    layer = _checked_layer(args, run.config)

    from ..analysis.explanation import explain, explanation_record
    from ..analysis.explanation_text import explanation_summary
    from ..training.workers import worker_count, workers

    with workers(worker_count()) as at_once:
        explanation = explain(sentence, tokenizer, run.params, run.config, run=at_once)
    classes = class_names(args.run_folder, run.config)
    print(explanation_summary(explanation, classes))
    if args.out:
        name = student_name(args.run_folder)
        _write(args.out, explanation, classes, run.config, name, layer=layer, head=args.head)
    else:
        _print_tables(explanation, classes, layer, args.head)
    if args.json:
        print(json.dumps(explanation_record(explanation)))


def open_explainable(folder, command):
    """The Run of a folder, or of the shipped student, and its tokenizer.

    Raises InputError where it is one of a baseline, or knows one class alone.
    """
    from ..data.shipped import shipped_student
    from ..data.tokenizer import load_tokenizer

    run = open_student(folder or shipped_student(), command)
    if run.config.classes < 2:
        raise InputError(f"{folder}: knows one class alone; no token can change its answer")
    return run, load_tokenizer(run.directory / "tokenizer.json")


def student_name(folder):
    """What a page calls the student of a run folder, or the shipped one."""
    return "The shipped student, for SST-2" if folder is None else str(folder)


def class_names(folder, config):
    """A name for each class: with its meaning, where the student is the shipped one."""
    from ..data.shipped import SHIPPED_CLASSES

    if folder is None:
        return [f"{i} ({meaning})" for i, meaning in enumerate(SHIPPED_CLASSES)]
    return [f"class {i}" for i in range(config.classes)]


def _checked_layer(args, config):
    """The block to show. Raises InputError for a block or a head that is not there."""
    if not config.attention and (args.layer, args.head) != (None, None):
        raise InputError("--layer, --head: this student has no attention; leave them out")
    for flag, value, count in (
        ("layer", args.layer, config.blocks),
        ("head", args.head, config.heads),
    ):
        if value is not None and value >= count:
            raise InputError(f"--{flag} {value}: choose from 0 to {count - 1}")
    return config.blocks - 1 if args.layer is None else args.layer


def _print_tables(explanation, classes, layer, head):
    from ..analysis.explanation_text import attention_table, parts_table, spikes_table

    print(f"\n{parts_table(explanation, classes)}\n\n{spikes_table(explanation)}")
    if explanation.cache.blocks[layer].ssa is None:
        return
    table = attention_table(explanation, layer, head)
    title, *rows = table.splitlines()
    # What is no terminal, such as a file, is as wide as need be.
    fits = len(rows[0]) <= shutil.get_terminal_size((len(rows[0]), 0)).columns
    print(f"\n{table if fits else title}")
    if not fits:
        print(f"  {len(rows[0])} letters wide, too wide for this terminal: give --out FILE.html")


def _write(out, explanation, classes, config, name, **shown):
    """The page or the picture."""
    from ..analysis.explanation_page import explanation_page
    from ..analysis.plots import plot_sentence

    if out.suffix.lower() == ".png":
        with warnings.catch_warnings(record=True) as warned:
            title = f"{classes[explanation.answer]}: {explanation.sentence}"
            plot_sentence(explanation, out, title=title, **shown)
        if any("missing from font" in str(warning.message) for warning in warned):
            print("the picture's font lacks letters of the sentence; a page, .html, has them all")
    else:
        page = explanation_page(
            config, name=name, classes=classes, explanation=explanation, **shown
        )
        write_atomically(out, lambda path: path.write_text(page, encoding="utf-8"))
    print(f"written  {out}")
