"""Read and write a Hugging Face BERT directory: config.json and model.safetensors.

Letters: V vocabulary, D width, F MLP width, C classes.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import read_json
from .bert import BertConfig

# What bert_forward computes: (default, the one value that it does). Another value needs other code.
_REQUIRED = {
    "model_type": (None, "bert"),
    "hidden_act": ("gelu", "gelu"),
    "position_embedding_type": ("absolute", "absolute"),
    "is_decoder": (False, False),
}

_SIZES = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
}

# Hugging Face knows one pooling only, and no key for it: ours is read by this project alone.
_OTHERS = {
    "norm_eps": ("layer_norm_eps", float, 1e-12),
    "dropout": ("hidden_dropout_prob", float, 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", float, 0.1),
    "pooling": ("spikebert_np_pooling", str, "first"),
}


def load_bert(directory, dtype=np.float32):
    """(config, params) of the BERT in a Hugging Face directory.

    Names with or without the prefix `bert.` are understood, and layer norms under their old names
    gamma and beta. Linear weights are turned to (D_in, D_out). Tensors that the encoder, pooler and
    classifier do not need are not read. A classifier without a pooler (one for tokens) is left out,
    and one with a single output (a regression).

    Raises InputError, naming the file, where a file or tensor is missing, has another shape than
    config.json says, or belongs to a model that bert_forward is not.
    """
    import safetensors

    config = read_config(Path(directory) / "config.json")
    path = Path(directory) / "model.safetensors"
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; a teacher's weights must be in safetensors format (a "
            "pytorch_model.bin is converted by loading and saving it once with transformers)"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return _read_tensors(file, path, config, dtype)
    except safetensors.SafetensorError as error:
        raise InputError(
            f"{path}: not a whole safetensors file ({error}); fetch it again"
        ) from error


def read_config(path):
    """The BertConfig of a Hugging Face config.json; `classes` is left at 0: the weights decide."""
    raw = read_json(
        path,
        remedy="fetch it again",
        missing="a teacher is a directory with config.json, model.safetensors and tokenizer.json "
        "or vocab.txt (`spikebert teacher get minilm` fetches one)",
    )
    for key, (default, required) in _REQUIRED.items():
        if (value := raw.get(key, default)) != required:
            raise InputError(
                f"{path}: {key} is {value!r}, but only {required!r} is supported; choose another "
                "teacher, such as minilm or hub:google-bert/bert-base-uncased@main"
            )
    for key in _SIZES.values():
        if type(raw.get(key)) is not int or raw[key] < 1:
            raise InputError(f"{path}: {key} must be a positive integer, not {raw.get(key)!r}")
    try:
        config = BertConfig(
            **{own: raw[key] for own, key in _SIZES.items()},
            **{own: kind(raw.get(key, default)) for own, (key, kind, default) in _OTHERS.items()},
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: {error}; fetch it again, or correct it") from None
    if config.width % config.heads:
        raise InputError(
            f"{path}: hidden_size {config.width} is no multiple of "
            f"num_attention_heads {config.heads}"
        )
    return config


def tensor_names(config):
    """{own key: (Hugging Face's name without `bert.`, own shape)} of the encoder without its head.

    Every own key that ends in `.weight` is a linear layer's, and transposed in the file.
    """
    d, f = config.width, config.mlp_width
    names = {
        "embeddings.word": ("embeddings.word_embeddings.weight", (config.vocab_size, d)),
        "embeddings.position": ("embeddings.position_embeddings.weight", (config.max_positions, d)),
        "embeddings.type": ("embeddings.token_type_embeddings.weight", (config.token_types, d)),
    }

    def linear(own, theirs, d_in, d_out):
        names[f"{own}.weight"] = (f"{theirs}.weight", (d_in, d_out))
        names[f"{own}.bias"] = (f"{theirs}.bias", (d_out,))

    def norm(own, theirs):
        names[f"{own}.gain"] = (f"{theirs}.LayerNorm.weight", (d,))
        names[f"{own}.bias"] = (f"{theirs}.LayerNorm.bias", (d,))

    norm("embeddings.norm", "embeddings")
    for i in range(config.depth):
        own, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        linear(f"{own}.attention.q", f"{theirs}.attention.self.query", d, d)
        linear(f"{own}.attention.k", f"{theirs}.attention.self.key", d, d)
        linear(f"{own}.attention.v", f"{theirs}.attention.self.value", d, d)
        linear(f"{own}.attention.output", f"{theirs}.attention.output.dense", d, d)
        norm(f"{own}.attention.norm", f"{theirs}.attention.output")
        linear(f"{own}.feed_forward.up", f"{theirs}.intermediate.dense", d, f)
        linear(f"{own}.feed_forward.down", f"{theirs}.output.dense", f, d)
        norm(f"{own}.feed_forward.norm", f"{theirs}.output")
    return names


def head_names(config):
    """The same of the pooler and the classifier; only the pooler's names take the prefix."""
    d, c = config.width, config.classes
    return {
        "pooler.weight": ("pooler.dense.weight", (d, d)),
        "pooler.bias": ("pooler.dense.bias", (d,)),
        "classifier.weight": ("classifier.weight", (d, c)),
        "classifier.bias": ("classifier.bias", (c,)),
    }


def write_bert_config(path, config):
    """Write a config.json for Hugging Face's BertForSequenceClassification.

    With config.pooling "first" it gives the logits that bert_forward gives; "mean" is unknown to
    it, and stands in a key of our own that only load_bert understands.
    """
    raw = {
        "architectures": ["BertForSequenceClassification" if config.classes else "BertModel"],
        **{key: required for key, (_, required) in _REQUIRED.items()},
        **{theirs: getattr(config, own) for own, theirs in _SIZES.items()},
        **{theirs: getattr(config, own) for own, (theirs, _, _) in _OTHERS.items()},
    }
    if config.classes:
        raw["id2label"] = {str(c): f"LABEL_{c}" for c in range(config.classes)}
        raw["label2id"] = {f"LABEL_{c}": c for c in range(config.classes)}
    path.write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")


def write_bert_tensors(path, params, config):
    """Write a model.safetensors of the encoder's parameters and, where there is one, its head's.

    Raises OSError where it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors = {}
    names = tensor_names(config) | (head_names(config) if config.classes else {})
    for key, (name, _) in names.items():
        value = params[key].T if key.endswith(".weight") else params[key]
        name = name if key.startswith("classifier.") else f"bert.{name}"
        # safetensors writes the memory as it lies: a transposed view must be laid out anew.
        tensors[name] = np.ascontiguousarray(value)
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:  # a full disk, which is an OSError everywhere else
        raise OSError(f"{path}: {error}") from error


def _read_tensors(file, path, config, dtype):
    """(config with its classes, params) from an open safetensors file."""
    stored = set(file.keys())
    if config.depth > len(stored):  # before the names of as many blocks fill the memory
        raise InputError(
            f"{path}: has {len(stored)} tensors, too few for the {config.depth} blocks of "
            "config.json; take both files from the same model"
        )
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in stored else ""
    names = {key: (prefix + name, shape) for key, (name, shape) in tensor_names(config).items()}
    classes = 0
    if f"{prefix}pooler.dense.weight" in stored:
        if "classifier.weight" in stored:
            classes = file.get_slice("classifier.weight").get_shape()[0]
            classes = 0 if classes == 1 else classes
        for key, (name, shape) in head_names(replace(config, classes=classes)).items():
            if key.startswith("pooler."):
                names[key] = (prefix + name, shape)
            elif classes:
                names[key] = (name, shape)
    params = {}
    for key, (name, shape) in names.items():
        transposed = key.endswith(".weight")
        if name not in stored:
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            name = name.replace("LayerNorm.bias", "LayerNorm.beta")
        if name not in stored:
            raise InputError(
                f"{path}: the tensor {name} is missing; config.json beside it belongs to another "
                "model, or the file is not a BERT"
            )
        tensor = file.get_slice(name)
        expected = list(shape[::-1] if transposed else shape)
        if tensor.get_shape() != expected or tensor.get_dtype() not in ("F16", "F32", "F64"):
            remedy = "take both files from the same model"
            if tensor.get_dtype() == "BF16":
                remedy = "load and save it once with transformers in float32: NumPy has no bfloat16"
            raise InputError(
                f"{path}: the tensor {name} is {tensor.get_dtype()} {tensor.get_shape()}, where "
                f"F16, F32 or F64 {expected} is needed to fit config.json; {remedy}"
            )
        value = file.get_tensor(name)
        if not np.isfinite(value).all():
            raise InputError(f"{path}: the tensor {name} holds numbers that are not finite")
        params[key] = np.ascontiguousarray(value.T if transposed else value, dtype=dtype)
    return replace(config, classes=classes), params
