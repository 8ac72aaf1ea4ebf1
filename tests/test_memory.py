"""The peak memory of a training step, measured by tracemalloc, which counts every NumPy array."""

import gc
import tracemalloc

import numpy as np
import pytest
from tiny import make_cache

from spikebert_np.blocks import encoder_block
from spikebert_np.data.batches import Batch
from spikebert_np.models.kinds import kind_of
from spikebert_np.models.spikebert import SpikeBertConfig
from spikebert_np.models.spiking_textcnn import SpikingTextCNNConfig
from spikebert_np.models.textcnn import TextCNNConfig
from spikebert_np.training.corpora import split_corpus
from spikebert_np.training.distill import LossWeights, Targets
from spikebert_np.training.loop import TrainingSettings, train
from spikebert_np.training.memory import step_bytes
from spikebert_np.training.optim import adamw_init, update
from spikebert_np.training.stages import new_student, student_config
from spikebert_np.training.step import training_step
from spikebert_np.training.word_rows import teacher_word_rows
from spikebert_np.training.workers import workers

VOCAB = 1000


def problem(config, tokens, taps):
    """A training step's arguments: sentences of 5 to 40 tokens, words as rare as in a language."""
    rng = np.random.default_rng(0)
    ends = np.cumsum(rng.integers(5, 41, tokens))
    offsets = np.array([0, *ends[ends < tokens - 4], tokens])
    sentences = len(offsets) - 1
    ids = (VOCAB ** rng.random(tokens)).astype(np.int64)
    labels = rng.integers(0, 2, sentences)

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    hidden = {i: normal(tokens, config.teacher_width) for i in range(config.blocks)} if taps else {}
    targets = Targets(labels, normal(sentences, 2), hidden, normal(VOCAB, config.embedding_width))
    weights = LossWeights(ce=0.1, kl=1.0, feat=0.1 * taps, emb=0.1 * kind_of(config).taps)
    batch = Batch(ids, offsets, labels, np.arange(sentences))
    return kind_of(config).init(config, rng), batch, targets, weights


def peak(config, tokens, *, taps=True, run=map):
    """Bytes at the peak of a step, parameters, means and targets included; and the Step.

    Of the targets, the teacher's word rows are the run's and not a step's.
    """
    one_step(config, *problem(config, 20, taps), run)  # the kernels, read from disk or compiled
    gc.collect()
    tracemalloc.start()
    arguments = problem(config, tokens, taps)
    tracemalloc.reset_peak()  # what drawing the parameters took
    taken = one_step(config, *arguments, run)
    measured = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return measured - arguments[2].word_rows.nbytes, taken


def one_step(config, params, batch, targets, weights, run):
    state, draw = adamw_init(params), np.random.default_rng(1)
    taken = training_step(params, config, batch, targets, weights, rng=draw, run=run)
    update(params, taken.grads, state, 1e-3, TrainingSettings(), backend="numba", run=run)
    return taken


def density(taken):
    """The events that a student's linear layers keep, as a share of all that these layers read."""
    linear = [
        unit.linear
        for cache in taken.caches
        for ssa, mlp in cache.blocks
        for unit in (*(getattr(ssa, name) for name in ("q", "k", "v", "out") if ssa), *mlp)
    ]
    events = sum(len(cache.events.column) for cache in linear if cache.events)
    return events / sum(cache.x.size for cache in linear)


def student(width, blocks, steps, **how):
    sizes = {"width": width, "blocks": blocks, "steps": steps, "embedding_width": 96}
    return SpikeBertConfig(VOCAB, **sizes, **{"teacher_width": 96, **how})


STUDENTS = [
    (student(64, 2, 4), 200, True),
    (student(64, 1, 2), 600, False),
    (student(128, 4, 2), 200, True),
    (student(256, 1, 4), 300, True),
    (student(256, 2, 2), 300, False),
    (student(64, 2, 4, attention=False, mlp_width=512), 300, True),
    (student(64, 2, 4, norm="batch"), 300, True),
    (SpikeBertConfig.original(vocab_size=VOCAB, width=96, blocks=2, teacher_width=96), 300, True),
]


@pytest.mark.parametrize(("config", "tokens", "taps"), STUDENTS)
def test_a_students_step_takes_what_the_formula_says(config, tokens, taps):
    measured, taken = peak(config, tokens, taps=taps)
    said = step_bytes(config, tokens, taps=taps, density=density(taken))
    assert measured == pytest.approx(said, rel=0.05)


@pytest.mark.parametrize("kind", [TextCNNConfig, SpikingTextCNNConfig])
def test_a_baselines_step_takes_what_the_formula_says(kind):
    config = kind(VOCAB, embedding_width=96)
    measured, _ = peak(config, 300, taps=False)
    assert measured == pytest.approx(step_bytes(config, 300), rel=0.05)


def test_two_workers_add_no_more_than_the_formula_says():
    """How much of their backward passes falls together hangs on the threads."""
    config = student(64, 2, 4)
    with workers(2) as run:
        measured, taken = peak(config, 300, run=run)
    one, two = (step_bytes(config, 300, density=density(taken), workers=count) for count in (1, 2))
    assert 0.95 * one < measured < 1.05 * two


def test_one_more_array_a_block_is_seen(monkeypatch):
    held = []
    mlp_forward = encoder_block.mlp_forward

    def with_one_more(*args, **settings):
        s, cache = mlp_forward(*args, **settings)
        held.append(cache.up.lif.h.copy())  # (T, N, F)
        return s, cache

    monkeypatch.setattr(encoder_block, "mlp_forward", with_one_more)
    config, tokens, taps = STUDENTS[0]
    measured, taken = peak(config, tokens, taps=taps)
    assert measured > 1.05 * step_bytes(config, tokens, taps=taps, density=density(taken))


def test_training_holds_one_step_at_a_time(tmp_path):
    """What a step kept is free before the next one's forward pass."""
    cache = make_cache(tmp_path, train=60)
    config = student_config(cache, width=32, heads=2)
    corpus, rows = split_corpus(cache, "train"), teacher_word_rows(cache)[0]

    def peak_of(epochs):
        settings = TrainingSettings(epochs=epochs, batch_tokens=10_000)
        params = new_student(cache, config, settings)
        gc.collect()
        tracemalloc.start()
        train(params, config, settings, corpus, word_rows=rows, log=lambda _: None, quiet=True)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    peak_of(1)  # the kernels
    assert peak_of(3) < 1.1 * peak_of(1)
