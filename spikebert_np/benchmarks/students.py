"""The students that are measured, their sentences and their batches.

How long a step takes hangs on how often the neurons fire, and an untrained network does not fire
like a trained one. A run folder's student is measured as it is. For a shape of which there is no
run, one is trained for BRIEF_EPOCHS on the shipped cache: after ten steps already each of its
layers fires about as often as that of a student after three epochs of SST-2 (5 % of all neurons
there, 5.5 % here, 4 % before the first step). To scale thresholds instead, until a trained
student's rates come out, would not do: the attention's neurons have no gain to scale. The rates
that were measured stand beside every figure.

Letters: N packed tokens, S sentences of a corpus, B sentences of a batch, V vocabulary.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..analysis.firing import firing_rates, mean_firing_rate
from ..data.batches import make_batch
from ..data.corpus import slice_corpus
from ..data.shipped import TOY, open_cache, open_corpus
from ..data.tokenizer import encode_texts, load_tokenizer
from ..errors import InputError
from ..models.kinds import kind_of
from ..models.spikebert import init_spikebert, spikebert_forward
from ..training.checkpoint import load_run
from ..training.corpora import split_corpus
from ..training.distill import Targets
from ..training.loop import TrainingSettings, train
from ..training.stages import new_student, student_config
from ..training.word_rows import teacher_word_rows

BRIEF_EPOCHS = 4  # of 5 steps, on the sentences that have hidden states
BATCH_SENTENCES = 32
SETTINGS = TrainingSettings()


class Student(NamedTuple):
    name: str
    origin: str  # how it came to be, for the reader
    config: object
    params: dict
    ids: np.ndarray  # (N,) its corpus
    offsets: np.ndarray  # (S + 1,)
    rates: dict  # layer: the share of its neurons that fire in training; "all": of all neurons


def read_texts(data):
    """The sentences of a corpus' train split (its only one, where it has no train)."""
    splits = open_corpus(data)
    return splits.get("train", next(iter(splits.values()))).texts


def shape_name(width, blocks):
    """d256; with another number of blocks than two, d256_blocks6."""
    return f"d{width}" if blocks == 2 else f"d{width}_blocks{blocks}"


def run_student(directory, texts):
    """The Student of a run folder, reading these texts. Raises InputError for another model."""
    run = load_run(directory)
    if (kind := kind_of(run.config).name) != "spikebert":
        raise InputError(f"{directory}: is a {kind}; give the run of a spikebert")
    config, params = run.config, run.params
    tokenizer = load_tokenizer(run.directory / "tokenizer.json")
    ids, offsets, _ = encode_texts(tokenizer, texts, max_tokens=config.max_tokens)
    if not config.teacher_width:  # it left its taps behind: the losses of both stages need some
        config = replace(config, teacher_width=config.embedding_width, tap="linear_norm")
        params = init_spikebert(config, np.random.default_rng(0)) | params
    return _student(str(directory), config, params, ids, offsets)


def toy_offsets(texts):
    """The offsets (S + 1,) of texts by the shipped cache's tokenizer, for want of a run's."""
    return encode_texts(load_tokenizer(open_cache(TOY).tokenizer), texts).offsets


def brief_student(width, blocks, offsets):
    """A Student of this shape, trained on the shipped cache for BRIEF_EPOCHS.

    It reads the shipped words, for it knows no others, cut into sentences at offsets (S + 1,).
    """
    cache = open_cache(TOY)
    config = student_config(cache, width=width, blocks=blocks, max_tokens=128)
    settings = replace(SETTINGS, epochs=BRIEF_EPOCHS)
    params = new_student(cache, config, settings)
    with_hidden = cache.manifest["counts"]["hidden_sentences"]
    params = train(
        params,
        config,
        settings,
        slice_corpus(split_corpus(cache, "train"), 0, with_hidden),
        word_rows=teacher_word_rows(cache)[0],
        log=lambda record: None,
        quiet=True,
    )
    origin = f"trained for {BRIEF_EPOCHS} epochs of {with_hidden} sentences of {TOY}"
    ids = np.resize(cache.ids, offsets[-1])  # (N,)
    return _student(origin, config, params, ids, offsets)


def _student(origin, config, params, ids, offsets):
    name = shape_name(config.width, config.blocks)
    student = Student(name, origin, config, params, ids, offsets, {})
    batch, _ = draw_batches(student, 1)[0]
    rng = np.random.default_rng(0)
    _, cache = spikebert_forward(batch.ids, batch.offsets, params, config, rng=rng, taps=False)
    student.rates.update({"all": mean_firing_rate(cache), **firing_rates(cache)})
    return student


def draw_batches(student, rounds, *, sentences=BATCH_SENTENCES):
    """(Batch, Targets) for each round, of sentences drawn from the student's corpus.

    What the teacher says is drawn too: it costs the same whatever it says.
    """
    rng = np.random.default_rng(0)
    return [draw_targets(student, batch, rng) for batch in _draw(student, rounds, sentences, rng)]


def _draw(student, rounds, sentences, rng):
    count = len(student.offsets) - 1
    for _ in range(rounds):
        index = rng.choice(count, sentences, replace=count < sentences)  # (B,)
        yield make_batch(student.ids, student.offsets, None, index)


def draw_targets(student, batch, rng):
    """(the Batch with labels, its Targets): random, of the dtype of the student's parameters."""
    config, words = student.config, student.params["embedding.weight"]
    sentences, tokens = len(batch.index), len(batch.ids)

    def draw(*shape):
        return rng.standard_normal(shape).astype(words.dtype)

    labels = rng.integers(config.classes, size=sentences)  # (B,)
    hidden = {block: draw(tokens, config.teacher_width) for block in range(config.blocks)}
    logits = draw(sentences, config.classes)
    return batch._replace(labels=labels), Targets(labels, logits, hidden, words.copy())
