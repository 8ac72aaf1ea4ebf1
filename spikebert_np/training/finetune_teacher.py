"""Fine-tune the teacher: cross-entropy on labelled sentences, the best epoch by dev kept.

A run works in a hidden folder beside its own, `.NAME.partial`, and appears under its name when it
is whole. A run that was killed goes on from its last checkpoint when the same command is given
again, and ends with the very same weights: shuffling and dropout are drawn anew from the seed and
the number of the epoch or step, never from a generator that a kill would lose.

Letters: B sentences, N packed tokens, C classes.
"""

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from ..data.batches import batch_indices, make_batch
from ..errors import InputError
from ..layers.losses import cross_entropy_backward, cross_entropy_forward
from ..models.bert import POOLINGS, bert_backward, bert_forward
from .frozen_teacher import read_sentences
from .inference import accuracy
from .optim import adamw_step, clip_gradients
from .resume import read_checkpoint, write_checkpoint
from .schedule import warmup_cosine
from .workers import split_batch, sum_gradients

CHECKPOINT_SECONDS = 120


@dataclass(frozen=True)
class TeacherSettings:
    """How a teacher is fine-tuned. Raises ValueError for an unknown pooling."""

    epochs: int = 3
    batch_tokens: int = 768
    learning_rate: float = 1e-4
    layer_decay: float = 0.9
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    pooling: str = "first"
    patience: int = 2
    seed: int = 0

    def __post_init__(self):
        if self.pooling not in POOLINGS:
            raise ValueError(f'pooling = "{self.pooling}": choose "first" or "mean"')


def training_bytes(params, config, settings, workers):
    """About how much memory a run takes, the corpus and Python itself included.

    Weights, AdamW's two means and a copy while they are saved; each worker's gradients, whose
    embedding has only the batch's rows; and what a batch keeps for its backward pass.
    """
    weights = sum(value.size for value in params.values())
    gradients = weights - params["embeddings.word"].size
    d, f = config.width, config.mlp_width
    # Three maps of heads times, at most and seldom, 128 words.
    token = config.depth * (10 * d + 3 * f + 3 * config.heads * 64) + 4 * f
    return 4 * (4 * weights + workers * gradients + settings.batch_tokens * token) + 250_000_000


def new_classifier(params, config, classes, settings):
    """(config, params) with an untrained classifier of C classes and the settings' dropout.

    Its weights, and the pooler's where the teacher has none, are normal with a standard deviation
    of 0.02, BERT's own start. The other arrays are shared with `params`.
    """
    rng = np.random.default_rng(settings.seed)
    d, dtype = config.width, params["embeddings.word"].dtype

    def linear(d_out):
        return rng.normal(0, 0.02, (d, d_out)).astype(dtype), np.zeros(d_out, dtype)

    pooler, classifier = linear(d), linear(classes)
    params = dict(zip(("pooler.weight", "pooler.bias"), pooler, strict=True)) | params
    params |= zip(("classifier.weight", "classifier.bias"), classifier, strict=True)
    config = replace(
        config,
        classes=classes,
        pooling=settings.pooling,
        dropout=settings.dropout,
        attention_dropout=settings.dropout,
    )
    return config, params


def learning_rate_scales(params, depth, layer_decay):
    """{key: layer_decay to the power of the layers above it}; 1 for the pooler and classifier.

    What lies near the words is general and moves little; what lies near the task moves freely
    (Howard and Ruder 2018, arXiv 1801.06146).
    """

    def layers_above(key):
        if key.startswith("blocks."):
            return depth - int(key.split(".")[1])
        return depth + 1 if key.startswith("embeddings.") else 0

    return {key: layer_decay ** layers_above(key) for key in params}


def teacher_gradients(params, config, batch, run, workers, *, seed):
    """The loss of a batch, its logits (B, C) and the gradients of all parameters.

    Each worker takes a part of the sentences and draws its own dropout from `seed`, a list of
    integers. The loss is the mean over all B.
    """
    sentences = len(batch.labels)

    def part(first, last, worker):
        start, stop = batch.offsets[first], batch.offsets[last]
        output, cache = bert_forward(
            batch.ids[start:stop],
            batch.offsets[first : last + 1] - start,
            params,
            config,
            backend="numba",
            rng=np.random.default_rng([*seed, worker]),
            keep_cache=True,
        )
        loss, loss_cache = cross_entropy_forward(output.logits, batch.labels[first:last])
        share = (last - first) / sentences
        dlogits = cross_entropy_backward(share, loss_cache)
        return share * loss, output.logits, bert_backward(dlogits, cache)

    spans = split_batch(batch.offsets, workers)
    firsts, lasts = zip(*spans, strict=True)
    losses, logits, grads = zip(*run(part, firsts, lasts, range(len(spans))), strict=True)
    return sum(losses), np.concatenate(logits), sum_gradients(grads)


def teacher_logits(params, config, corpus, run):
    """(S, C) of all sentences of a Corpus, in its order, without dropout."""
    return read_sentences(corpus.ids, corpus.offsets, params, config, [], run=run)[1]["logits"]


def finetune_teacher(
    params, config, settings, train, dev, *, folder, run, workers, keep_best, log, quiet=False
):
    """Train in place, as the settings say, until the last epoch or until dev stands still.

    params: changed in place. train, dev: Corpus with labels. folder: where the checkpoint lies, and
    whence an earlier one is continued. run, workers: of `training.workers`. keep_best: called with
    the parameters after each epoch that is better on dev than all before. log: called with all
    records so far after each epoch, one dict an epoch. quiet: no progress bar.
    Returns the records. Raises InputError if the loss overflows.
    """
    from tqdm import tqdm

    checkpoint = folder / "checkpoint.npz"
    scales = learning_rate_scales(params, config.depth, settings.layer_decay)
    state, records, sums = read_checkpoint(checkpoint, params)
    epochs = [
        batch_indices(
            train.offsets,
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
            batch = make_batch(train.ids, train.offsets, train.labels, index)
            loss, logits, grads = teacher_gradients(
                params, config, batch, run, workers, seed=[settings.seed, state.step, 1]
            )
            if not np.isfinite(loss):
                raise InputError(
                    f"the loss is {loss} at step {state.step + 1}: lower --learning-rate "
                    f"(now {settings.learning_rate})"
                )
            clip_gradients(grads, settings.clip_norm, run=run)
            rate = warmup_cosine(
                state.step, total_steps, peak=settings.learning_rate, warmup=settings.warmup
            )
            state = adamw_step(
                params,
                grads,
                state,
                learning_rate=rate,
                weight_decay=settings.weight_decay,
                scales=scales,
                backend="numba",
                run=run,
            )
            values = {
                "sentences": len(index),
                "loss": float(loss) * len(index),
                "train_accuracy": accuracy(logits, batch.labels) * len(index),
                "tokens": len(batch.ids),
                "seconds": perf_counter() - started,
            }
            sums = {name: sums.get(name, 0) + value for name, value in values.items()}
            bar.set_postfix(loss=f"{sums['loss'] / sums['sentences']:.4f}")
            if perf_counter() - saved > CHECKPOINT_SECONDS:
                write_checkpoint(checkpoint, params, state, records, sums)
                saved = perf_counter()
        dev_accuracy = accuracy(teacher_logits(params, config, dev, run), dev.labels)
        if dev_accuracy > max((record["dev_accuracy"] for record in records), default=-1):
            keep_best(params)
        records.append(_record(epoch, state.step, sums, dev_accuracy))
        sums = {}
        write_checkpoint(checkpoint, params, state, records, sums)
        log(records)
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
