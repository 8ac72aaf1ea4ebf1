"""`spikebert teacher cache`: run a teacher over a corpus and write down what it makes of it.

Long for its checks: whatever would stop the work is found before hours of it.

Letters: B sentences, C classes.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import refuse_taken

OWN_CLASSIFIER = "the teacher's own classifier"


def run_cache(args):
    """Write the cache of args.data into args.out."""
    from ..data.sentences import split_texts
    from ..data.shipped import open_corpus

    refuse_taken(args.out)  # before the corpus is read
    try:
        layers = args.layers and [int(part) for part in args.layers.split(",")]
    except ValueError:
        layers = [args.layers]
    corpus = open_corpus(args.data)
    if args.sentences:
        corpus = split_texts(args.data, corpus)
    cache_corpus(
        args.teacher,
        args.data,
        corpus,
        args.out,
        layers=layers,
        max_tokens=args.max_tokens,
        hidden_sentences=args.hidden_sentences,
        dtype=args.dtype,
        max_bytes=args.max_bytes,
        smallest_vocabulary=args.reduce_vocabulary,
    )


def cache_corpus(
    teacher,
    where,
    corpus,
    out,
    *,
    layers=None,
    max_tokens=128,
    hidden_sentences=None,
    dtype="float16",
    max_bytes=None,
    smallest_vocabulary=False,
    quiet=False,
):
    """Write what a teacher (as `resolve_teacher` names it) makes of a corpus into the folder `out`.

    where: names the corpus {name: Split} in errors. The other arguments are the flags of
    `spikebert teacher cache`. Raises InputError where something does not fit.
    """
    from ..data.download import file_digest
    from ..data.pretrained import resolve_teacher
    from ..data.readers import corpus_digest
    from ..data.teacher_cache_writer import write_cache
    from ..data.tokenizer import encode_texts, reduce_vocabulary
    from ..training.frozen_teacher import linear_head_logits, read_sentences
    from ..training.workers import worker_count, workers

    folder = resolve_teacher(teacher)
    config, params, tokenizer = load_teacher(folder)
    layers = check_layers(layers, config.depth)
    check_max_tokens(max_tokens, config, folder)
    labels, splits = _join_labels(corpus)
    classes = _count_classes(where, folder, config, labels, splits)
    texts = [text for split in corpus.values() for text in split.texts]
    if not texts:
        raise InputError(f"{where}: holds no sentence with a letter or digit; give more text")
    encoded = encode_texts(tokenizer, texts, max_tokens=max_tokens, quiet=quiet)
    ids, offsets, truncated = encoded
    kept = np.arange(config.vocab_size)  # the teacher's id of each of the cache's ids
    if smallest_vocabulary:
        tokenizer, kept = reduce_vocabulary(tokenizer, ids)
    counts = ", ".join(f"{name} {last - first:,}" for name, (first, last) in splits.items())
    print(
        f"{len(texts):,} sentences ({counts}), {len(ids):,} tokens; "
        f"{truncated:,} sentences cut to {max_tokens} tokens"
    )
    hidden_sentences = _fitting_sentences(
        out,
        offsets,
        hidden_sentences,
        max_bytes,
        width=config.width,
        layers=layers,
        classes=classes,
        vocab_size=len(kept),
        dtype=dtype,
    )

    def logits(values):
        if config.classes:
            spoken, source = values["logits"], OWN_CLASSIFIER
        else:
            spoken = linear_head_logits(values["features"], labels, classes, splits)
            source = "a linear head on the teacher's frozen features, cross-fitted on train"
        accuracy = _accuracy_by_split(spoken, labels, splits)
        bar.close()  # all is read; else what is said stands behind it on its line
        print(f"logits: {source}", *(f"; {name} {a:.4f}" for name, a in accuracy.items()), sep="")
        return spoken, {"source": source, "accuracy": accuracy}

    from tqdm import tqdm

    to_read = len(ids) if classes else int(offsets[hidden_sentences])
    with (
        workers(worker_count()) as run,
        tqdm(total=to_read, desc="teacher", unit=" tokens", unit_scale=True, disable=quiet) as bar,
    ):

        def read_shard(first, last):
            start, stop = offsets[first], offsets[last]
            part = ids[start:stop], offsets[first : last + 1] - start
            states, values = read_sentences(*part, params, config, layers, run=run, read=bar.update)
            return states, values if classes else {}

        write_cache(
            out,
            ids=np.searchsorted(kept, ids),
            offsets=offsets,
            splits=splits,
            labels=labels,
            tokenizer=tokenizer.to_str(),
            word_embeddings=params["embeddings.word"][kept],
            layers=layers,
            read_shard=read_shard,
            hidden_sentences=hidden_sentences,
            hidden_dtype=dtype,
            logits=logits if classes else None,
            about={
                "teacher": {
                    "name": public_name(teacher, folder),
                    "sha256": file_digest(folder / "model.safetensors", "sha256"),
                    "blocks": config.depth,
                    "width": config.width,
                    "mlp_width": config.mlp_width,
                },
                "corpus_sha256": corpus_digest(corpus),
                "max_tokens": max_tokens,
                "truncated": truncated,
            },
            found=bar.update,
        )
    errors = json.loads((out / "manifest.json").read_text("utf-8"))["hidden_error"]
    for layer, error in errors.items():
        print(
            f"layer {layer} as {dtype}: {error['relative_rms']:.2%} of its root mean square "
            f"lost, at most {error['max']:.3g} in a number"
        )
    print(f"{out}: written")


def public_name(name, folder):
    """How a teacher is named in what is made from it: not by where it lies on a machine."""
    return folder.resolve().name if Path(name).is_dir() else name


def load_teacher(folder):
    """(config, params, tokenizer) of a directory. Raises InputError where they do not belong
    together."""
    from ..data.tokenizer import load_tokenizer
    from ..models.bert_checkpoint import load_bert

    config, params = load_bert(folder)
    tokenizer = load_tokenizer(folder)
    words = max(tokenizer.get_vocab().values()) + 1
    if words > config.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {words:,} words, but config.json says "
            f"{config.vocab_size:,}; take both from the same model"
        )
    if len(tokenizer.encode("").ids) != 2:
        raise InputError(
            f"{folder}: the tokenizer puts no [CLS] before a text and no [SEP] behind it, as a "
            "BERT's does; take it from the same model as the weights"
        )
    return config, params, tokenizer


def check_max_tokens(max_tokens, config, folder):
    """Raises InputError where the teacher in `folder` has fewer positions."""
    if max_tokens > config.max_positions:
        raise InputError(
            f"--max-tokens {max_tokens} is more than the {config.max_positions} positions of "
            f"the teacher in {folder}; give that or less"
        )


def check_layers(layers, depth):
    """The layers in order; without any, the middle and the last. Raises InputError for one that a
    teacher of `depth` blocks does not have, and for one given twice."""
    if layers is None:
        return sorted({(depth + 1) // 2, depth})
    allowed = all(type(layer) is int and 0 <= layer <= depth for layer in layers)
    if not layers or not allowed or len(set(layers)) < len(layers):
        raise InputError(
            f"--layers {','.join(map(str, layers))}: give different numbers from 0 to {depth}, the "
            "teacher's last block, with commas between them"
        )
    return sorted(layers)


def _join_labels(corpus):
    """labels (B,) with -1 where there is none, or None; and {split: (first, last)}."""
    splits, first = {}, 0
    for name, split in corpus.items():
        splits[name] = (first, first + len(split.texts))
        first += len(split.texts)
    if all(split.labels is None for split in corpus.values()):
        return None, splits
    labels = [
        np.full(len(split.texts), -1) if split.labels is None else split.labels
        for split in corpus.values()
    ]
    return np.concatenate(labels), splits


def _count_classes(path, folder, config, labels, splits):
    """C of the logits, or 0 where there will be none."""
    labelled = 0 if labels is None else int(labels.max()) + 1
    if config.classes:
        if labelled > config.classes:
            raise InputError(
                f"{path}: has the label {labelled - 1}, but the classifier in {folder} knows "
                f"{config.classes} classes; give a teacher made for these labels"
            )
        return config.classes
    if "train" not in splits:
        return 0
    if labelled == 1:
        raise InputError(f"{path}: all its labels are 0; give texts of two classes or more")
    return labelled


def _fitting_sentences(out, offsets, chosen, max_bytes, *, width, layers, **counts):
    """How many sentences keep their hidden states: `chosen`, None for all, or fewer by max_bytes.

    counts: classes, vocab_size and dtype of cache_bytes. Says how much will be written, and refuses
    what does not fit max_bytes or the disk.
    """
    from ..data.teacher_cache_shards import token_bytes
    from ..data.teacher_cache_writer import cache_bytes

    def size(hidden_sentences):
        return cache_bytes(
            offsets,
            width,
            layers=len(layers),
            hidden_sentences=hidden_sentences,
            **counts,
        )

    sentences = len(offsets) - 1
    chosen = sentences if chosen is None else chosen
    if not 1 <= chosen <= sentences:
        raise InputError(f"--hidden-sentences must be from 1 to the corpus's {sentences:,}")
    if max_bytes is not None:
        if not math.isfinite(max_bytes):
            raise InputError(f"--max-bytes {max_bytes}: give a finite number, such as 2e9")
        states = int(max_bytes) - size(0)
        tokens = states // token_bytes(width, len(layers), counts["dtype"])
        chosen = min(chosen, int(np.searchsorted(offsets, tokens, side="right")) - 1)
        if chosen < 1:
            raise InputError(
                f"--max-bytes {max_bytes:,.0f}: one sentence needs {size(1):,}; give more, "
                "or fewer --layers"
            )
    print(
        f"to write: {size(chosen) / 1e6:,.1f} MB, with the hidden states of {chosen:,} sentences "
        f"after layers {', '.join(map(str, layers))}",
        flush=True,
    )
    existing = next(p for p in out.absolute().parents if p.exists())
    free = shutil.disk_usage(existing).free
    # What a run that was stopped has written need not be written again.
    partial = out.with_name(f".{out.name}.partial")
    written = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
    if free < size(chosen) - written:
        raise InputError(
            f"{existing}: only {free / 1e6:,.1f} MB are free; "
            "give another --out, fewer --layers, --dtype int8, or --max-bytes"
        )
    return chosen


def _accuracy_by_split(logits, labels, splits):
    """{split: accuracy} of the splits that have labels; of test nothing is said or recorded."""
    accuracy = {}
    for name in ("train", "dev"):
        span = slice(*splits.get(name, (0, 0)))
        if labels is not None and (labels[span] >= 0).any():
            accuracy[name] = round(float((logits[span].argmax(axis=1) == labels[span]).mean()), 6)
    return accuracy
