"""What a teacher makes of a corpus, on disk: a student needs nothing else.

A cache is a folder; every split of a corpus lies in one, its sentences packed in the order train,
dev, test:

    manifest.json        versions, teacher, corpus, splits, layers, counts, sha256 of each file
    tokenizer.json       the tokenizer that made the ids
    ids.npy              (N,) int32
    offsets.npy          (B + 1,) int64, sentence b is ids[offsets[b]:offsets[b+1]]
    labels.npy           (B,) int64, -1 where a sentence has none      only if some have labels
    logits.npy           (B, C) float32                                only if the teacher has any
    hidden_<layer>.npy   (M, D) float16, or int8 with a scale a token in hidden_<layer>.scale.npy:
                         layer 0 is the embedding output, layer i what block i (from 1) puts out,
                         for the first `hidden_sentences` sentences. A large cache has shards,
                         hidden_<layer>.0000.npy, ...0001.npy, ...
    word_embeddings.npy  (V, D) float16, the teacher's row of every id: a student starts from them,
                         and must know words that this corpus lacks too

Format version 1, which is read too, had float16 without shards only.

Letters: N packed tokens, B sentences, M tokens of the first hidden_sentences sentences, D the
teacher's width, V vocabulary, C classes.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..files import read_json
from .download import file_digest
from .hidden_rows import HiddenRows, shard_names

FORMAT = "spikebert teacher cache"
FORMAT_VERSION = 2
# Hidden states that together are larger are hashed at load only where the caller asks for it.
HASHED_BYTES = 64 << 20
_REMEDY = "copy the whole cache again, or make it again with `spikebert teacher cache`"


class TeacherCache(NamedTuple):
    manifest: dict
    ids: np.ndarray  # (N,) int32
    offsets: np.ndarray  # (B + 1,) int64
    labels: np.ndarray | None  # (B,) int64, -1 where there is none
    logits: np.ndarray | None  # (B, C) float32
    hidden: dict  # layer: (M, D), a read-only memory map, or HiddenRows that read like one
    student_blocks: dict  # layer: the student's block (from 0) that learns from it
    word_embeddings: np.ndarray  # (V, D) float16
    splits: dict  # name: (first, last) sentence, the last exclusive
    tokenizer: Path  # a tokenizer.json


def load_cache(directory, *, verify=False):
    """The TeacherCache in a folder; hidden states stay on disk and are read by memory map.

    The sha256 of every file is checked, but for hidden states over 64 MiB, which are checked by
    size and shape unless verify is set (`spikebert teacher verify` does). Raises InputError, naming
    the file, for anything that is missing, changed, of another version, not finite, or does not fit
    the rest.
    """
    directory = Path(directory)
    manifest = _read_manifest(directory / "manifest.json")
    counts, files = manifest["counts"], manifest["files"]
    sentences, width = counts["sentences"], counts["width"]
    dtype = manifest.get("hidden_dtype", "float16")
    shards = manifest.get("hidden_shards", [counts["hidden_tokens"]])
    expected = {
        "ids.npy": (np.int32, (counts["tokens"],)),
        "offsets.npy": (np.int64, (sentences + 1,)),
        "labels.npy": (np.int64, (sentences,)),
        "logits.npy": (np.float32, (sentences, counts["classes"])),
        "word_embeddings.npy": (np.float16, (counts["vocabulary"], width)),
    }
    hidden_files = {}
    for layer in manifest["layers"]:
        for number, tokens in enumerate(shards):
            rows, *scale = shard_names(layer, number, len(shards), dtype)
            hidden_files[rows] = (np.dtype(dtype), (tokens, width))
            hidden_files |= dict.fromkeys(scale, (np.float32, (tokens,)))
    expected |= hidden_files
    hidden_bytes = sum(files[file]["bytes"] for file in hidden_files if file in files)
    hash_hidden = verify or hidden_bytes <= HASHED_BYTES
    arrays = {}
    for file, facts in files.items():
        hashed = hash_hidden or file not in hidden_files
        _check_file(directory / file, facts, hashed=hashed)
        if file in expected:
            arrays[file] = _load_array(
                directory / file,
                *expected[file],
                finite=hashed,
                mmap_mode="r" if file in hidden_files else None,
            )
    optional = {"labels.npy", "logits.npy"}
    for file in (expected.keys() - optional | {"tokenizer.json"}) - files.keys():
        raise InputError(f"{directory / 'manifest.json'}: lists no {file}; {_REMEDY}")

    def hidden_rows(layer):
        names = [shard_names(layer, number, len(shards), dtype) for number in range(len(shards))]
        rows = [arrays[name[0]] for name in names]
        if dtype == "float16":
            return rows[0] if len(rows) == 1 else HiddenRows(rows, None)
        return HiddenRows(rows, [arrays[name[1]] for name in names])

    cache = TeacherCache(
        manifest=manifest,
        ids=arrays["ids.npy"],
        offsets=arrays["offsets.npy"],
        labels=arrays.get("labels.npy"),
        logits=arrays.get("logits.npy"),
        hidden={layer: hidden_rows(layer) for layer in manifest["layers"]},
        student_blocks=_student_blocks(directory, manifest),
        word_embeddings=arrays["word_embeddings.npy"],
        splits=_splits(directory, manifest),
        tokenizer=directory / "tokenizer.json",
    )
    _check_fit(directory, cache)
    return cache


def manifest_digest(manifest):
    """sha256 over all entries but the digest itself, however the file is spaced."""
    entries = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _read_manifest(path):
    manifest = read_json(
        path,
        remedy=_REMEDY,
        missing="give the folder of a teacher cache, which `spikebert teacher cache` makes",
    )
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path}: not the manifest of a teacher cache; {_REMEDY}")
    if (version := manifest.get("format_version")) not in range(1, FORMAT_VERSION + 1):
        raise InputError(
            f"{path}: format version {version}, but this spikebert reads 1 to {FORMAT_VERSION}; "
            "make the cache again with `spikebert teacher cache`"
        )
    if manifest.get("sha256") != manifest_digest(manifest):
        raise InputError(f"{path}: has changed since it was written; {_REMEDY}")
    return manifest


def _check_file(path, facts, *, hashed):
    try:
        size = path.stat().st_size
        digest = file_digest(path, "sha256") if hashed else facts["sha256"]
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; {_REMEDY}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from error
    if size != facts["bytes"]:
        raise InputError(f"{path}: has {size:,} bytes, not {facts['bytes']:,}; {_REMEDY}")
    if digest != facts["sha256"]:
        raise InputError(f"{path}: its sha256 is not the manifest's; {_REMEDY}")


def _load_array(path, dtype, shape, *, finite, mmap_mode):
    try:
        array = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except Exception as error:  # a damaged header raises anything from ValueError to TokenError
        raise InputError(f"{path}: not a readable array ({error}); {_REMEDY}") from error
    if array.dtype != dtype or array.shape != shape:
        raise InputError(
            f"{path}: {array.dtype} {array.shape}, where {np.dtype(dtype)} {shape} is needed to "
            f"fit the manifest; {_REMEDY}"
        )
    if finite and not np.isfinite(array).all():
        raise InputError(f"{path}: holds numbers that are not finite; {_REMEDY}")
    return array


def _student_blocks(directory, manifest):
    blocks = {layer: manifest["student_blocks"].get(str(layer)) for layer in manifest["layers"]}
    values = list(blocks.values())
    if (
        len(blocks) != len(manifest["student_blocks"])
        or len(set(values)) < len(values)
        or not all(type(block) is int and block >= 0 for block in values)
    ):
        raise InputError(
            f"{directory / 'manifest.json'}: student_blocks should give each of the layers "
            f"{manifest['layers']} a block of its own, from 0 up; {_REMEDY}"
        )
    return blocks


def _splits(directory, manifest):
    splits = {name: tuple(span) for name, span in manifest["splits"].items()}
    edges = [edge for span in splits.values() for edge in span]
    sentences = manifest["counts"]["sentences"]
    if any(len(span) != 2 or span[0] > span[1] for span in splits.values()) or [
        0,
        *edges[1::2],
    ] != [*edges[::2], sentences]:
        raise InputError(
            f"{directory / 'manifest.json'}: its splits do not follow each other from 0 to "
            f"{sentences}; {_REMEDY}"
        )
    return splits


def _check_fit(directory, cache):
    """The arrays against each other: what hashes cannot tell of a cache that was written wrong."""
    offsets, counts = cache.offsets, cache.manifest["counts"]
    if offsets[0] != 0 or offsets[-1] != len(cache.ids) or (np.diff(offsets) < 1).any():
        raise InputError(f"{directory / 'offsets.npy'}: does not fit ids.npy; {_REMEDY}")
    hidden_sentences = counts["hidden_sentences"]
    if offsets[hidden_sentences] != counts["hidden_tokens"]:
        raise InputError(
            f"{directory / 'manifest.json'}: {hidden_sentences} sentences are not "
            f"{counts['hidden_tokens']} tokens by offsets.npy; {_REMEDY}"
        )
    if cache.ids.min() < 0 or cache.ids.max() >= counts["vocabulary"]:
        raise InputError(
            f"{directory / 'ids.npy'}: has ids without a row in word_embeddings.npy; {_REMEDY}"
        )
    labels, classes = cache.labels, counts["classes"]
    if labels is not None and (labels.min() < -1 or (classes and labels.max() >= classes)):
        raise InputError(
            f"{directory / 'labels.npy'}: has labels that are not from 0 to {classes - 1}, nor -1 "
            f"for none; {_REMEDY}"
        )
