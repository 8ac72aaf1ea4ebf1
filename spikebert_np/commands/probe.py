"""`spikebert probe`: what a frozen student's body knows of a task it was not trained for."""

import argparse
import json
from pathlib import Path

from ..errors import InputError
from .use import open_student


def register(commands):
    """Add `probe`."""
    probe = commands.add_parser(
        "probe",
        help="fit a linear head on a frozen student, for a task of your choice",
        description="Freeze a student, one of stage 1 for instance, and fit logistic regression on "
        "what its head reads: the layer-normed spike counts of its last block, averaged over the "
        "sentence and over time. Fitted on train, measured on dev, which plays no other part: the "
        "strength of the penalty is chosen by cross-validation on train.",
        epilog="example:\n  spikebert probe runs/stage1 --data data/trec-split --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    probe.add_argument("run_folder", metavar="RUN", type=Path, help="run folder of a spikebert")
    probe.add_argument("--data", metavar="PATH", type=Path, required=True, help="the corpus")
    probe.add_argument("--json", action="store_true", help="print one line of JSON last")
    probe.set_defaults(run=run_probe)


def run_probe(args):
    """Print the dev accuracy of a linear head, and of the majority class."""
    import numpy as np

    from ..data.shipped import open_corpus
    from ..data.tokenizer import encode_texts, load_tokenizer
    from ..training.inference import accuracy, pooled_features
    from ..training.linear_head import cross_validated_penalty, fit_linear_head

    run, corpus = open_student(args.run_folder, "probe"), open_corpus(args.data)
    train, dev = _labelled(args.data, corpus, "train"), _labelled(args.data, corpus, "dev")
    tokenizer, truncated, features = load_tokenizer(run.directory / "tokenizer.json"), 0, []
    for split in (train, dev):
        encoded = encode_texts(tokenizer, split.texts, max_tokens=run.config.max_tokens)
        features.append(pooled_features(run.params, run.config, encoded.ids, encoded.offsets))
        truncated += encoded.truncated
    classes = int(train.labels.max()) + 1
    penalty = cross_validated_penalty(features[0], train.labels, classes)
    weight, bias = fit_linear_head(features[0], train.labels, classes, penalty=penalty)
    score = accuracy(features[1] @ weight + bias, dev.labels)
    majority = float((dev.labels == np.bincount(train.labels).argmax()).mean())
    print(
        f"linear head on the frozen student   {score:.4f}\n"
        f"majority class                      {majority:.4f}\n"
        f"on {len(dev.texts):,} dev sentences; fitted on {len(train.texts):,}, with penalty "
        f"{penalty:g}; {truncated:,} cut short"
    )
    if args.json:
        result = {"accuracy": score, "majority": majority, "n": len(dev.texts)}
        print(json.dumps(result | {"penalty": penalty, "truncated": truncated}))


def _labelled(path, corpus, name):
    """One split. Raises InputError where it is absent, or has no labels."""
    if name not in corpus:
        raise InputError(
            f"{path}: has no {name} split; `spikebert data split {path} --out DIR` makes a corpus "
            "that has, of one that is all train"
        )
    if corpus[name].labels is None:
        raise InputError(f"{path}: {name} has no labels, by which a probe is fitted and measured")
    return corpus[name]
