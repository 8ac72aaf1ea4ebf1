"""Weights small enough to ship: matrices as int8, the file cut into shards.

A matrix W (..., R, D) is stored as int8 under its key, and the scale of each of its rows (..., R)
under `<key>.scale`: one times the other is W, to half a scale (`data/hidden_rows.py`). Vectors stay
float32. The bytes of model.safetensors are cut into model.safetensors.0, .1, ...: joined end to end
they are the file again.

Letters: R rows, D width.
"""

import hashlib

from ..data.hidden_rows import decode_rows, encode_rows
from ..errors import InputError

SHARD_BYTES = 4 << 20


def quantise(params):
    """What is stored of params, as above."""
    stored = {}
    for key, value in params.items():
        stored[key] = value
        if value.ndim > 1:
            rows, scale = encode_rows(value.reshape(-1, value.shape[-1]), "int8")
            stored[key] = rows.reshape(value.shape)
            stored[f"{key}.scale"] = scale.reshape(value.shape[:-1])
    return stored


def dequantise(stored):
    """Float32 params of what `quantise` gave; arrays without a scale as they are."""
    params = dict(stored)
    for key, value in stored.items():
        scale = stored.get(f"{key}.scale")
        if scale is not None and scale.shape == value.shape[:-1]:
            rows = decode_rows(value.reshape(-1, value.shape[-1]), scale.reshape(-1))
            params[key] = rows.reshape(value.shape)
            del params[f"{key}.scale"]
    return params


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
