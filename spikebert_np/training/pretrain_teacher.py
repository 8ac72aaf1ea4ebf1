"""A teacher from nothing: a BERT that learns to guess masked words.

Letters: N packed tokens, K masked ones, B sentences, V vocabulary, D width.
"""

from dataclasses import asdict, dataclass

import numpy as np

from ..blocks.masked_lm_head import masked_lm_head_backward, masked_lm_head_forward
from ..data.batches import batch_indices, make_batch
from ..data.masking import mask_tokens
from ..data.vocabulary import SPECIALS
from ..layers.losses import cross_entropy_backward, cross_entropy_forward
from ..layers.parameters import select, with_prefix
from ..models.bert import bert_backward, bert_forward
from ..models.bert_checkpoint import tensor_names
from .frozen_teacher import READING_TOKENS
from .ranges import check_ranges
from .workers import split_batch, sum_gradients

SPECIAL_IDS = np.arange(len(SPECIALS))
MASK_ID = SPECIALS.index("[MASK]")


@dataclass(frozen=True)
class PretrainingSettings:
    """How a teacher is pre-trained. Raises ValueError for a number that is out of range."""

    epochs: int = 10
    batch_tokens: int = 2048
    learning_rate: float = 5e-4
    warmup: float = 0.05
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    patience: int = 3
    seed: int = 0

    def __post_init__(self):
        check_ranges(
            self,
            from_zero="warmup weight_decay dropout seed",
            above_zero="epochs batch_tokens learning_rate clip_norm patience",
            at_most_one="warmup",
            below_one="dropout",
        )


@dataclass(frozen=True)
class TeacherShape:
    """The size of a BERT from nothing. Raises ValueError where a number does not do.

    vocab_size: word pieces at most; layers: blocks; hidden: width D.
    """

    vocab_size: int = 8000
    layers: int = 4
    hidden: int = 256
    heads: int = 4

    def __post_init__(self):
        for name, value in asdict(self).items():
            least = len(SPECIALS) + 1 if name == "vocab_size" else 1
            if value < least:
                raise ValueError(f"{name} = {value}: it must be at least {least}")
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is no multiple of heads {self.heads}")


def init_bert(config, rng):
    """Starting parameters of the encoder and, under `mlm.`, of the head for masked words.

    Weights and embeddings are normal with a standard deviation of 0.02, gains 1, biases 0: BERT's
    own start. All float32.
    """
    d = config.width
    shapes = {key: shape for key, (_, shape) in tensor_names(config).items()}
    shapes |= {"mlm.dense.weight": (d, d), "mlm.dense.bias": (d,), "mlm.norm.gain": (d,)}
    shapes |= {"mlm.norm.bias": (d,), "mlm.bias": (config.vocab_size,)}
    return {
        key: np.full(shape, key.endswith(".gain"), np.float32)
        if len(shape) == 1
        else 0.02 * rng.standard_normal(shape, np.float32)
        for key, shape in shapes.items()
    }


def masked_word_gradients(params, config, batch, run, workers, *, seed):
    """The mean cross-entropy of a batch's masked words, the share guessed, and all gradients.

    The mask is drawn for the whole batch from `seed`, a list of integers; each worker takes a part
    of the sentences and draws its own dropout.
    """
    masked = _mask(batch, config, np.random.default_rng([*seed, 2]))
    total = len(masked.targets)
    head, words = select(params, "mlm."), params["embeddings.word"]

    def part(first, last, worker):
        start, stop = batch.offsets[first], batch.offsets[last]
        inside = (masked.positions >= start) & (masked.positions < stop)
        output, cache = bert_forward(
            masked.ids[start:stop],
            batch.offsets[first : last + 1] - start,
            params,
            config,
            backend="numba",
            rng=np.random.default_rng([*seed, 1, worker]),
            keep_cache=True,
        )
        logits, head_cache = masked_lm_head_forward(
            output.hidden[-1],
            masked.positions[inside] - start,
            head,
            words,
            eps=config.norm_eps,
            backend="numba",
        )
        targets = masked.targets[inside]
        loss, loss_cache = cross_entropy_forward(logits, targets)
        share = len(targets) / total
        dhidden, dwords, dhead = masked_lm_head_backward(
            cross_entropy_backward(share, loss_cache), head_cache
        )
        grads = bert_backward(None, cache, dhidden=dhidden)
        # The words are read and said: both gradients meet in them, the second in every row.
        read = grads["embeddings.word"]
        dwords = np.ascontiguousarray(dwords)
        dwords[read.ids] += read.rows
        grads["embeddings.word"] = dwords
        right = (logits.argmax(axis=1) == targets).sum()
        return share * loss, right, grads | with_prefix(dhead, "mlm.")

    spans = split_batch(batch.offsets, workers)
    firsts, lasts = zip(*spans, strict=True)
    losses, right, grads = zip(*run(part, firsts, lasts, range(len(spans))), strict=True)
    return sum(losses), sum(right) / total, sum_gradients(grads)


def masked_word_accuracy(params, config, corpus, run, *, seed):
    """The share of a Corpus' masked words that are guessed; the same ones are masked each time."""
    batches = batch_indices(corpus.offsets, max_tokens=READING_TOKENS)

    def read(number, index):
        batch = make_batch(corpus.ids, corpus.offsets, None, index)
        masked = _mask(batch, config, np.random.default_rng([seed, number]))
        output, _ = bert_forward(masked.ids, batch.offsets, params, config, backend="numba")
        logits, _ = masked_lm_head_forward(
            output.hidden[-1],
            masked.positions,
            select(params, "mlm."),
            params["embeddings.word"],
            eps=config.norm_eps,
            backend="numba",
        )
        return (logits.argmax(axis=1) == masked.targets).sum(), len(masked.targets)

    right, asked = zip(*run(read, range(len(batches)), batches), strict=True)
    return float(sum(right) / sum(asked))


def _mask(batch, config, rng):
    return mask_tokens(
        batch.ids,
        batch.offsets,
        specials=SPECIAL_IDS,
        mask_id=MASK_ID,
        vocab_size=config.vocab_size,
        rng=rng,
    )
