"""Fine-tune the teacher: cross-entropy on labelled sentences.

Letters: B sentences, N packed tokens, C classes.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..blocks.pooler_head import POOLINGS
from ..layers.losses import cross_entropy_backward, cross_entropy_forward
from ..models.bert import bert_backward, bert_forward
from .frozen_teacher import read_sentences
from .inference import accuracy
from .ranges import check_ranges
from .workers import split_batch, sum_gradients


@dataclass(frozen=True)
class TeacherSettings:
    """How a teacher is fine-tuned.

    Raises ValueError for a number that is out of range, and an unknown pooling.
    """

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
        check_ranges(
            self,
            from_zero="warmup weight_decay dropout seed",
            above_zero="epochs batch_tokens learning_rate layer_decay clip_norm patience",
            at_most_one="warmup layer_decay",
            below_one="dropout",
        )
        if self.pooling not in POOLINGS:
            raise ValueError(f'pooling = "{self.pooling}": choose "first" or "mean"')


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
    """The mean loss of a batch, the share that is classified right, and all gradients.

    Each worker takes a part of the sentences and draws its own dropout from `seed`, a list of
    integers.
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
            rng=np.random.default_rng([*seed, 1, worker]),
            keep_cache=True,
        )
        loss, loss_cache = cross_entropy_forward(output.logits, batch.labels[first:last])
        share = (last - first) / sentences
        dlogits = cross_entropy_backward(share, loss_cache)
        right = share * accuracy(output.logits, batch.labels[first:last])
        return share * loss, right, bert_backward(dlogits, cache)

    spans = split_batch(batch.offsets, workers)
    firsts, lasts = zip(*spans, strict=True)
    losses, right, grads = zip(*run(part, firsts, lasts, range(len(spans))), strict=True)
    return sum(losses), sum(right), sum_gradients(grads)


def teacher_accuracy(params, config, corpus, run):
    """The share of a labelled Corpus that is classified right, without dropout."""
    _, values = read_sentences(corpus.ids, corpus.offsets, params, config, [], run=run)
    return accuracy(values["logits"], corpus.labels)
