"""`spikebert shrink`: a trained student made small enough to ship."""

import argparse
import json
from pathlib import Path

from ..errors import InputError
from .options import at_least
from .use import check_labels, open_student

_MEASURED = ("dev_accuracy", "same_answer")


def register(commands):
    """Add `shrink`."""
    shrink = commands.add_parser(
        "shrink",
        help="make a trained student small enough to ship",
        description="Make a small copy of a run, which `predict` and `evaluate` read like any "
        "other.\n\n"
        "  taps       are left out: only training reads them\n"
        "  prune      the pieces that occur most in the texts keep their row, as many as fit; a\n"
        "             word whose piece is gone falls apart into smaller ones, down to letters\n"
        "  quantise   each row of the embedding is int8 with one scale, all else float16\n\n"
        "Prints what each step costs: dev accuracy, and how many dev sentences keep their answer. "
        "The weights lie in files of at most 4 MiB.",
        epilog="example:\n  spikebert shrink runs/sst2 --data data/sst2 --out runs/sst2-small",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shrink.add_argument("run_folder", metavar="RUN", type=Path, help="a trained student")
    shrink.add_argument(
        "--data",
        metavar="PATH",
        type=Path,
        required=True,
        help="its corpus: pieces are counted in train, and the cost is measured on dev",
    )
    shrink.add_argument(
        "--text",
        metavar="FILE",
        type=Path,
        nargs="+",
        default=[],
        help="count the pieces in the train split of these as well, such as unlabelled reviews",
    )
    shrink.add_argument("--out", metavar="DIR", type=Path, required=True, help="new run folder")
    shrink.add_argument(
        "--max-bytes",
        metavar="N",
        type=at_least(1),
        default=8 << 20,
        help="size of the folder at most (default: %(default)s, 8 MiB)",
    )
    shrink.add_argument(
        "--vocabulary",
        metavar="N",
        type=at_least(1),
        help="pieces kept, letters and all (default: as many as --max-bytes has room for)",
    )
    shrink.add_argument("--json", action="store_true", help="print one line of JSON last")
    shrink.set_defaults(run=run_shrink)


def run_shrink(args):
    """Leave out the taps, prune, quantise; measure after each."""
    from ..data.shipped import open_corpus
    from ..data.tokenizer import load_tokenizer
    from ..training.checkpoint import config_tables, load_run, write_shrunk_run
    from ..training.shrink import pieces_that_fit, prune, rank_pieces, without_taps
    from ..training.stages import new_run_folder

    run = open_student(args.run_folder, "shrink")
    tokenizer = load_tokenizer(run.directory / "tokenizer.json")
    corpus = open_corpus(args.data)
    texts = [text for path in (args.data, *args.text) for text in _train_texts(path)]
    with new_run_folder(args.out.resolve()) as folder:
        costs = _Costs(args.data, corpus.get("dev"), run, tokenizer)
        params, config = without_taps(run.params, run.config)
        costs.add("without taps", params, config, tokenizer)
        ranked, needed = rank_pieces(tokenizer, texts, max_tokens=config.max_tokens)
        count = args.vocabulary or pieces_that_fit(ranked, params, args.max_bytes)
        if count < needed:
            raise InputError(
                f"{args.out}: {needed:,} special tokens and letters must stay, and that leaves no "
                f"more than {count:,}; give more --max-bytes or --vocabulary, or a smaller student"
            )
        kept = [number for _, number in ranked[:count]]
        params, config, tokenizer = prune(params, config, tokenizer, kept)
        name = f"pruned to {config.vocab_size:,} of {len(ranked):,} pieces"
        costs.add(name, params, config, tokenizer)
        # [data] names paths where the run was trained, which are of no use elsewhere.
        tables = config_tables(config) | {k: v for k, v in run.tables.items() if k == "training"}
        write_shrunk_run(folder, params, tables, tokenizer)
        shards = [path.stat().st_size for path in folder.glob("model.safetensors.*")]
        costs.add("quantised", load_run(folder).params, config, tokenizer, sum(shards))
        (folder / "report.md").write_text(_report(costs.rows), "utf-8")
        size = sum(path.stat().st_size for path in folder.iterdir())
        if size > args.max_bytes:
            raise InputError(
                f"{args.out}: would take {size:,} bytes, more than --max-bytes {args.max_bytes:,}; "
                "give a smaller --vocabulary"
            )
    print(f"saved in {args.out}: {size:,} bytes, the largest of its files {max(shards):,}")
    if args.json:
        result = {"run": str(args.out), "bytes": size, "vocabulary": config.vocab_size}
        print(json.dumps(result | {"steps": costs.rows}))


def _train_texts(path):
    from ..data.shipped import open_corpus

    corpus = open_corpus(path)
    if "train" not in corpus:
        raise InputError(f"{path}: has no train split to count pieces in; give one that has")
    return corpus["train"].texts


class _Costs:
    """A row for each step, printed as it is measured: bytes of weights and, where there is a dev
    split, accuracy on it and the share of its sentences that are answered as before the first."""

    def __init__(self, path, dev, run, tokenizer):
        if dev is not None:
            check_labels(path, dev.labels, run)
        self.dev, self.rows, self.answers = dev, [], None
        print(f"{'':34}{'bytes':>12}{'dev accuracy':>15}{'same answer':>14}")
        self.add("as trained", run.params, run.config, tokenizer)

    def add(self, step, params, config, tokenizer, size=None):
        """size: of the weights on disk, where they are not float32."""
        from ..training.inference import accuracy, classify

        row = {"step": step, "bytes": size or sum(value.nbytes for value in params.values())}
        line = f"{step:34}{row['bytes']:12,}"
        if self.dev is not None:
            logits, _ = classify(self.dev.texts, tokenizer, params, config)
            answers = logits.argmax(axis=-1)
            self.answers = answers if self.answers is None else self.answers
            row["dev_accuracy"] = accuracy(logits, self.dev.labels)
            row["same_answer"] = float((answers == self.answers).mean())
            line += f"{row['dev_accuracy']:15.4f}{row['same_answer']:14.2%}"
        self.rows.append(row)
        print(line, flush=True)


def _report(rows):
    """The text of report.md."""
    from ..training.report import markdown_lines

    lines = [
        "# A student made small",
        "",
        "By `spikebert shrink`; its settings stand in config.toml. What each step cost on dev (by "
        "which the student's epoch was chosen):",
        "",
        *markdown_lines(
            ("step", "bytes of weights", "dev accuracy", "same answer"), map(_cells, rows)
        ),
    ]
    return "\n".join(lines) + "\n"


def _cells(row):
    measured = [f"{row[name]:.4f}" if name in row else "" for name in _MEASURED]
    return [row["step"], f"{row['bytes']:,}", *measured]
