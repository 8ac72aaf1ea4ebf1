"""`spikebert pretrain` (stage 1) and `spikebert finetune` (stage 2)."""

import argparse
import json
import sys
from pathlib import Path
from time import perf_counter

from ..data.shipped import open_cache
from ..errors import InputError
from ..layers.lif import LIFNeuron
from ..models.kinds import KINDS, kind_of
from ..models.spikebert import SpikeBertConfig
from ..models.spiking_textcnn import SpikingTextCNNConfig
from ..training.loop import TrainingSettings
from ..training.stages import default_settings, new_student, run_stage, run_tables
from .options import add_flags, patient_output, read_config
from .student_flags import (
    CNN_HELP,
    MODEL_HELP,
    MODEL_NAMES,
    NEURON_HELP,
    TRAINING_HELP,
    config_and_weights,
    data_sources,
    new_config,
    training_settings,
)


def register(commands):
    """Add `pretrain` and `finetune`."""
    _register(
        commands,
        "pretrain",
        "stage 1: match the teacher's features on unlabelled text",
        "Stage 1 trains the student to give the teacher's hidden states and word embeddings, "
        "block by block. It needs no labels.",
        "spikebert pretrain --out runs/stage1\n"
        "  spikebert pretrain --cache teacher_cache/imdb --epochs 1 --out runs/stage1",
    )
    finetune = _register(
        commands,
        "finetune",
        "stage 2: learn the task from labels and the teacher's logits",
        "Stage 2 trains the student on a labelled corpus: cross-entropy, KL from the teacher's "
        "logits, and both losses of stage 1. The epoch of the best dev accuracy is kept. "
        "--w-kl 0 --w-feat 0 --w-emb 0 --w-ce 1 --embedding random trains it without a teacher. "
        "The same losses, but for hidden states, train two baselines: --model.",
        "spikebert finetune --init runs/stage1 --out runs/toy\n"
        "  spikebert finetune --cache teacher_cache/sst2 --w-feat 0 --out runs/sst2\n"
        "  spikebert finetune --model textcnn --w-ce 1 --w-kl 0 --out runs/textcnn",
    )
    finetune.add_argument(
        "--model",
        dest="kind",
        choices=list(KINDS),
        help="what to train: the student (default), or a convolutional baseline without spikes or "
        "with. textcnn takes --dropout (0.5) and the two flags of its own below; spiking_textcnn "
        "these, --width, --steps and the neuron's",
    )
    add_flags(finetune, SpikingTextCNNConfig, "model, of textcnn and spiking_textcnn", CNN_HELP)
    finetune.add_argument(
        "--more",
        metavar="DIR",
        nargs="+",
        help="further caches by the same teacher, whose train splits are trained on as well: "
        "phrases, or sentences without labels, which learn from the teacher's logits alone",
    )
    finetune.add_argument(
        "--init",
        metavar="RUN",
        type=Path,
        help="start from this run's exact weights; its model settings then hold",
    )
    finetune.add_argument(
        "--new-words",
        action="store_true",
        help="with --init: but for the word embeddings, which start as --embedding says. For a "
        "stage 1 that another teacher taught, such as the general one before its fine-tuning",
    )


def _register(commands, stage, summary, description, examples):
    parser = commands.add_parser(
        stage,
        help=summary,
        description=description,
        epilog=f"examples:\n  {examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        help="teacher cache, made by `spikebert teacher cache` (default: the shipped toy_reviews)",
    )
    parser.add_argument("--out", metavar="RUN", type=Path, required=True, help="new run folder")
    parser.add_argument(
        "--config",
        metavar="FILE.toml",
        type=Path,
        help="tables [model], [neuron], [training] with the names below, and [data] with cache and "
        "init; a run's own config.toml repeats it. Flags override it",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_flags(parser, SpikeBertConfig, "model", MODEL_HELP)
    add_flags(parser, LIFNeuron, "neuron", NEURON_HELP)
    add_flags(parser, TrainingSettings, "training", TRAINING_HELP, default_settings(stage))
    parser.set_defaults(run=run_training, stage=stage, init=None, more=None, new_words=False)
    parser.set_defaults(**dict.fromkeys(MODEL_NAMES))
    return parser


def run_training(args):
    """Train one stage as the flags and the config file say."""
    with patient_output():
        _train(args)


def _train(args):
    started = perf_counter()
    tables = read_config(args)
    where = args.config or "flags"
    for name in tables:
        if name not in ("model", "neuron", "training", "data"):
            raise InputError(f"{where}: unknown table [{name}]; known are model, neuron, training")
    cache_name, more_names, init, new_words = data_sources(args, tables.get("data", {}))
    cache, *more = map(open_cache, (cache_name, *more_names))
    if init:
        config, params = config_and_weights(args, tables, init, cache, where)
    else:
        config, params = new_config(args, tables, cache, where), None
    settings = training_settings(
        args, tables.get("training", {}), cache, more, kind_of(config), where
    )
    if params is None or new_words:
        params = new_student(cache, config, settings, params)
    if args.stage == "pretrain" and kind_of(config).taps:
        print(_lessons(cache, config))
    if not args.quiet:
        print(
            "the first run on a machine compiles its kernels: about a minute, once",
            file=sys.stderr,
        )
    params, records = run_stage(
        args.out,
        args.stage,
        cache,
        params,
        config,
        settings,
        more=more,
        tables=run_tables(
            args.stage,
            cache,
            settings,
            name=cache_name,
            more=more_names,
            init=init or "",
            new_words=new_words,
        ),
        on_epoch=print_epoch,
        quiet=args.quiet,
    )
    print(f"saved in {args.out}: read {args.out / 'report.md'}")
    if args.json:
        best = max(
            records, key=lambda record: record.get("dev_accuracy", record["epoch"]), default={}
        )
        print(json.dumps(best | {"run": str(args.out), "seconds": perf_counter() - started}))


def _lessons(cache, config):
    """Which block learns from which of the teacher's layers, in a sentence."""
    pairs = sorted((block, layer) for layer, block in cache.student_blocks.items())
    text = ", ".join(f"block {block} learns from the teacher's layer {n}" for block, n in pairs)
    last = max(cache.student_blocks.values(), default=-1)
    if rest := [f"block {i}" for i in range(last + 1, config.blocks)]:
        text += f"; nothing in this stage: {', '.join(rest)}"
    return text


def print_epoch(record):
    """One line of a training run."""
    shown = {name: value for name, value in record.items() if name not in ("epoch", "step")}
    text = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
    print(f"epoch {record['epoch']}: {text}", flush=True)
