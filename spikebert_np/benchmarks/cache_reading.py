"""How long a teacher cache takes to read, against the size of its corpus.

Opening it checks every array and hashes every file (hidden states of more than 64 MiB aside, which
none has here). An epoch's reading is what the training loop reads: batches drawn at random, their
ids, labels and logits, and the hidden states of two layers from the memory map, as float32. The
files were written a moment ago: they come from the system's memory, not from the disk.

Letters: N packed tokens of the corpus, S its sentences.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..data.batches import batch_indices, make_batch, select_sentences
from ..data.corpus import slice_corpus
from ..data.shipped import TOY, open_cache
from ..data.teacher_cache import load_cache
from ..data.teacher_cache_writer import write_cache
from ..training.corpora import cached_corpus, split_corpus
from ..training.loop import batch_targets
from .scaling import new_axis
from .students import SETTINGS
from .timing import alternate

TOKENS = (5_000, 10_000, 20_000, 40_000)  # about so many


def cache_axes(rounds, done=lambda: None):
    """The Axis of opening a cache, and that of reading one epoch of it. done: as of `alternate`."""
    with TemporaryDirectory(prefix="spikebert-") as scratch:
        folders = [write_tiled(Path(scratch) / str(tokens), tokens) for tokens in TOKENS]
        caches = [load_cache(folder) for folder in folders]
        # A side's work is the number of its round, which draws the batches.
        opening = {i: lambda _, own=own: load_cache(own) for i, own in enumerate(folders)}
        opened = alternate(opening, range(rounds), done)
        reading = {i: lambda seed, own=own: read_epoch(own, seed) for i, own in enumerate(caches)}
        read = alternate(reading, range(rounds), done)
        sizes = [len(cache.ids) for cache in caches]
    label = "tokens of the corpus N"
    for name, what, times in (
        ("cache_opened", "opening a cache", opened),
        ("cache_read", "reading an epoch", read),
    ):
        yield new_axis(name, label, what, 0, sizes, list(times.values()))


def write_tiled(folder, tokens):
    """A cache of the shipped one's sentences that have hidden states, over and over."""
    cache = open_cache(TOY)
    count = cache.manifest["counts"]["hidden_sentences"]
    corpus = slice_corpus(cached_corpus(cache), 0, count)
    repeats = np.resize(np.arange(count), tokens * count // int(corpus.offsets[-1]))  # (S,)
    tiled = select_sentences(corpus, repeats)
    offsets = tiled.offsets

    def read_shard(first, last):
        states = {
            layer: tiled.hidden[block][offsets[first] : offsets[last]]
            for layer, block in cache.student_blocks.items()
        }
        return states, {}

    return write_cache(
        folder,
        ids=tiled.ids,
        offsets=offsets,
        splits={"train": (0, len(repeats))},
        labels=tiled.labels,
        tokenizer=cache.tokenizer.read_text("utf-8"),
        word_embeddings=np.asarray(cache.word_embeddings),
        layers=list(cache.student_blocks),
        read_shard=read_shard,
        logits=lambda values: (tiled.logits, {"tiled": TOY}),
        about={"teacher": cache.manifest["teacher"]},
    )


def read_epoch(cache, seed):
    """The tokens of one epoch's batches, all of them read as `training.loop` reads them."""
    corpus, tokens = split_corpus(cache, "train"), 0
    rng = np.random.default_rng(seed)
    for index in batch_indices(corpus.offsets, max_tokens=SETTINGS.batch_tokens, rng=rng):
        batch = make_batch(corpus.ids, corpus.offsets, corpus.labels, index)
        batch_targets(corpus, index, SETTINGS.loss_weights, None, np.dtype(np.float32))
        tokens += len(batch.ids)
    return tokens
