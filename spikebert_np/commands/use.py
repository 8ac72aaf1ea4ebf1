"""`spikebert evaluate` and `spikebert predict`: a trained student at work."""

import argparse
import json
import os
import re
import sys
from pathlib import Path

from ..errors import InputError

SHIPPED = "(default: the student for SST-2 that travels with the package)"


def register(commands):
    """Add `evaluate` and `predict`."""
    evaluate = commands.add_parser(
        "evaluate",
        help="score a trained student on a labelled file",
        description="Score a run on a labelled file or folder, in any format that `spikebert data "
        "check` reads, or on toy_reviews. Of several splits, one is scored: --split. Another "
        "corpus of the same classes will do too, such as product reviews for one of films.",
        epilog="examples:\n  spikebert evaluate runs/sst2 --data data/sst2/dev.tsv --json\n"
        "  spikebert evaluate --data data/cr       (the shipped student)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_argument(
        "run_folder", metavar="RUN", nargs="?", type=Path, help=f"run folder {SHIPPED}"
    )
    evaluate.add_argument("--data", metavar="PATH", type=Path, required=True, help="the corpus")
    evaluate.add_argument(
        "--split", choices=["train", "dev", "test"], help="default: dev, or else the only one"
    )
    evaluate.add_argument("--json", action="store_true", help="print one line of JSON last")
    evaluate.set_defaults(run=run_evaluate)

    predict = commands.add_parser(
        "predict",
        help="label sentences",
        description="Label the sentences given as arguments, or each line of standard input. "
        "Prints the class, its probability and the sentence. The shipped student was trained on "
        "SST-2, single sentences of film reviews: 0 is negative, 1 positive.",
        epilog="examples:\n"
        '  spikebert predict "a gripping, funny film"\n'
        '  spikebert predict --run runs/toy "the plot was sharp , but the music is dull"\n'
        "  spikebert predict --run runs/toy < sentences.txt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument(
        "--run", dest="run_folder", metavar="RUN", type=Path, help=f"run folder {SHIPPED}"
    )
    predict.add_argument("sentences", metavar="SENTENCE", nargs="*", help="default: read stdin")
    predict.add_argument("--json", action="store_true", help="print one line of JSON last")
    predict.set_defaults(run=run_predict)


def _open_run(folder):
    """The Run of a folder, or of the shipped student, and its tokenizer."""
    from ..data.shipped import shipped_student
    from ..data.tokenizer import load_tokenizer
    from ..training.checkpoint import load_run

    run = load_run(folder or shipped_student())
    return run, load_tokenizer(run.directory / "tokenizer.json")


def open_student(folder, command):
    """The Run of a folder. Raises InputError where it is one of a baseline."""
    from ..models.kinds import kind_of
    from ..training.checkpoint import load_run

    run = load_run(folder)
    if (kind := kind_of(run.config).name) != "spikebert":
        raise InputError(f"{folder}: is a {kind}; `spikebert {command}` takes a spikebert")
    return run


def check_labels(path, labels, run):
    """Raises InputError where a run cannot be scored by these labels; says where it is odd."""
    if labels is None:
        raise InputError(f"{path}: has no labels to score by; try `spikebert predict`")
    if labels.max() >= run.config.classes:
        raise InputError(
            f"{path}: has label {labels.max()}, but {run.directory} knows classes 0 to "
            f"{run.config.classes - 1}; score it on the task it was trained for"
        )
    if labels.max() + 1 < run.config.classes and sys.stderr:
        print(
            f"{path}: has no label above {labels.max()}, but {run.directory} knows classes 0 to "
            f"{run.config.classes - 1}: is it of the same task?",
            file=sys.stderr,
        )


def run_evaluate(args):
    """Print the accuracy of a run on one split of a corpus."""
    from ..data.shipped import open_corpus
    from ..training.inference import accuracy, classify

    run, tokenizer = _open_run(args.run_folder)
    splits = open_corpus(args.data)
    name = args.split or ("dev" if len(splits) > 1 else next(iter(splits)))
    if name not in splits:
        raise InputError(f"{args.data}: has no {name} split, only {', '.join(splits)}")
    texts, labels = splits[name]
    check_labels(args.data, labels, run)
    logits, truncated = classify(texts, tokenizer, run.params, run.config)
    score = accuracy(logits, labels)
    print(f"accuracy {score:.4f} on {len(texts)} sentences ({name}), {truncated} cut short")
    if args.json:
        print(json.dumps({"accuracy": score, "n": len(texts), "truncated": truncated}))


def from_arguments(sentences):
    """The sentences, each decoded as a line of a file would be where it was not UTF-8.

    Half a character, as Windows may hand one on, is none; Python hands on other bytes than UTF-8 as
    U+DC80 to U+DCFF.
    Raises InputError where the first is a run folder.
    """
    from ..data.formats import decode_text

    if os.path.exists(os.path.join(sentences[0], "config.toml")):
        raise InputError(f"{sentences[0]}: is a run folder; put --run in front of it")
    whole = [re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", s) for s in sentences]
    return [decode_text(s.encode(errors="surrogateescape"), "SENTENCE")[0] for s in whole]


def _from_stdin():
    """The lines of standard input, decoded as those of a file; none where it is closed."""
    from ..data.formats import decode_text

    text, _ = decode_text(sys.stdin.buffer.read() if sys.stdin else b"", "standard input")
    lines = text.removesuffix("\n").split("\n") if text else []
    return [line.rstrip("\r") for line in lines]


def run_predict(args):
    """Print the class of each sentence."""
    import numpy as np

    from ..layers.losses import log_softmax
    from ..training.inference import classify

    sentences = from_arguments(args.sentences) if args.sentences else _from_stdin()
    run, tokenizer = _open_run(args.run_folder)
    if not sentences:
        raise InputError("no sentence: give one in quotes, or lines on standard input")
    logits, truncated = classify(sentences, tokenizer, run.params, run.config)
    probabilities = np.exp(log_softmax(logits))
    classes = logits.argmax(axis=-1)
    for sentence, label, row in zip(sentences, classes, probabilities, strict=True):
        print(f"{label}  {row[label]:.3f}  {sentence}")
    if truncated:
        print(f"{truncated} cut to {run.config.max_tokens} tokens", file=sys.stderr)
    if args.json:
        print(json.dumps({"labels": classes.tolist(), "probabilities": probabilities.tolist()}))
