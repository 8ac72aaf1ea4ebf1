"""`spikebert pretrain` (stage 1) and `spikebert finetune` (stage 2)."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter

from ..data.shipped import TOY, open_cache
from ..errors import InputError
from ..layers.lif import LIFNeuron
from ..models.spikebert import SpikeBertConfig
from ..training.checkpoint import dataclass_from, load_run
from ..training.loop import TrainingSettings
from ..training.stages import new_student, run_stage, student_config, teacher_word_rows
from .options import add_flags, chosen, read_config

MODEL_HELP = {
    "width": "width D",
    "heads": "attention heads; must divide the width",
    "blocks": "encoder blocks",
    "steps": "spike steps T",
    "encoder": '"lif": current into a neuron; "heaviside": the published model\'s sign',
    "projection": "linear layer and layer norm between the embedding and the encoder",
    "positions": "learned positions; without them word order has no effect at all",
    "position_std": "spread of the positions at the start; the words' is 1",
    "attention": "spiking self-attention; without it words meet only in the final mean",
    "dropout": "dropout on the encoder's current and on the pooled sentence",
}
NEURON_HELP = {
    "tau": "membrane time constant in steps",
    "v_th": "firing threshold",
    "reset": "hard, soft or none",
    "surrogate": "atan, sigmoid, fast_sigmoid, triangle or rectangle",
    "alpha": "sharpness of the surrogate",
}
TRAINING_HELP = {
    "epochs": "passes over the corpus",
    "batch_tokens": "tokens a batch at most",
    "learning_rate": "AdamW's peak rate, after warm-up and before the cosine",
    "warmup": "share of the steps that warm up",
    "weight_decay": "AdamW's, on weight matrices only",
    "clip_norm": "largest gradient norm",
    "w_ce": "weight of cross-entropy with the labels",
    "w_kl": "weight of KL from the teacher's logits",
    "w_feat": "weight of the MSE with the teacher's hidden states",
    "w_emb": "weight of the MSE with the teacher's word embeddings",
    "temperature": "temperature of the KL",
    "embedding": '"teacher": start from its word embeddings; "random"',
    "seed": "seed of the parameters, the batches and dropout",
}
DEFAULTS = {
    "pretrain": {"w_ce": 0.0, "w_kl": 0.0, "w_feat": 1.0, "w_emb": 1.0},
    "finetune": {},
}


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
        "--w-kl 0 --w-feat 0 --w-emb 0 --w-ce 1 --embedding random trains it without a teacher.",
        "spikebert finetune --init runs/stage1 --out runs/toy\n"
        "  spikebert finetune --cache teacher_cache/sst2 --w-feat 0 --out runs/sst2",
    )
    finetune.add_argument(
        "--init",
        metavar="RUN",
        type=Path,
        help="start from this run's exact weights; its model settings then hold",
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
        default=TOY,
        help="teacher cache, made by `spikebert teacher cache` (default: the shipped %(default)s)",
    )
    parser.add_argument("--out", metavar="RUN", type=Path, required=True, help="new run folder")
    parser.add_argument(
        "--config",
        metavar="FILE.toml",
        type=Path,
        help="tables [model], [neuron], [training] with the names below; a run's own config.toml "
        "will do. Flags override it",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_flags(parser, SpikeBertConfig, "model", MODEL_HELP)
    add_flags(parser, LIFNeuron, "neuron", NEURON_HELP)
    add_flags(parser, TrainingSettings, "training", TRAINING_HELP, DEFAULTS[stage])
    parser.set_defaults(run=run_training, stage=stage, init=None)
    return parser


def run_training(args):
    """Train one stage as the flags and the config file say."""
    started = perf_counter()
    tables = read_config(args)
    where = args.config or "flags"
    for name in tables:
        if name not in ("model", "neuron", "training", "data"):
            raise InputError(f"{where}: unknown table [{name}]; known are model, neuron, training")
    settings = dataclass_from(
        TrainingSettings,
        chosen(args, TRAINING_HELP, tables.get("training", {}), DEFAULTS[args.stage]),
        f"{where} [training]",
    )
    cache = open_cache(args.cache)
    if args.init:
        config, params = _from_run(args, cache)
    else:
        config = _new_config(args, tables, cache, where)
        params = new_student(cache, config, settings)
    data = {"stage": args.stage, "cache": str(args.cache), "init": str(args.init or "")}
    data["embedding_scale"] = teacher_word_rows(cache)[1]
    print("the first run on a machine compiles its kernels: about a minute, once", file=sys.stderr)
    params, records = run_stage(
        args.out,
        args.stage,
        cache,
        params,
        config,
        settings,
        tables={"training": asdict(settings), "data": data},
        on_epoch=_print_epoch,
        quiet=args.quiet,
    )
    print(f"saved in {args.out}: read {args.out / 'report.md'}")
    if args.json:
        best = max(records, key=lambda record: record.get("dev_accuracy", record["epoch"]))
        print(json.dumps(best | {"run": str(args.out), "seconds": perf_counter() - started}))


def _new_config(args, tables, cache, where):
    neuron = dataclass_from(
        LIFNeuron, chosen(args, NEURON_HELP, tables.get("neuron", {})), f"{where} [neuron]"
    )
    table = tables.get("model", {})
    fitted = ("vocab_size", "classes", "embedding_width", "teacher_width")
    table = {key: value for key, value in table.items() if key not in fitted}
    choices = chosen(args, MODEL_HELP, table)
    config = student_config(cache)
    checked = dataclass_from(
        SpikeBertConfig, {"vocab_size": config.vocab_size, **choices}, f"{where} [model]"
    )
    return student_config(cache, **{key: getattr(checked, key) for key in choices}, neuron=neuron)


def _from_run(args, cache):
    run = load_run(args.init)
    given = [name for name in (*MODEL_HELP, *NEURON_HELP) if getattr(args, name) is not None]
    changeable = {name: getattr(args, name) for name in given if name == "dropout"}
    if fixed := [name for name in given if name not in changeable]:
        raise InputError(
            f"--{fixed[0].replace('_', '-')}: the model is that of --init {args.init}; leave the "
            "flag out, or train stage 1 anew with it"
        )
    fitting = student_config(cache)
    for name in ("vocab_size", "teacher_width", "classes"):
        found, wanted = getattr(run.config, name), getattr(fitting, name)
        if found != wanted:
            raise InputError(
                f"{args.init}: {name} is {found}, but {args.cache} needs {wanted}; both stages "
                "must use one teacher and one number of classes"
            )
    return replace(run.config, **changeable), run.params


def _print_epoch(record):
    shown = {name: value for name, value in record.items() if name not in ("epoch", "step")}
    text = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
    print(f"epoch {record['epoch']}: {text}", flush=True)
