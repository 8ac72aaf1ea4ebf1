"""Weights small enough to ship: embedding rows as int8, the file cut into shards.

The embedding (R, D) is stored as int8 under its key, and the scale of each of its rows (R,) under
`<key>.scale`: one times the other is the row, to half a scale (`data/hidden_rows.py`). All else, a
sixth of the shipped student's bytes, is float16. The bytes of model.safetensors are cut into
model.safetensors.0, .1, ...: joined end to end they are the file again.

Letters: R rows, D width.
"""

import hashlib

import numpy as np

from ..data.hidden_rows import decode_rows, encode_rows
from ..errors import InputError

SHARD_BYTES = 4 << 20
_ROWS, _SCALE = "embedding.weight", "embedding.weight.scale"


def quantise(params):
    """What is stored of float32 params, as above."""
    stored = {key: value.astype(np.float16) for key, value in params.items() if key != _ROWS}
    rows, scale = encode_rows(params[_ROWS], "int8")
    return stored | {_ROWS: rows, _SCALE: scale}


def dequantise(stored):
    """Float32 params of what `quantise` gave."""
    params = {key: value.astype(np.float32) for key, value in stored.items() if key != _SCALE}
    return params | {_ROWS: decode_rows(stored[_ROWS], stored[_SCALE])}


def write_shards(path, params):
    """Write `path` (model.safetensors) in shards; returns the sha256 of each, a list."""
    from safetensors.numpy import save

    whole, digests = save(quantise(params)), []
    for start in range(0, len(whole), SHARD_BYTES):
        shard = whole[start : start + SHARD_BYTES]
        path.with_name(f"{path.name}.{len(digests)}").write_bytes(shard)
        digests.append(hashlib.sha256(shard).hexdigest())
    return digests


def read_shards(path, digests):
    """The bytes of `path`. Raises InputError for a shard that is absent or not what was written."""
    remedy = "copy the run folder anew, or make it again with `spikebert shrink`"
    shards = []
    for number, digest in enumerate(digests):
        shard = path.with_name(f"{path.name}.{number}")
        try:
            shards.append(shard.read_bytes())
        except OSError as error:
            raise InputError(
                f"{shard}: cannot be read ({error.strerror}), one of the {len(digests)} files that "
                f"hold the weights; {remedy}"
            ) from None
        if hashlib.sha256(shards[-1]).hexdigest() != digest:
            raise InputError(
                f"{shard}: is not the file that config.toml was written with (another sha256); "
                f"{remedy}"
            )
    return b"".join(shards)
