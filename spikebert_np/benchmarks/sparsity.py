"""What firing less costs and buys: students of one seed, each trained under another penalty.

Letters: N packed tokens, S sentences.
"""

import numpy as np

from ..analysis.energy import millijoules
from ..data.batches import batch_indices, make_batch
from ..training.corpora import split_corpus
from ..training.inference import accuracy, count_corpus
from ..training.loop import batch_targets
from ..training.word_rows import starting_rows
from .timing import alternate, by_workers, ratio
from .training_step import new_step

ROUNDS = 15


def measure_sparsity(students, cache, *, rounds=ROUNDS, quiet=False):
    """One dict for each of students = {w_rate: (Run, TrainingSettings)}, of which one is 0.

    w_rate; on dev: `dev_accuracy`, `firing_rate` (the share of all neurons that fire) and
    `microjoules` of theoretical energy a sentence; `step`, the core-seconds of a training step over
    those of w_rate = 0: the median of so many batches of the train split, which all take by turns.
    quiet: no progress bar.
    """
    train, dev = split_corpus(cache, "train"), split_corpus(cache, "dev")
    _, settings = students[0.0]
    batches = batch_indices(
        train.offsets, max_tokens=settings.batch_tokens, rng=np.random.default_rng(settings.seed)
    )
    rows = starting_rows(cache, settings) if settings.w_emb else None
    work = []
    for index in batches[:rounds]:
        batch = make_batch(train.ids, train.offsets, train.labels, index)
        targets = batch_targets(train, index, settings.loss_weights, rows, np.float32)
        work.append((batch, targets))
    sides = {rate: by_workers(new_step(run, settings=own)) for rate, (run, own) in students.items()}
    times = alternate(sides, work)
    return [
        {"w_rate": rate, "step": ratio(times[rate], times[0.0]).cores} | _read(run, dev, quiet)
        for rate, (run, _) in students.items()
    ]


def _read(run, dev, quiet):
    """What a student makes of the corpus dev, and how."""
    counts = count_corpus(run.params, run.config, dev.ids, dev.offsets, quiet=quiet)
    return {
        "dev_accuracy": accuracy(counts.logits, dev.labels),
        "firing_rate": counts.firing_rate,
        "microjoules": 1e3 * millijoules(counts.layers)["literature"],
    }
