"""What `spikebert pretrain` and `finetune` are told, by flags, a config file or an earlier run."""

from ..data.shipped import TOY
from ..errors import InputError
from ..models.kinds import kind_of
from ..training.checkpoint import (
    config_from,
    config_tables,
    dataclass_from,
    load_run,
    model_choices,
)
from ..training.corpora import has_hidden, stage_corpora
from ..training.loop import TrainingSettings
from ..training.stages import FITTED, default_settings, student_config
from .options import chosen

MODEL_HELP = {
    "width": "width D",
    "heads": "attention heads; must divide the width",
    "blocks": "encoder blocks",
    "steps": "spike steps T",
    "encoder": '"lif": current into a neuron; "heaviside": the published model\'s sign',
    "projection": "convolution and layer norm between the embedding and the encoder",
    "kernel_width": "words that this convolution reads at once; 1: each word by itself",
    "positions": "learned positions; without them, and with --kernel-width 1, word order has no "
    "effect at all",
    "position_std": "spread of the positions at the start; the words' is 1",
    "attention": "spiking self-attention; without it words meet only in windows and the final mean",
    "norm": "layer, or batch: batch norm in its place, in every spiking unit",
    "tap": "between a block and the teacher's hidden states: linear_norm, linear, or none (which "
    "needs the teacher's width)",
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
    "w_feat": "weight of the loss with the teacher's hidden states; unset, 0 where some lack",
    "feature_loss": "that loss: mse, cosine (of each token) or sentence (MSE of sentence means)",
    "feature_blocks": "blocks that learn from them: all that the cache maps, the first or the last",
    "w_emb": "weight of the MSE with the teacher's word embeddings",
    "w_rate": "weight of the firing rate, the share of all neurons that fire: a penalty",
    "temperature": "temperature of the KL",
    "embedding": '"teacher": start from its word embeddings; "contextual": from what it makes of '
    'each word in the sentences of the cache, on the average; or "random"',
    "seed": "seed of the parameters, the batches and dropout",
}


def data_sources(args, data):
    """The cache's name, those of further ones, the run to start from, if any, and whether all but
    its words.

    Flags override the table [data]. Raises InputError for an entry of another type, and for what
    does not fit the stage.
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
    new_words = args.new_words or data.get("new_words", False)
    if not isinstance(new_words, bool):
        raise InputError(f"{args.config} [data]: new_words = {new_words!r} should be true or false")
    if new_words and not init:
        raise InputError(
            "--new-words: without --init all words are new; leave it out, or name the run to start "
            "from"
        )
    return args.cache or data.get("cache") or TOY, more, init, new_words


def training_settings(args, table, cache, more, kind, where):
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


def new_config(args, tables, cache, where):
    """The config of a new model that fits the cache."""
    choices = _choices(args, tables, where)
    choices = {name: value for name, value in choices.items() if name not in FITTED}
    return student_config(cache, where=f"{where} [model]", **choices)


def config_and_weights(args, tables, init, cache, where):
    """The config and the weights of the run `init`; of its model only the dropout may be changed.

    Flags and file may repeat what the run has, as the config.toml of a run that began so does.
    Raises InputError where they change more, and where the run does not fit the cache.
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
