"""A run folder: everything that a trained student needs, and how it came to be.

config.toml         model, neuron, training settings, where the teacher's knowledge came from
model.safetensors   the parameters, float32, under their dotted keys
tokenizer.json      text to ids
metrics.jsonl       one line an epoch
report.md           the same for a reader
"""

import json
import os
import shutil
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..layers.lif import LIFNeuron
from ..models.spikebert import SpikeBertConfig, init_spikebert


class Run(NamedTuple):
    directory: Path
    config: SpikeBertConfig
    params: dict
    tables: dict  # config.toml as read


def toml_text(tables):
    """Tables of plain numbers, booleans and strings as TOML: each such JSON value is TOML too."""
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        lines.append("")
    return "\n".join(lines)


def config_tables(config):
    """A SpikeBertConfig as the tables `model` and `neuron`."""
    model = asdict(config)
    return {"neuron": model.pop("neuron"), "model": model}


def write_atomically(path, write):
    """Call write(temporary path), then rename: a reader never sees half a file."""
    temporary = path.with_name(path.name + ".part")
    write(temporary)
    os.replace(temporary, path)


def save_run(directory, params, config, tables, tokenizer):
    """Write model.safetensors, tokenizer.json and config.toml, the last one last.

    tables: further tables of config.toml. tokenizer: the path of a tokenizer.json.
    """
    from safetensors.numpy import save_file

    directory = Path(directory)
    write_atomically(directory / "model.safetensors", lambda path: save_file(params, path))
    write_atomically(directory / "tokenizer.json", lambda path: shutil.copyfile(tokenizer, path))
    text = toml_text(config_tables(config) | tables)
    write_atomically(directory / "config.toml", lambda path: path.write_text(text, "utf-8"))


def read_toml(path):
    """The tables of a TOML file. Raises InputError naming the file and the line."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None


def dataclass_from(cls, table, where):
    """cls(**table), each value checked against the type of its field's default.

    where: names the table's origin in errors. Raises InputError for an unknown key, a value of
    another type, or one that cls refuses.
    """
    known = {field.name: field.type for field in fields(cls)}
    for key, value in table.items():
        if key not in known:
            raise InputError(f"{where}: unknown key {key}; known are {', '.join(known)}")
        wanted = known[key]
        if wanted is float and type(value) is int:
            table = table | {key: float(value)}
        elif wanted in (int, float, str, bool) and type(value) is not wanted:
            raise InputError(f"{where}: {key} = {value!r} should be of type {wanted.__name__}")
    try:
        return cls(**table)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: {error}") from None


def load_run(directory):
    """Read a run folder. Raises InputError where it is not one or its files do not fit."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    directory = Path(directory)
    path = directory / "config.toml"
    if not path.exists():
        raise InputError(
            f"{directory}: not a run folder (no config.toml); `spikebert finetune` makes one"
        )
    tables = read_toml(path)
    neuron = dataclass_from(LIFNeuron, tables.get("neuron", {}), f"{path} [neuron]")
    model = tables.get("model", {})
    config = dataclass_from(SpikeBertConfig, model | {"neuron": neuron}, f"{path} [model]")
    weights = directory / "model.safetensors"
    try:
        params = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{weights}: cannot be read ({error}); train the run again") from None
    expected = {key: value.shape for key, value in init_spikebert_shapes(config).items()}
    for key in sorted(expected.keys() | params.keys()):
        found = params[key].shape if key in params else "nothing"
        if found != expected.get(key):
            raise InputError(
                f"{weights}: {key} should be {expected.get(key, 'absent')} by config.toml, "
                f"but is {found}; the two files are of different runs"
            )
    return Run(directory, config, params, tables)


def init_spikebert_shapes(config):
    """Parameters of the right shapes, to compare with; their values do not matter."""
    import numpy as np

    return init_spikebert(config, np.random.default_rng(0))
