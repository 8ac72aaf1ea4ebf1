"""What a student makes of a whole corpus, batch by batch.

Letters: T spike steps, S sentences, B those of a batch, N packed tokens, D width, C classes.
"""

from typing import NamedTuple

import numpy as np

from ..analysis.firing import mean_firing_rate
from ..analysis.operations import count_student, mean_counts
from ..data.batches import batch_indices, make_batch
from ..data.tokenizer import encode_texts
from ..models.kinds import kind_of
from ..models.spikebert import spikebert_forward
from .workers import worker_count, workers

# A batch: enough rows to keep the matrix products busy; fewer where a worker would have none.
READING_TOKENS = 1024


def classify(texts, tokenizer, params, config):
    """Logits (S, C) of S texts, and how many of them were cut to the model's max_tokens."""
    encoded = encode_texts(tokenizer, texts, max_tokens=config.max_tokens)
    count = worker_count()
    with workers(count) as run:
        logits = predict_logits(
            params,
            config,
            encoded.ids,
            encoded.offsets,
            max_tokens=tokens_a_batch(encoded.offsets, count),
            run=run,
        )
    return logits, encoded.truncated


def tokens_a_batch(offsets, count):
    """READING_TOKENS, or fewer, so that each of count workers has a share of the sentences."""
    share = -(-int(offsets[-1]) // count)
    longest = int(np.diff(offsets).max(initial=0))
    return min(READING_TOKENS, share + (longest if count > 1 else 0))


def predict_logits(
    params, config, ids, offsets, *, max_tokens=READING_TOKENS, backend="numba", run=map
):
    """(S, C) float32 in the corpus' order, from ids (N,) and offsets (S + 1,).

    run: `map`, or that of `training.workers`, which reads several batches at once.
    """
    forward = kind_of(config).forward
    logits = np.empty((len(offsets) - 1, config.classes), np.float32)

    def read(index):
        batch = make_batch(ids, offsets, None, index)
        output, _ = forward(batch.ids, batch.offsets, params, config, backend=backend, taps=False)
        logits[index] = output.logits

    list(run(read, batch_indices(offsets, max_tokens=max_tokens)))
    return logits


class Counts(NamedTuple):
    logits: np.ndarray  # (S, C)
    firing_rate: float  # the share of all neurons that fire
    layers: list  # of LayerCount, a sentence


def count_corpus(params, config, ids, offsets, *, quiet=False):
    """The Counts of a student that spikes on ids (N,) and offsets (S + 1,). quiet: no bar."""
    from tqdm import tqdm

    forward = kind_of(config).forward
    logits = np.empty((len(offsets) - 1, config.classes), np.float32)
    rates, layers = [], []
    batches = batch_indices(offsets, max_tokens=READING_TOKENS)
    for index in tqdm(batches, desc="count", leave=False, disable=quiet):
        batch = make_batch(ids, offsets, None, index)
        output, cache = forward(batch.ids, batch.offsets, params, config, taps=False)
        logits[index] = output.logits
        rates.append(mean_firing_rate(cache) * len(batch.ids))
        layers.append(count_student(cache))
    rate = sum(rates) / int(offsets[-1] - offsets[0])
    return Counts(logits, rate, mean_counts(layers, [len(index) for index in batches]))


def pooled_features(params, config, ids, offsets):
    """(S, D) float32: what the head of a SpikeBERT would read, the layer-normed spike counts of the
    last block, averaged over the sentence's tokens and the T steps."""
    from tqdm import tqdm

    features = np.empty((len(offsets) - 1, config.width), np.float32)
    batches = batch_indices(offsets, max_tokens=READING_TOKENS)
    for index in tqdm(batches, desc="read", leave=False):
        batch = make_batch(ids, offsets, None, index)
        _, cache = spikebert_forward(batch.ids, batch.offsets, params, config, taps=False)
        features[index] = cache.head.linear.x.mean(axis=0)  # (T, B, D) -> (B, D)
    return features


def accuracy(logits, labels):
    """The share of sentences whose largest logit is their label's."""
    return float((logits.argmax(axis=-1) == labels).mean())
