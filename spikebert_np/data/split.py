"""A dev split for a corpus that has none: drawn once, written down, shared by all who train on it.

Letters: S sentences.
"""

import csv
import os
import shutil
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import refuse_taken
from .readers import Split, read_corpus


def split_corpus(path, out, *, dev_fraction=0.1, seed=0):
    """Write out/train.csv and out/dev.csv (header `label,review`) from a corpus with train only.

    Texts that differ in nothing but upper case and white space stay together: one in train would
    give away the answer to its twin in dev. Each file keeps the corpus' order.
    Returns {"train": Split, "dev": Split}. Raises InputError where the corpus has a dev split, a
    test split that would be lost, no labels, or so few texts that a part would lack a class; for a
    share that is not between 0 and 1; and where `out` exists or cannot be written.
    """
    out = Path(out)
    refuse_taken(out)
    if not 0 < dev_fraction < 1:
        raise InputError(f"--dev-fraction is {dev_fraction}; give a share between 0 and 1")
    corpus = read_corpus(path)
    if list(corpus) != ["train"]:
        raise InputError(
            f"{path}: has the splits {', '.join(corpus)}; only a corpus that is all train is cut"
        )
    train = corpus["train"]
    if train.labels is None:
        raise InputError(f"{path}: has no labels, and a dev split is for measuring; it needs none")
    in_dev = _draw(train.texts, dev_fraction, seed)  # (S,)
    splits = {}
    for name, chosen in (("train", ~in_dev), ("dev", in_dev)):
        texts = [text for text, keep in zip(train.texts, chosen, strict=True) if keep]
        splits[name] = Split(texts, train.labels[chosen])
    for name, split in splits.items():
        if len(np.unique(split.labels)) < len(np.unique(train.labels)):
            raise InputError(
                f"{path}: {len(train.texts)} texts are too few: {name} would lack a class; give "
                "another --dev-fraction or --seed"
            )
    temporary = out.with_name(f".{out.name}.{os.getpid()}.writing")
    try:
        temporary.mkdir(parents=True)
        for name, split in splits.items():
            with open(temporary / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(["label", "review"])
                rows.writerows(zip(split.labels.tolist(), split.texts, strict=True))
        os.rename(temporary, out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); give another --out"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return splits


def text_key(text):
    """The same for texts that differ in nothing but upper case and white space."""
    return " ".join(text.lower().split())


def _draw(texts, fraction, seed):
    """(S,) booleans: the given share of the different texts, each with all its repetitions."""
    keys = [text_key(text) for text in texts]
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    order = np.random.default_rng(seed).permutation(len(number))
    drawn = np.zeros(len(number), bool)
    drawn[order[: max(1, round(fraction * len(number)))]] = True
    return drawn[[number[key] for key in keys]]
