"""`spikebert pretrain` (stage 1) and `spikebert finetune` (stage 2)."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from ..data.shipped import TOY, open_cache
from ..errors import InputError
from ..layers.lif import LIFNeuron
from ..models.kinds import KINDS, kind_of
from ..models.spikebert import SpikeBertConfig
from ..models.spiking_textcnn import SpikingTextCNNConfig
from ..training.checkpoint import (
    config_from,
    config_tables,
    dataclass_from,
    load_run,
    model_choices,
)
from ..training.loop import TrainingSettings
from ..training.stages import (
    FITTED,
    default_settings,
    has_hidden,
    new_student,
    run_stage,
    stage_corpora,
    student_config,
)
from ..training.word_rows import teacher_word_rows
from .options import add_flags, chosen, patient_output, read_config

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
CNN_HELP = {
    "kernel_widths": "tokens that a convolution reads, one number a convolution",
    "filters": "filters of each convolution",
}
MODEL_NAMES = ("kind", *MODEL_HELP, *CNN_HELP)
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
    "w_feat": "weight of the MSE with the teacher's hidden states; unset, 0 where some lack",
    "w_emb": "weight of the MSE with the teacher's word embeddings",
    "temperature": "temperature of the KL",
    "embedding": '"teacher": start from its word embeddings; "contextual": from what it makes of '
    'each word in the sentences of the cache, on the average; or "random"',
    "seed": "seed of the parameters, the batches and dropout",
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
    parser.set_defaults(run=run_training, stage=stage, init=None, more=None)
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
    cache_name, more_names, init = _sources(args, tables.get("data", {}))
    cache, *more = map(open_cache, (cache_name, *more_names))
    if init:
        config, params = _from_run(args, tables, init, cache, where)
    else:
        config, params = _new_config(args, tables, cache, where), None
    settings = _settings(args, tables.get("training", {}), cache, more, kind_of(config), where)
    if params is None:
        params = new_student(cache, config, settings)
    data = {"stage": args.stage, "cache": str(cache_name), "more": [*map(str, more_names)]}
    data["init"] = str(init or "")
    data["embedding_scale"] = teacher_word_rows(cache)[1]
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
        tables={"training": asdict(settings), "data": data},
        on_epoch=print_epoch,
        quiet=args.quiet,
    )
    print(f"saved in {args.out}: read {args.out / 'report.md'}")
    if args.json:
        best = max(
            records, key=lambda record: record.get("dev_accuracy", record["epoch"]), default={}
        )
        print(json.dumps(best | {"run": str(args.out), "seconds": perf_counter() - started}))


def _sources(args, data):
    """The cache's name, those of further ones, and the run to start from, or None.

    Flags override the table [data].
    """
    for name in ("stage", "cache", "init"):
        if not isinstance(data.get(name, ""), str):
            raise InputError(f"{args.config} [data]: {name} = {data[name]!r} should be a string")
    more = args.more or data.get("more", [])
    if not isinstance(more, list) or not all(isinstance(name, str) for name in more):
        raise InputError(f"{args.config} [data]: more = {more!r} should be a list of strings")
    if more and args.stage == "pretrain":
        raise InputError(f"{args.config} [data]: stage 1 reads one cache; leave more out")
    if data.get("stage", args.stage) != args.stage:
        raise InputError(
            f"{args.config}: is the config of a {data['stage']} run, whose settings are not for "
            f"{args.stage}; give a file with its tables [model] and [neuron] alone"
        )
    init = args.init or data.get("init")
    if init and args.stage == "pretrain":
        raise InputError(f"{args.config} [data]: stage 1 starts anew; leave init = {init!r} out")
    return args.cache or data.get("cache") or TOY, more, init


def _settings(args, table, cache, more, kind, where):
    """TrainingSettings; a w_feat that nobody set is 0 where the cache lacks hidden states."""
    values = chosen(args, TRAINING_HELP, table, default_settings(args.stage, kind.name))
    if "w_feat" not in values and not has_hidden(stage_corpora(cache, args.stage, more)[0]):
        print(
            "w_feat is 0: the cache has hidden states for only part of the sentences "
            "(`spikebert pretrain` learns from those)"
        )
        values["w_feat"] = 0.0
    return dataclass_from(TrainingSettings, values, f"{where} [training]")


def _choices(args, tables, where):
    """The model's settings that are chosen, by flag or file."""
    model = chosen(args, MODEL_NAMES, tables.get("model", {}))
    return model_choices(model, chosen(args, NEURON_HELP, tables.get("neuron", {})), where)


def _new_config(args, tables, cache, where):
    choices = _choices(args, tables, where)
    choices = {name: value for name, value in choices.items() if name not in FITTED}
    return student_config(cache, where=f"{where} [model]", **choices)


def _from_run(args, tables, init, cache, where):
    """The config and the weights of the run `init`; of its model only the dropout may be changed.

    Flags and file may repeat what the run has, as the config.toml of a run that began so does.
    """
    run = load_run(init)
    fixed = config_tables(run.config)
    for table, names in (("model", MODEL_NAMES), ("neuron", NEURON_HELP)):
        for name, value in chosen(args, names, tables.get(table, {})).items():
            if name != "dropout" and value != fixed.get(table, {}).get(name):
                given = getattr(args, name, None) is not None
                flag = {"kind": "model"}.get(name, name)
                label = f"--{flag.replace('_', '-')}" if given else f"{where} [{table}]: {name}"
                raise InputError(
                    f"{label}: the model is that of --init {init}; leave it out, or train stage 1 "
                    "anew with it"
                )
    fitting = student_config(cache, kind=kind_of(run.config).name)
    for name in ("vocab_size", "teacher_width", "classes"):
        found, wanted = (getattr(config, name, None) for config in (run.config, fitting))
        if found != wanted:
            raise InputError(
                f"{init}: {name} is {found}, but {cache.tokenizer.parent} needs {wanted}; both "
                "stages must use one teacher and one number of classes"
            )
    if (run.directory / "tokenizer.json").read_bytes() != cache.tokenizer.read_bytes():
        raise InputError(
            f"{init}: its tokenizer.json is not that of {cache.tokenizer.parent}, so that its "
            "words would be mixed up; both stages must use one teacher"
        )
    repeated = {name: table | tables.get(name, {}) for name, table in fixed.items()}
    choices = _choices(args, repeated, where)
    return config_from(choices, where), run.params


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
