"""The shards of a teacher cache that is being written: how a writer that was killed goes on.

The work is done in a hidden folder beside the cache's own, `.NAME.partial`:

    plan.json      what is being written; another plan is refused
    shards/        one .json a shard that is done, written last: sizes, hashes, errors
    values/        what the teacher said of each sentence, by shard
    cache/         the cache itself, renamed when it is whole

A shard's file is written under another name and renamed; what is no shard is written last, and anew
after a kill. So a writer that is killed at any moment, or whose disk is full, goes on behind its
last whole shard, and ends with the very same bytes: a shard's content hangs on its own sentences
alone.

Letters: B sentences, b sentences and n tokens of one shard, D the teacher's width.
"""

import json

import numpy as np

from ..errors import InputError
from ..files import read_json, write_atomically
from .batches import batch_indices
from .download import file_digest
from .hidden_rows import decode_rows, encode_rows, shard_names

# Of all layers' states of one shard on disk (in memory, as float32, they are two to four times as
# large): a kill costs the computing of one shard.
SHARD_BYTES = 64 << 20


def token_bytes(width, layers, dtype):
    """The bytes of one token's hidden states in `layers` layers."""
    return layers * (2 * width if dtype == "float16" else width + 4)


def plan_shards(offsets, hidden_sentences, bytes_a_token):
    """Ranges [first, last) of sentences, of about SHARD_BYTES; those with hidden states first."""
    max_tokens = max(1, SHARD_BYTES // bytes_a_token)
    ranges = []
    for start, stop in ((0, hidden_sentences), (hidden_sentences, len(offsets) - 1)):
        part = offsets[start : stop + 1] - offsets[start]
        for index in batch_indices(part, max_tokens=max_tokens):
            ranges.append((start + int(index[0]), start + int(index[-1]) + 1))
    return ranges


def finished_shard(work, number):
    """What write_shard returned for this shard, or None where it is not whole."""
    try:
        shard = read_json(work / "shards" / f"{number:04d}.json", remedy="")
        for name, facts in shard["files"].items():
            if file_facts(work / "cache" / name) != facts:
                return None
        if file_facts(work / "values" / f"{number:04d}.npz") != shard["values"]:
            return None
    except (InputError, OSError, LookupError):
        return None
    return shard


def write_shard(work, number, count, states, values, dtype):
    """Write one shard; its record last. Returns the record: {"files", "error", "values"}."""
    record = {"files": {}, "error": {}}
    for layer, rows in states.items():
        try:
            narrow, scale = encode_rows(rows, dtype)
        except InputError as error:
            raise InputError(f"a hidden state of layer {layer} {error}") from None
        wrong = decode_rows(narrow, scale).astype(np.float64) - rows
        squares = np.square(wrong).sum(), np.square(rows, dtype=np.float64).sum()
        record["error"][str(layer)] = [float(np.abs(wrong).max()), *map(float, squares)]
        arrays = [narrow] if scale is None else [narrow, scale]
        for name, array in zip(shard_names(layer, number, count, dtype), arrays, strict=True):
            path = work / "cache" / name
            _write(path, lambda file, array=array: np.save(file, array, allow_pickle=False))
            record["files"][name] = file_facts(path)
    path = work / "values" / f"{number:04d}.npz"
    _write(path, lambda file: np.savez(file, **values))
    record["values"] = file_facts(path)
    text = json.dumps(record)
    _write(work / "shards" / f"{number:04d}.json", lambda file: file.write(text.encode()))
    return record


def read_values(work, shards):
    """{name: (B, ...)}: what write_shard kept of the sentences of all shards, in order."""
    parts = []
    for number in range(shards):
        with np.load(work / "values" / f"{number:04d}.npz", allow_pickle=False) as file:
            parts.append(dict(file))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def join_errors(shards):
    """{layer: {"max": largest error, "relative_rms": of all numbers}}, from the shards' sums."""
    joined = {}
    for layer in dict.fromkeys(layer for shard in shards for layer in shard["error"]):
        parts = [shard["error"][layer] for shard in shards if layer in shard["error"]]
        wrong, whole = sum(part[1] for part in parts), sum(part[2] for part in parts)
        joined[layer] = {
            "max": max(part[0] for part in parts),
            "relative_rms": (wrong / whole) ** 0.5 if whole else 0.0,
        }
    return joined


def file_facts(path):
    return {"bytes": path.stat().st_size, "sha256": file_digest(path, "sha256")}


def _write(path, write):
    """Call write(file); the file is whole or not there."""

    def write_part(part):
        with open(part, "wb") as file:
            write(file)

    write_atomically(path, write_part)
