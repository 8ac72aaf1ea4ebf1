"""Write a teacher cache: the format is described in teacher_cache.py, how a writer that was killed
goes on in teacher_cache_shards.py.

Letters: N packed tokens, B sentences, b sentences and n tokens of one shard, V vocabulary, D the
teacher's width, C classes.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import refuse_taken
from .hidden_rows import encode_rows
from .teacher_cache import FORMAT, FORMAT_VERSION, manifest_digest
from .teacher_cache_shards import (
    file_facts,
    finished_shard,
    join_errors,
    plan_shards,
    read_values,
    token_bytes,
    write_shard,
)
from .work_folder import work_folder


def cache_bytes(offsets, width, *, layers, hidden_sentences, classes, vocab_size, dtype):
    """How many bytes the arrays of a cache of these counts have at most: all but the manifest, the
    tokenizer and the head of each file."""
    sentences, tokens = len(offsets) - 1, int(offsets[-1])
    hidden = int(offsets[hidden_sentences]) * token_bytes(width, layers, dtype)
    corpus = tokens * 4 + (sentences + 1) * 8 + sentences * 8  # ids, offsets, labels
    return hidden + corpus + sentences * classes * 4 + vocab_size * width * 2


def write_cache(
    directory,
    *,
    ids,
    offsets,
    splits,
    labels=None,
    tokenizer,
    word_embeddings,
    layers,
    read_shard,
    hidden_sentences=None,
    hidden_dtype="float16",
    logits=None,
    about,
    found=None,
):
    """Write a cache under a hidden name, shard by shard, and rename it when it is whole.

    ids (N,), offsets (B + 1,), labels (B,) or None: the packed corpus.
    splits: {name: (first, last)} sentence ranges that follow each other from 0 to B.
    tokenizer: the text of a tokenizer.json.
    word_embeddings: (V, D), a row for every id.
    layers: the layers to keep; in ascending order the student's blocks 0, 1, ... learn from them.
    read_shard: a function of (first, last) that reads these sentences and returns {layer: (n, D)}
    and {name: (b, ...)}, what `logits` will want to know of each sentence. Shards that an earlier,
    killed call has written are not read again.
    hidden_sentences: how many sentences, from the first, keep their states (None: all).
    hidden_dtype: "float16" or "int8" (see hidden_rows.py).
    logits: None, or a function of {name: (B, ...)}, called behind the last shard, because a head on
    the teacher's features cannot be fitted before. It returns the logits (B, C) and a dict that
    says how they came about ("logits_from" in the manifest).
    about: more manifest entries: "teacher" (id and sha256), "corpus_sha256", "max_tokens", ...
    found: called with the tokens of each shard that was there already.

    Returns the directory. Raises InputError as `work_folder` does, and where a number does not fit
    into its dtype; ValueError for arrays that do not fit each other. After the last two nothing is
    left; a kill, Ctrl-C or a full disk leaves the hidden folder, from which the same call goes on.
    """
    directory = Path(directory)
    sentences, width = len(offsets) - 1, word_embeddings.shape[1]
    hidden_sentences = sentences if hidden_sentences is None else hidden_sentences
    layers = sorted(layers)
    _check_splits(splits, sentences)
    if ids.max() >= len(word_embeddings):
        raise ValueError(f"the id {ids.max()} has no word embedding")
    try:
        words, _ = encode_rows(word_embeddings, "float16")  # (V, D)
    except InputError:
        raise InputError(
            "a word embedding of the teacher holds a number that float16 cannot; choose another "
            "teacher"
        ) from None
    shards = plan_shards(offsets, hidden_sentences, token_bytes(width, len(layers), hidden_dtype))
    hidden_shards = [span for span in shards if span[1] <= hidden_sentences]
    if logits is None:
        shards = hidden_shards  # nobody asks for the other sentences
    digest = hashlib.sha256(np.asarray(ids, np.int32).tobytes())
    digest.update(np.asarray(offsets, np.int64).tobytes())
    plan = {
        **about,
        "ids_sha256": digest.hexdigest(),
        "layers": layers,
        "hidden_dtype": hidden_dtype,
        "hidden_sentences": hidden_sentences,
        "shards": shards,
    }
    with work_folder(directory, "plan.json", plan) as (work, _):
        for name in ("cache", "shards", "values"):
            (work / name).mkdir(exist_ok=True)
        try:
            done = []
            for number, (first, last) in enumerate(shards):
                kept_layers = layers if last <= hidden_sentences else []
                shape = (int(offsets[last] - offsets[first]), width)
                record = finished_shard(work, number)
                if record is None:
                    states, spoken = read_shard(first, last)
                    kept = {layer: states[layer] for layer in kept_layers}
                    if any(rows.shape != shape for rows in kept.values()):
                        raise ValueError(f"states of sentences {first} to {last} should be {shape}")
                    record = write_shard(
                        work, number, len(hidden_shards), kept, spoken, hidden_dtype
                    )
                elif found:
                    found(shape[0])
                done.append(record)
            arrays = {
                "ids": np.asarray(ids, np.int32),
                "offsets": np.asarray(offsets, np.int64),
                "word_embeddings": words,
            }
            if labels is not None:
                arrays["labels"] = np.asarray(labels, np.int64)
            logits_from = None
            if logits is not None:
                spoken, logits_from = logits(read_values(work, len(done)))
                arrays["logits"] = np.asarray(spoken, np.float32)
            manifest = {
                **about,
                "splits": splits,
                "layers": layers,
                "student_blocks": {str(layer): block for block, layer in enumerate(layers)},
                "hidden_dtype": hidden_dtype,
                "hidden_shards": [int(offsets[b] - offsets[a]) for a, b in hidden_shards],
                "hidden_error": join_errors(done),
                "logits_from": logits_from,
                "counts": {
                    "sentences": sentences,
                    "tokens": int(offsets[-1]),
                    "hidden_sentences": hidden_sentences,
                    "hidden_tokens": int(offsets[hidden_sentences]),
                    "width": width,
                    "vocabulary": len(word_embeddings),
                    "classes": arrays["logits"].shape[1] if "logits" in arrays else 0,
                },
            }
            _finish(work / "cache", arrays, tokenizer, manifest, done)
            refuse_taken(directory)
            os.rename(work / "cache", directory)
        except (OSError, MemoryError):  # when there is room again, the same call goes on
            raise
        except Exception:  # not Ctrl-C: that may go on
            shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)
    return directory


def _finish(folder, arrays, tokenizer, manifest, shards):
    """Write everything that is no shard, and the manifest, which lists all files, last."""
    files = {name: facts for shard in shards for name, facts in shard["files"].items()}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    for name in (*(f"{name}.npy" for name in arrays), "tokenizer.json"):
        files[name] = file_facts(folder / name)
    manifest = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest}
    manifest["files"] = dict(sorted(files.items()))
    manifest["sha256"] = manifest_digest(manifest)
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def _check_splits(splits, sentences):
    edges = [edge for span in splits.values() for edge in span]
    if [0, *edges[1::2]] != [*edges[::2], sentences]:
        raise ValueError(f"the splits {splits} do not follow each other from 0 to {sentences}")
