"""What stands in a corpus: the statistics behind `spikebert data check`."""

from typing import NamedTuple

import numpy as np

from .formats import TREC, TREC_CLASSES
from .readers import join_splits, read_files
from .sentences import WORD
from .shipped import is_shipped
from .split import text_key
from .toy_reviews import toy_reviews

_QUANTILES = {"min": 0.0, "median": 0.5, "p95": 0.95, "max": 1.0}
_SHOWN = 70  # letters of a file's first text


class FileReport(NamedTuple):
    name: str
    split: str
    format: str
    encoding: str
    sentences: int
    empty_lines: list[int]  # 1-based numbers of the lines left out because they hold no text
    first: str  # how its first text begins, to see that the encoding was understood


class SplitReport(NamedTuple):
    sentences: int
    labels: dict[str, int] | None  # texts by label
    words: dict[str, int]  # lengths in words: "min", "median", "p95" (95 % quantile), "max"
    duplicates: int  # texts that repeat an earlier one of the same split
    in_train: int | None  # texts that stand in train too; None for train itself


class CorpusReport(NamedTuple):
    path: str
    files: list[FileReport]
    splits: dict[str, SplitReport]


def check_corpus(path):
    """Read the corpus `path`, or the shipped `toy_reviews`, and return its CorpusReport.

    Two texts are the same if they differ in nothing but upper case and white space. A word is what
    white space separates; a Chinese character is one. Raises InputError as `read_corpus` does.
    """
    files = [] if is_shipped(path) else read_files(path)
    splits = join_splits(path, files) if files else toy_reviews()
    class_names = TREC_CLASSES if files and files[0].parsed.format == TREC else None
    keys = {name: [text_key(text) for text in split.texts] for name, split in splits.items()}
    train = set(keys.get("train", ()))
    return CorpusReport(
        str(path),
        [_file_report(file) for file in files],
        {
            name: SplitReport(
                sentences=len(split.texts),
                labels=_counts(split.labels, class_names),
                words=_word_quantiles(split.texts),
                duplicates=len(keys[name]) - len(set(keys[name])),
                in_train=None
                if name == "train" or not train
                else sum(key in train for key in keys[name]),
            )
            for name, split in splits.items()
        },
    )


def _file_report(file):
    parsed = file.parsed
    return FileReport(
        file.path.name,
        file.split,
        parsed.format,
        parsed.encoding,
        len(parsed.texts),
        parsed.empty_lines,
        parsed.texts[0][:_SHOWN],
    )


def _counts(labels, class_names):
    if labels is None:
        return None
    return {
        class_names[c] if class_names else str(c): count
        for c, count in enumerate(np.bincount(labels).tolist())
    }


def _word_quantiles(texts):
    lengths = [len(WORD.findall(text)) for text in texts]
    values = np.quantile(lengths, list(_QUANTILES.values()), method="nearest").tolist()
    return dict(zip(_QUANTILES, values, strict=True))


def format_report(report):
    """The report as text for a reader."""
    lines = [report.path]
    for file in report.files:
        lines += [
            f"  {file.name}: {file.format}, {file.encoding}, {file.sentences:,} {file.split} texts",
            f"    begins: {file.first}",
        ]
        if file.empty_lines:
            numbers = ", ".join(map(str, file.empty_lines[:5]))
            more = ", ..." if len(file.empty_lines) > 5 else ""
            lines.append(
                f"    left out, without a text: {len(file.empty_lines):,} (line {numbers}{more})"
            )
    for name, split in report.splits.items():
        lines.append(f"{name}: {split.sentences:,} texts{'' if split.labels else ', no labels'}")
        for label, count in (split.labels or {}).items():
            lines.append(f"  label {label}: {count:,} ({100 * count / split.sentences:.1f} %)")
        lines += [
            "  words: {min:,} to {max:,}, median {median:,}, 95 % of the texts have at most "
            "{p95:,}".format(**split.words),
            f"  duplicates: {split.duplicates:,}",
        ]
        if split.in_train is not None:
            lines.append(f"  also in train: {split.in_train:,}")
    return "\n".join(lines)


def report_as_dict(report):
    """The report as nested dicts and lists, for JSON."""
    return {
        "path": report.path,
        "files": [file._asdict() for file in report.files],
        "splits": {name: split._asdict() for name, split in report.splits.items()},
    }
