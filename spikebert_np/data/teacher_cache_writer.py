"""Write a teacher cache: the format is described in teacher_cache.py.

Letters: N packed tokens, n tokens of one batch, B sentences, M tokens of the first hidden_sentences
sentences, V vocabulary, D the teacher's width, C classes.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np

from ..errors import InputError
from .download import file_digest
from .teacher_cache import FORMAT, FORMAT_VERSION, manifest_digest


def cache_bytes(offsets, width, *, layers, hidden_sentences, classes, vocab_size):
    """How many bytes a cache of these counts takes at most, less the manifest and tokenizer."""
    sentences, tokens = len(offsets) - 1, int(offsets[-1])
    hidden = layers * int(offsets[hidden_sentences]) * width * 2
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
    hidden_batches,
    hidden_sentences=None,
    student_blocks=None,
    logits=None,
    about,
):
    """Write a cache, batch by batch, under a temporary name, and rename it when it is whole.

    ids (N,), offsets (B + 1,), labels (B,) or None: the packed corpus.
    splits: {name: (first, last)} sentence ranges that follow each other from 0 to B.
    tokenizer: the text of a tokenizer.json.
    word_embeddings: (V, D), a row for every id.
    layers: the layers to keep. hidden_batches: an iterable of {layer: (n, D)}, n tokens after those
    of the batch before; it is read to its end, also behind the first hidden_sentences sentences
    (None: all), whose states are written.
    student_blocks: {layer: block}; by default the layers in ascending order go to blocks 0, 1, ...
    logits: None, or a function called once, behind the last batch, because a head on the teacher's
    features cannot be fitted before. It returns the logits (B, C) and a dict that says how they
    came about ("logits_from" in the manifest).
    about: more manifest entries: "teacher" (id and sha256), "corpus_sha256", "max_tokens", ...

    Returns the directory. Raises InputError where it exists or cannot be written and where a number
    does not fit into float16, ValueError for arrays that do not fit each other.
    """
    directory = Path(directory)
    refuse_existing(directory)
    sentences = len(offsets) - 1
    hidden_sentences = sentences if hidden_sentences is None else hidden_sentences
    layers = sorted(layers)
    blocks = student_blocks or {layer: block for block, layer in enumerate(layers)}
    _check_splits(splits, sentences)
    if ids.max() >= len(word_embeddings):
        raise ValueError(f"the id {ids.max()} has no word embedding")
    arrays = {
        "ids": np.asarray(ids, np.int32),
        "offsets": np.asarray(offsets, np.int64),
        "word_embeddings": _to_float16(word_embeddings, "a word embedding"),  # (V, D)
    }
    if labels is not None:
        arrays["labels"] = np.asarray(labels, np.int64)

    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.writing")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"{directory.parent}: cannot be written ({error.strerror}); give another folder"
        ) from error
    try:
        shape = (int(offsets[hidden_sentences]), word_embeddings.shape[1])  # (M, D)
        _write_hidden(temporary, layers, shape, hidden_batches)
        logits_from = None
        if logits is not None:
            values, logits_from = logits()
            arrays["logits"] = np.asarray(values, np.float32)
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        (temporary / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **about,
            "splits": splits,
            "layers": layers,
            "student_blocks": {str(layer): block for layer, block in blocks.items()},
            "logits_from": logits_from,
            "counts": {
                "sentences": sentences,
                "tokens": int(offsets[-1]),
                "hidden_sentences": hidden_sentences,
                "hidden_tokens": shape[0],
                "width": shape[1],
                "vocabulary": len(word_embeddings),
                "classes": arrays["logits"].shape[1] if "logits" in arrays else 0,
            },
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": file_digest(file, "sha256")}
                for file in sorted(temporary.iterdir())
            },
        }
        manifest["sha256"] = manifest_digest(manifest)
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (temporary / "manifest.json").write_text(text, encoding="utf-8")
        refuse_existing(directory)
        os.rename(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return directory


def refuse_existing(directory):
    """Raises InputError where the path is taken: a cache is never overwritten."""
    if os.path.lexists(directory):
        raise InputError(
            f"{directory}: exists already, and a cache is never overwritten; "
            "give another folder or delete this one"
        )


def _check_splits(splits, sentences):
    edges = [edge for span in splits.values() for edge in span]
    if [0, *edges[1::2]] != [*edges[::2], sentences]:
        raise ValueError(f"the splits {splits} do not follow each other from 0 to {sentences}")


def _to_float16(array, what):
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float16)
    if not np.isfinite(narrow).all():
        raise InputError(
            f"{what} of the teacher is not finite or above 65,504, the largest float16; "
            "choose another teacher or layer"
        )
    return narrow


def _write_hidden(folder, layers, shape, hidden_batches):
    """Fill hidden_<layer>.npy (M, D) from the batches' first M rows."""
    maps = {
        layer: np.lib.format.open_memmap(
            folder / f"hidden_{layer}.npy", mode="w+", dtype=np.float16, shape=shape
        )
        for layer in layers
    }
    row = 0
    for batch in hidden_batches:
        tokens = len(batch[layers[0]])
        stop = min(row + tokens, shape[0])
        for layer in layers:
            states = _to_float16(batch[layer][: stop - row], f"a hidden state of layer {layer}")
            maps[layer][row:stop] = states  # (n, D)
        row = stop
    if row < shape[0]:
        raise ValueError(f"the batches hold {row} of the {shape[0]} tokens to be written")
    for memory_map in maps.values():
        memory_map.flush()
