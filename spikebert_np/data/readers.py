"""A corpus on disk, one file or a folder, as splits of texts and labels.

Letters: S sentences of a split, C classes.
"""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .formats import PLAIN, ParsedFile, parse_file

_SPLIT_NAMES = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}
_CLASS_NAMES = {"neg": 0, "negative": 0, "objective": 0, "pos": 1, "positive": 1, "subjective": 1}


class Split(NamedTuple):
    texts: list[str]  # S texts
    labels: np.ndarray | None  # (S,) int64, classes 0..C-1; None where the corpus has no labels


class SourceFile(NamedTuple):
    path: Path
    split: str  # "train", "dev" or "test"
    parsed: ParsedFile  # what stands in it, and in which format and encoding


def read_corpus(path):
    """Read a file or a folder; return {"train": Split, "dev": Split, "test": Split}, as present.

    A file's format is told by its content (see `formats.parse_file`), its split by a part of its
    name (stsa.binary.train, train.tsv, dev.tsv); a file that names no split is "train". Two plain
    files whose names end in pos and neg (or positive, negative) are one corpus with the classes
    1 and 0; so are subjective (1) and objective (0), which come one after the other: shuffle.

    Raises InputError for a path that is absent, files that do not make one corpus, a line that
    does not fit its file's format, and labels that leave a class of 0..C-1 without a training text.
    """
    return join_splits(path, read_files(path))


def corpus_digest(corpus):
    """sha256 over splits, labels and texts as read: the same for the same corpus in any format."""
    digest = hashlib.sha256()
    for name, split in corpus.items():
        labels = ["-"] * len(split.texts) if split.labels is None else split.labels
        for label, text in zip(labels, split.texts, strict=True):
            digest.update(f"{name}\t{label}\t{text}\n".encode())
    return digest.hexdigest()


def read_files(path):
    """Parse a file, or the files of a folder (not README, LICENSE, *.md or hidden ones)."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    paths = [path]
    if path.is_dir():
        paths = sorted(p for p in path.iterdir() if p.is_file() and not _is_documentation(p))
        if not paths:
            raise InputError(f"{path}: the folder holds no text file; give the one that does")
    return [SourceFile(p, _split_name(p), parse_file(p)) for p in paths]


def join_splits(path, files):
    """The splits that the SourceFiles of one corpus make; `path` names the corpus in errors."""
    splits = {}
    for name in ("train", "dev", "test"):
        members = [file for file in files if file.split == name]
        if members:
            splits[name] = _join(members)
    _check_classes(path, splits)
    return splits


def _is_documentation(path):
    return bool(re.match(r"\.|readme|license", path.name.lower())) or path.suffix == ".md"


def _name_parts(path):
    return re.split(r"[^a-z0-9]+", path.name.lower().removesuffix(".txt"))


def _split_name(path):
    return next((_SPLIT_NAMES[p] for p in _name_parts(path) if p in _SPLIT_NAMES), "train")


def _join(members):
    """One Split from one file, or from two plain files of one class each."""
    first = members[0]
    classes = [
        _CLASS_NAMES.get(_name_parts(file.path)[-1]) if file.parsed.format == PLAIN else None
        for file in members
    ]
    if classes == [None]:
        labels = first.parsed.labels
        return Split(first.parsed.texts, None if labels is None else np.array(labels, np.int64))
    if sorted(c for c in classes if c is not None) == [0, 1] and len(classes) == 2:
        counts = [len(file.parsed.texts) for file in members]
        return Split(
            [text for file in members for text in file.parsed.texts],
            np.repeat(np.array(classes, np.int64), counts),  # (S,)
        )
    if len(members) == 1:
        raise InputError(
            f"{first.path}: by its name this holds one class of two; give the folder where it "
            "lies with the file of the other class, or rename it"
        )
    raise InputError(
        f"{first.path.parent}: {', '.join(file.path.name for file in members)} are all its split "
        f'"{first.split}"; give one of these files, or name them train, dev and test'
    )


def _check_classes(path, splits):
    """Training needs every class 0..C-1; a lone dev or test file may lack some."""
    labels = [split.labels for split in splits.values() if split.labels is not None]
    if not labels or "train" not in splits:
        return
    trained = splits["train"].labels
    if trained is None:
        raise InputError(f"{path}: dev or test has labels but train has none; add them to train")
    classes = np.unique(np.concatenate(labels))
    absent = np.setdiff1d(np.union1d(classes, np.arange(len(classes))), np.unique(trained))
    if absent.size:
        raise InputError(
            f"{path}: no training text has the label {absent[0]}, though the labels run to "
            f"{classes[-1]}; number the classes 0, 1, 2, ... without a gap (a file that is only "
            "for evaluation: put dev or test in its name)"
        )
