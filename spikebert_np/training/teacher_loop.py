"""The loop that trains a teacher, on masked words or on a task; the best epoch by dev is kept.

A run works in a hidden folder beside its own, `.NAME.partial`, and appears under its name when it
is whole. A run that was killed goes on from its last checkpoint when the same command is given
again, and ends with the very same weights: shuffling, masks and dropout are drawn anew from the
seed and the number of the epoch or step, never from a generator that a kill would lose.
"""

import shutil
from time import perf_counter

import numpy as np

from ..data.batches import batch_indices, make_batch
from ..errors import InputError
from .optim import update
from .resume import read_checkpoint, write_checkpoint
from .schedule import warmup_cosine

CHECKPOINT_SECONDS = 120
PYTHON_BYTES = 350_000_000  # Python itself, what it has imported, and a corpus


def training_bytes(params, config, settings, workers, longest):
    """About how much memory a run takes, the corpus and Python itself included.

    longest: tokens of the longest training sentence: attention maps grow with its square.
    Weights, AdamW's two means and two copies while the best are saved; each worker's gradients,
    whose words are only the batch's unless words are said, too; and what a batch keeps for its
    backward pass.
    """
    weights = gradients = sum(value.size for value in params.values())
    d, f = config.width, config.mlp_width
    # Of each block, three attention maps included; and a backward pass.
    token = config.depth * (10 * d + 3 * f + 3 * config.heads * longest) + 4 * f
    if "mlm.bias" in params:
        token += config.vocab_size // 2  # three numbers a word, at one token in six
    else:
        gradients -= params["embeddings.word"].size
    step = workers * gradients + settings.batch_tokens * token
    return 4 * (5 * weights + step) + PYTHON_BYTES


def train_teacher(
    params,
    settings,
    corpus,
    *,
    gradients,
    measure,
    scales=None,
    folder,
    run,
    keep_best,
    log,
    quiet=False,
):
    """Train in place, as the settings say, until the last epoch or until dev stands still.

    params: changed in place. settings: TeacherSettings or PretrainingSettings. corpus: Corpus.
    gradients: a function of a batch and a seed (a list of integers) that returns the loss, the
    share of right answers and the dict of gradients. measure: a function that returns the accuracy
    on dev. scales: as in adamw_step. folder: where the checkpoint lies, an earlier one too. run: of
    `training.workers`. keep_best: called after each epoch that is better on dev than all before.
    log: called with all records so far after each epoch, one dict an epoch. quiet: no progress bar.
    Returns the records. Raises InputError where the loss or a gradient is not finite; then the
    folder is deleted.
    """
    from tqdm import tqdm

    checkpoint = folder / "checkpoint.npz"
    state, records, sums = read_checkpoint(checkpoint, params)
    epochs = [
        batch_indices(
            corpus.offsets,
            max_tokens=settings.batch_tokens,
            rng=np.random.default_rng([settings.seed, epoch]),
        )
        for epoch in range(settings.epochs)
    ]
    total_steps = sum(map(len, epochs))
    first_step, saved = 0, perf_counter()
    for epoch, batches in enumerate(epochs, start=1):
        skipped = state.step - first_step
        first_step += len(batches)
        if skipped >= len(batches) and len(records) >= epoch:
            continue
        if _stands_still(records, settings.patience):
            break
        bar = tqdm(
            batches[skipped:],
            desc=f"epoch {epoch}/{settings.epochs}",
            initial=skipped,
            total=len(batches),
            disable=quiet,
        )
        for index in bar:
            started = perf_counter()
            batch = make_batch(corpus.ids, corpus.offsets, corpus.labels, index)
            loss, right, grads = gradients(batch, [settings.seed, state.step])
            step = state.step
            rate = warmup_cosine(
                step, total_steps, peak=settings.learning_rate, warmup=settings.warmup
            )
            state, norm = update(
                params, grads, state, rate, settings, scales=scales, backend="numba", run=run
            )
            for what, value in (("loss", loss), ("gradient's norm", norm)):
                if not np.isfinite(value):
                    shutil.rmtree(folder)  # its checkpoint leads here again
                    raise InputError(
                        f"the {what} is {value} at step {step + 1}: lower --learning-rate "
                        f"(now {settings.learning_rate})"
                    )
            del grads  # before the next step makes its own
            values = {
                "sentences": len(index),
                "loss": float(loss) * len(index),
                "train_accuracy": right * len(index),
                "tokens": len(batch.ids),
                "seconds": perf_counter() - started,
            }
            sums = {name: sums.get(name, 0) + value for name, value in values.items()}
            bar.set_postfix(loss=f"{sums['loss'] / sums['sentences']:.4f}")
            if perf_counter() - saved > CHECKPOINT_SECONDS:
                write_checkpoint(checkpoint, params, state, records, sums)
                saved = perf_counter()
        dev_accuracy = measure()
        if dev_accuracy > max((record["dev_accuracy"] for record in records), default=-1):
            keep_best()
        records.append(_record(epoch, state.step, sums, dev_accuracy))
        sums = {}
        # In this order: what a kill leaves undone is done again from the checkpoint before.
        log(records)
        write_checkpoint(checkpoint, params, state, records, sums)
    return records


def _record(epoch, step, sums, dev_accuracy):
    return {
        "epoch": epoch,
        "step": step,
        "loss": sums["loss"] / sums["sentences"],
        "train_accuracy": sums["train_accuracy"] / sums["sentences"],
        "dev_accuracy": dev_accuracy,
        "seconds": sums["seconds"],
        "tokens_per_second": sums["tokens"] / sums["seconds"],
    }


def _stands_still(records, patience):
    """Whether the best dev accuracy is `patience` epochs old."""
    if not records:
        return False
    best = max(records, key=lambda record: record["dev_accuracy"])
    return len(records) - best["epoch"] >= patience
