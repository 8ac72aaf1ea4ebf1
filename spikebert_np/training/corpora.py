"""The corpora of a stage, from one teacher cache or several."""

from itertools import pairwise

from ..data.corpus import Corpus, join_corpora, slice_corpus
from ..errors import InputError


def cached_corpus(cache):
    """All sentences of a TeacherCache. Hidden states may cover only the first of them."""
    hidden = {cache.student_blocks[layer]: states for layer, states in cache.hidden.items()}
    return Corpus(cache.ids, cache.offsets, cache.labels, cache.logits, hidden)


def split_corpus(cache, name):
    """The sentences of one split; labels is None where some of them have none.

    Raises InputError where the cache has no such split.
    """
    if name not in cache.splits:
        raise InputError(
            f"{cache.tokenizer.parent}: the cache has no {name} split; "
            "make it from a folder with train and dev files (`spikebert data split` makes one)"
        )
    corpus = slice_corpus(cached_corpus(cache), *cache.splits[name])
    if corpus.labels is not None and (corpus.labels < 0).any():
        corpus = corpus._replace(labels=None)
    return corpus


def stage1_corpus(cache):
    """The training sentences that have the teacher's hidden states; labels and logits play no part.

    Nothing is learnt from dev and test, not even without their labels. Raises InputError where the
    cache has no train split.
    """
    train = split_corpus(cache, "train")
    read = min(len(train.offsets) - 1, cache.manifest["counts"]["hidden_sentences"])
    return slice_corpus(train, 0, read)._replace(labels=None, logits=None)


def stage_corpora(cache, stage, more=()):
    """The Corpus that a stage ("pretrain" or "finetune") trains on, and its dev Corpus or None.

    more: caches whose train splits stage 2 learns from as well, but for sentences that are in this
    dev; they may have no labels. Hidden states are left out where the caches give a block different
    layers. Raises InputError where a cache lacks a split, or is not by the teacher and the
    tokenizer of the first, or its logits are of other classes.
    """
    if stage == "pretrain":
        return stage1_corpus(cache), None
    dev, parts = split_corpus(cache, "dev"), [split_corpus(cache, "train")]
    for other in more:
        _check_same_teacher(cache, other)
        part = split_corpus(other, "train")
        if other.student_blocks != cache.student_blocks:
            part = part._replace(hidden=None)
        parts += _without(part, dev)
    return join_corpora(parts), dev


def _check_same_teacher(cache, other):
    for name, found, wanted in (
        ("tokenizer", other.tokenizer.read_bytes(), cache.tokenizer.read_bytes()),
        ("teacher", _teacher(other), _teacher(cache)),
        ("number of classes", _classes(other), _classes(cache)),
    ):
        if found != wanted:
            raise InputError(
                f"{other.tokenizer.parent}: its {name} is not that of {cache.tokenizer.parent}; "
                "make both caches with one --teacher, fine-tuned for the task"
            )


def _teacher(cache):
    """What tells it from another: fine-tuning may leave the word embeddings as they were."""
    return cache.manifest["teacher"].get("sha256"), cache.word_embeddings.tobytes()


def _classes(cache):
    """Of the teacher's logits; 0 where the cache has none."""
    return 0 if cache.logits is None else cache.logits.shape[1]


def _without(corpus, dev):
    """The runs of a Corpus between the sentences that are, token for token, in another one."""
    held_out = set(_sentences(dev))
    found = [i for i, sentence in enumerate(_sentences(corpus)) if sentence in held_out]
    edges = pairwise([-1, *found, len(corpus.offsets) - 1])
    return [slice_corpus(corpus, left + 1, right) for left, right in edges if left + 1 < right]


def _sentences(corpus):
    """The bytes of each sentence's ids."""
    for start, stop in pairwise(corpus.offsets):
        yield corpus.ids[start:stop].tobytes()


def has_hidden(corpus):
    """Whether the teacher's hidden states are there for all of a Corpus."""
    tokens = int(corpus.offsets[-1])
    return bool(corpus.hidden) and all(len(rows) == tokens for rows in corpus.hidden.values())
