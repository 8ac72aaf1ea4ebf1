"""`spikebert teacher verify`: is a cache whole, and is it what the teacher says?"""

import json

import numpy as np

from ..errors import InputError

# Beside the rounding of the format: a batch cut otherwise adds up float32 numbers in another order.
_FLOAT32_NOISE = 2e-3


def run_verify(args):
    """Hash the cache's files, read a sample of it again, print the largest differences."""
    from ..data.batches import make_batch
    from ..data.download import file_digest
    from ..data.pretrained import resolve_teacher
    from ..data.teacher_cache import load_cache
    from ..training.frozen_teacher import read_sentences
    from .teacher_cache import OWN_CLASSIFIER, load_teacher

    if args.sample < 1:
        raise InputError(f"--sample {args.sample}: give 1 or more")
    cache = load_cache(args.cache, verify=True)
    manifest, counts = cache.manifest, cache.manifest["counts"]
    print(f"{args.cache}: {len(manifest['files'])} files, each with the manifest's sha256")
    name = args.teacher or manifest["teacher"]["name"]
    if not args.teacher and name != "minilm" and not name.startswith("hub:"):
        raise InputError(f"{args.cache}: was made by the teacher {name}; give --teacher DIR")
    folder = resolve_teacher(name)
    if file_digest(folder / "model.safetensors", "sha256") != manifest["teacher"]["sha256"]:
        raise InputError(
            f"{folder / 'model.safetensors'}: is not the teacher of {args.cache} (another sha256); "
            "give the one that made it"
        )
    config, params, tokenizer = load_teacher(folder)
    kept = _teacher_ids(cache, config, tokenizer)  # (V,)
    _check_words(args.cache, cache, params["embeddings.word"][kept])
    sample = np.random.default_rng(args.seed).permutation(counts["hidden_sentences"])
    index = np.sort(sample[: args.sample])
    batch = make_batch(cache.ids, cache.offsets, None, index)
    states, values = read_sentences(
        kept[batch.ids], batch.offsets, params, config, list(cache.hidden)
    )
    worst = {
        layer: _check_states(args.cache, layer, cache, rows, index)
        for layer, rows in states.items()
    }
    if (manifest["logits_from"] or {}).get("source") == OWN_CLASSIFIER:
        difference = float(np.abs(cache.logits[index] - values["logits"]).max())
        if difference > _FLOAT32_NOISE:
            raise InputError(
                f"{args.cache / 'logits.npy'}: differs from the teacher by {difference:.3g}; make "
                "the cache again"
            )
        worst["logits"] = difference
    told = ", ".join(f"{key} {value:.2g}" for key, value in worst.items())
    print(f"{len(index)} sentences computed again; largest difference by layer: {told}")
    if args.json:
        print(json.dumps({"files": len(manifest["files"]), "sentences": len(index), **worst}))


def _teacher_ids(cache, config, tokenizer):
    """(V,): the teacher's id of each of the cache's, which may know fewer pieces and number them
    anew (--reduce-vocabulary). Raises InputError for a piece that the teacher does not have."""
    from ..data.tokenizer import load_tokenizer

    vocabulary = tokenizer.get_vocab()
    ids = np.arange(len(cache.word_embeddings))
    for piece, number in load_tokenizer(cache.tokenizer).get_vocab().items():
        if piece not in vocabulary:
            raise InputError(
                f"{cache.tokenizer}: has the piece {piece!r}, which the teacher's tokenizer lacks; "
                "give the teacher that made the cache"
            )
        ids[number] = vocabulary[piece]
    if ids.max() >= config.vocab_size:
        raise InputError(
            f"{cache.tokenizer.with_name('word_embeddings.npy')}: has {len(ids):,} rows, the "
            f"teacher {config.vocab_size:,}; give the teacher that made the cache"
        )
    return ids


def _check_words(directory, cache, rows):
    """Raises InputError where a word embedding (V, D) is not the teacher's, rounded."""
    if not np.array_equal(cache.word_embeddings, rows.astype(np.float16)):
        raise InputError(
            f"{directory / 'word_embeddings.npy'}: differs from the teacher; make the cache again"
        )


def _check_states(directory, layer, cache, computed, index):
    """The largest difference of a layer in the sample. Raises InputError beyond rounding."""
    from ..data.batches import gather_sentences

    stored = gather_sentences(cache.hidden[layer], cache.offsets, index).astype(np.float32)
    difference = np.abs(stored - computed)  # (n, D)
    if cache.manifest.get("hidden_dtype", "float16") == "int8":
        rounding = np.abs(computed).max(axis=1, keepdims=True) / 254
    else:
        rounding = np.abs(computed) / 2048
    if (difference > rounding + _FLOAT32_NOISE).any():
        raise InputError(
            f"{directory}: the hidden states of layer {layer} differ from the teacher's by "
            f"{difference.max():.3g}; make the cache again"
        )
    return float(difference.max())
