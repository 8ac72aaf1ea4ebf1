"""A run folder: everything that a trained student needs, and how it came to be.

config.toml         model (its kind, too), neuron where it has one, training settings, where the
                    teacher's knowledge came from
model.safetensors   the parameters, float32, under their dotted keys
tokenizer.json      text to ids
metrics.jsonl       one line an epoch
health.jsonl        one line a checkup that is kept (`checkups.py`), where there are spikes
report.md           the same for a reader, with curves.png, health.png, calibration.png

A run that `spikebert shrink` made has its weights in model.safetensors.0, .1, ... (`shards.py`),
whose sha256 stand in config.toml [weights].
"""

import json
import shutil
import tomllib
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.tokenizer import load_tokenizer
from ..errors import InputError
from ..layers.lif import LIFNeuron
from ..models.kinds import KINDS, kind_of
from .shards import dequantise, read_shards, write_shards

_WEIGHTS = "model.safetensors"


class Run(NamedTuple):
    directory: Path
    config: object  # the config dataclass of its kind
    params: dict
    tables: dict  # config.toml as read


def _toml_value(value):
    """A number, a boolean, a string or a list, as in JSON; only infinity is spelt otherwise."""
    if isinstance(value, float):
        return float.__repr__(value)
    return json.dumps(value, ensure_ascii=False)


def config_tables(config):
    """A model's config as the tables `model` and, where it has neurons, `neuron`."""
    values = asdict(config)
    neuron = {"neuron": values.pop("neuron")} if "neuron" in values else {}
    values = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
    return {**neuron, "model": {"kind": kind_of(config).name, **values}}


def write_config(directory, tables):
    """Write config.toml and read it again.

    Raises InputError where it does not say the same: a path may hold what TOML has no way to write.
    """
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml_value(value)}" for key, value in table.items()]
        lines.append("")
    path = directory / "config.toml"
    try:
        path.write_text("\n".join(lines), "utf-8")
        same = read_toml(path) == tables
    except (UnicodeEncodeError, InputError):
        same = False
    if not same:
        raise InputError(
            f"config.toml cannot hold {tables.get('data')}: a path has characters that TOML cannot "
            "write; rename it"
        )


def write_shrunk_run(directory, params, tables, tokenizer):
    """Write a run folder with weights as small as `shards.py` makes them.

    tables: as for `write_config`. tokenizer: a `tokenizers.Tokenizer`.
    """
    digests = write_shards(directory / _WEIGHTS, params)
    write_config(directory, tables | {"weights": {"sha256": digests}})
    (directory / "tokenizer.json").write_text(tokenizer.to_str(), "utf-8")


def save_weights(directory, params, tokenizer):
    """Write model.safetensors and tokenizer.json; tokenizer: the path of a tokenizer.json."""
    from safetensors.numpy import save

    (directory / _WEIGHTS).write_bytes(save(params))
    shutil.copyfile(tokenizer, directory / "tokenizer.json")


def read_toml(path):
    """The tables of a TOML file. Raises InputError naming the file and the line."""
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name} = {table!r} should be a table, [{name}]")
    return tables


def dataclass_from(cls, table, where):
    """cls(**table), each value checked against the type of its field; a tuple is one of integers.

    where: names the table's origin in errors. Raises InputError for an unknown key, a missing
    one, a value of another type, or one that cls refuses.
    """
    known = {field.name: field.type for field in fields(cls)}
    for key, value in table.items():
        if key not in known:
            raise InputError(f"{where}: unknown key {key}; known are {', '.join(known)}")
        wanted = known[key]
        if wanted is float and type(value) is int:
            table = table | {key: float(value)}
        elif wanted is tuple and type(value) is list and all(type(v) is int for v in value):
            table = table | {key: tuple(value)}
        elif type(value) is not wanted:
            raise InputError(f"{where}: {key} = {value!r} should be of type {wanted.__name__}")
    for field in fields(cls):
        if field.default is field.default_factory is MISSING and field.name not in table:
            raise InputError(f"{where}: has no {field.name}; add it")
    try:
        return cls(**table)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: {error}") from None


def model_choices(model, neuron, where):
    """The tables [model] and [neuron] as one dict of choices: `kind`, and its config's fields.

    Without a kind it is a spikebert, as every run was before there were others. Raises InputError
    for a kind that does not exist, or a neuron where the kind has none.
    """
    if "neuron" in model:
        raise InputError(f"{where} [model]: the neuron has a table of its own, [neuron]")
    model = {"kind": "spikebert"} | model
    if model["kind"] not in list(KINDS):  # whatever TOML holds, hashable or not
        raise InputError(
            f"{where} [model]: kind = {model['kind']!r}: choose from {', '.join(KINDS)}"
        )
    if "neuron" in (field.name for field in fields(KINDS[model["kind"]].config)):
        return model | {"neuron": dataclass_from(LIFNeuron, neuron, f"{where} [neuron]")}
    if neuron:
        raise InputError(
            f"{where} [neuron]: {model['kind']} has no neurons; leave {', '.join(neuron)} out"
        )
    return model


def config_from(choices, where):
    """The config of what `model_choices` gave. Raises InputError as `dataclass_from` does."""
    choices = dict(choices)
    return dataclass_from(KINDS[choices.pop("kind")].config, choices, f"{where} [model]")


def load_run(directory):
    """Read a run folder. Raises InputError where it is not one or its files do not fit."""
    directory = Path(directory)
    path = directory / "config.toml"
    if not path.exists():
        raise InputError(
            f"{directory}: not a run folder (no config.toml); `spikebert finetune` makes one"
        )
    tables = read_toml(path)
    choices = model_choices(tables.get("model", {}), tables.get("neuron", {}), path)
    config = config_from(choices, path)
    params = _load_weights(directory / _WEIGHTS, config, tables.get("weights"), path)
    largest = max(load_tokenizer(directory / "tokenizer.json").get_vocab().values())
    if largest >= config.vocab_size:
        raise InputError(
            f"{directory / 'tokenizer.json'}: has the id {largest}, but the model knows "
            f"{config.vocab_size} words; take the file from the run that made the weights"
        )
    return Run(directory, config, params, tables)


def _load_weights(path, config, shards, where):
    from safetensors.numpy import load, load_file

    digests = shards and shards.get("sha256")
    if shards is not None and not (digests and isinstance(digests, list)):
        raise InputError(f"{where} [weights]: sha256 should be a list, one for each shard")
    try:
        params = dequantise(load(read_shards(path, digests))) if digests else load_file(path)
    except InputError:
        raise
    except Exception as error:  # the library raises others than its own for types NumPy lacks
        raise InputError(f"{path}: cannot be read ({error}); train the run again") from None
    absent = dict.fromkeys(params, "absent")
    # One by one: config.toml may ask for more blocks than memory has room to name.
    for key, shape in kind_of(config).parameter_shapes(config):
        _check_shape(path, key, shape, params[key].shape if key in params else "nothing")
        absent.pop(key)
    for key in absent:
        _check_shape(path, key, "absent", params[key].shape)
    for key, value in params.items():
        if value.dtype != np.float32 or not np.isfinite(value).all():
            raise InputError(
                f"{path}: {key} is not all finite numbers of float32; train the run again"
            )
    return params


def _check_shape(path, key, expected, found):
    if found != expected:
        raise InputError(
            f"{path}: {key} should be {expected} by config.toml, but is {found}; the two files are "
            "of different runs"
        )
