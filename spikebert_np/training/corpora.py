"""The corpora of a stage, from one teacher cache or several."""

import numpy as np

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

    more: caches whose train splits stage 2 learns from as well; those sentences may have no labels.
    Raises InputError where a cache lacks a split, or is not by the teacher and the tokenizer of the
    first.
    """
    if stage == "pretrain":
        return stage1_corpus(cache), None
    for other in more:
        _check_same_teacher(cache, other)
    train = join_corpora([split_corpus(each, "train") for each in (cache, *more)])
    return train, split_corpus(cache, "dev")


def _check_same_teacher(cache, other):
    same_words = cache.tokenizer.read_bytes() == other.tokenizer.read_bytes()
    if not same_words or not np.array_equal(cache.word_embeddings, other.word_embeddings):
        raise InputError(
            f"{other.tokenizer.parent}: its {'teacher' if same_words else 'tokenizer'} is not that "
            f"of {cache.tokenizer.parent}; make both caches with one --teacher"
        )


def has_hidden(corpus):
    """Whether the teacher's hidden states are there for all of a Corpus."""
    tokens = int(corpus.offsets[-1])
    return bool(corpus.hidden) and all(len(rows) == tokens for rows in corpus.hidden.values())
