"""`spikebert data check`, `spikebert data split` and `spikebert data get`."""

import argparse
import json
from pathlib import Path


def register(commands):
    """Add the `data` command and its sub-commands."""
    data = commands.add_parser(
        "data",
        help="look at a corpus, give it a dev split, or fetch one",
        description="Look at a corpus before you train on it, give it a dev split, or fetch one.",
    )
    actions = data.add_subparsers(title="actions", metavar="ACTION", required=True)
    _register_check(actions)
    _register_split(actions)
    _register_get(actions)


def _register_check(actions):
    check = actions.add_parser(
        "check",
        help="formats, encodings, labels, lengths, duplicates",
        description="Read a corpus exactly as training would, and tell what stands in it: the "
        "format and encoding of each file, the texts by label, their lengths, duplicates, and "
        "the dev and test texts that stand in train too (a score on those is no evidence).\n\n"
        "PATH is a file or a folder, or toy_reviews, the corpus that travels with the package.\n"
        "The formats, told apart by content:\n"
        "  GLUE tsv       header `sentence<TAB>label`\n"
        "  label text     `1 a fine film`, labels 0, 1, 2, ...\n"
        "  TREC           `HUM:ind Who wrote it ?`\n"
        "  csv            header `label,review`\n"
        "  pos and neg    two files of plain lines, such as reviews.pos and reviews.neg\n"
        "  plain lines    one text a line, no labels (to pretrain on, or to predict)\n"
        "A file with train, dev or test in its name is that split; any other is train. Files "
        "that are not UTF-8 are read as cp1252: see in `begins` that the letters came out right.",
        epilog="example:\n  spikebert data check data/sst2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("path", metavar="PATH", type=Path, help="a file, a folder, toy_reviews")
    check.add_argument("--json", action="store_true", help="print one line of JSON instead")
    check.set_defaults(run=run_check)


def _register_split(actions):
    split = actions.add_parser(
        "split",
        help="give a corpus without a dev split one",
        description="Write the folder DIR with train.csv and dev.csv from a labelled corpus that "
        "is all train. Give this folder to every command, so that teacher, students and baselines "
        "are trained and measured on the same sentences. Texts that occur more than once stay "
        "together, and the same seed draws the same split.",
        epilog="example:\n  spikebert data split data/mr --out data/mr-split",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    split.add_argument("path", metavar="PATH", type=Path, help="the corpus: a file or a folder")
    split.add_argument("--out", metavar="DIR", type=Path, required=True, help="a new folder")
    split.add_argument(
        "--dev-fraction",
        metavar="SHARE",
        type=float,
        default=0.1,
        help="share of the different texts that goes to dev (default: %(default)s)",
    )
    split.add_argument("--seed", metavar="INT", type=int, default=0, help="default: 0")
    split.set_defaults(run=run_split)


def _register_get(actions):
    get = actions.add_parser(
        "get",
        help="fetch a public corpus",
        description="Fetch a public corpus. sst2: the Stanford Sentiment Treebank with two "
        "classes as GLUE publishes it, 67,349 training phrases and 872 dev sentences (7 MB). A "
        "download that breaks resumes when the same command is run again.",
        epilog="examples:\n"
        "  spikebert data get sst2\n"
        "  spikebert data get sst2 --from SST-2.zip     (a machine without a network)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    get.add_argument("corpus", choices=["sst2"], help="which corpus")
    get.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("data/sst2"),
        help="folder for train.tsv and dev.tsv; default: %(default)s under the current folder, "
        "so that a project keeps its corpora beside its runs",
    )
    get.add_argument(
        "--from",
        dest="from_zip",
        metavar="FILE.zip",
        type=Path,
        help="unpack this SST-2.zip instead of downloading it",
    )
    get.set_defaults(run=run_get)


def run_check(args):
    """Print the report of the corpus at args.path."""
    from ..data.check import check_corpus, format_report, report_as_dict

    report = check_corpus(args.path)
    print(json.dumps(report_as_dict(report)) if args.json else format_report(report))


def run_split(args):
    """Cut the corpus at args.path into args.out."""
    from ..data.split import split_corpus

    splits = split_corpus(args.path, args.out, dev_fraction=args.dev_fraction, seed=args.seed)
    counts = ", ".join(f"{name} {len(split.texts):,}" for name, split in splits.items())
    print(f"{args.out}: {counts}; give this folder as --data from now on")


def run_get(args):
    """Fetch SST-2 into args.out."""
    from ..data.sst2 import get_sst2

    out = get_sst2(args.out, from_zip=args.from_zip)
    print(f"SST-2 is in {out}; look at it with: spikebert data check {out}")
