"""Exercises of chapter 08: distillation, what the cache holds and each loss's gradient.

Letters: T spike steps, N packed tokens, B sentences, C classes, V vocabulary, R distinct ids.
"""

import numpy as np

from ..blocks.distillation_tap import distillation_tap_backward
from ..layers.layernorm import layernorm_backward
from ..layers.linear import linear_backward
from ..layers.losses import (
    cross_entropy_backward,
    kl_divergence_backward,
    kl_divergence_forward,
    mse_backward,
    mse_forward,
)
from ..layers.pooling import mean_over_time_backward
from ..models.spikebert import (
    SpikeBertConfig,
    init_spikebert,
    spikebert_backward,
    spikebert_forward,
)
from ..training.distill import (
    LossWeights,
    Targets,
    distillation_backward,
    distillation_forward,
)
from .bug_hunt import bugs, find_the_bugs
from .exercise import Wrong, backward, function, prediction

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["BUGS", "gradients_by_loss", "kl_gradients"]

# --- 8.1 what the cache holds -------------------------------------------------------------------

# Of the cache that ships: the first offsets, and its counts.
FIRST_OFFSETS = np.array([0, 14, 21, 34, 47])
TOKENS, HIDDEN_SENTENCES, HIDDEN_TOKENS, WIDTH = 22376, 300, 3427, 384
LAYER_OF_BLOCK = {0: 3, 1: 6}


def cache_by(first=3, *, bytes_a_number=2, specials=0, block=1):
    """The answers, of the sentence that begins at offsets[first]."""
    tokens = FIRST_OFFSETS[first + 1] - FIRST_OFFSETS[first]
    return {
        "first row of sentence 3": FIRST_OFFSETS[first],
        "tokens of sentence 3": tokens - specials,
        "kB of its hidden states": tokens * WIDTH * bytes_a_number / 1000,
        "MB of hidden_6.npy": HIDDEN_TOKENS * WIDTH * bytes_a_number / 1e6,
        "hidden states of sentence 300": "no",
        "layer of student block 1": LAYER_OF_BLOCK[block],
    }


def cache_wrong(name, sentence, *keys, **settings):
    """A Wrong that answers `keys` as `cache_by` does with other settings."""
    return Wrong(name, lambda: {key: cache_by(**settings)[key] for key in keys}, sentence)


ex_08_1 = prediction(
    "8.1",
    cache_by,
    name="read_manifest",
    wrong=[
        cache_wrong("sentences counted from 1",
                    "sentences count from 0: sentence 3 is the fourth, from offsets[3] on",
                    "first row of sentence 3", first=2),
        cache_wrong("[CLS] and [SEP] not counted",
                    "offsets count every token, and [CLS] and [SEP] are tokens with a row each",
                    "tokens of sentence 3", specials=2),
        Wrong("the end for the length", lambda: {"tokens of sentence 3": FIRST_OFFSETS[4]},
              "offsets are places, not lengths: the length is the next offset less this one"),
        cache_wrong("float32 for float16", "a float16 takes two bytes",
                    "MB of hidden_6.npy", bytes_a_number=4),
        cache_wrong("a byte a number", "float16 has 16 bits, two bytes",
                    "MB of hidden_6.npy", bytes_a_number=1),
        Wrong("width left out", lambda: {"kB of its hidden states": 13 * 2 / 1000},
              "each token has a row of 384 numbers"),
        Wrong("all tokens", lambda: {"MB of hidden_6.npy": TOKENS * WIDTH * 2 / 1e6},
              "the file holds the tokens of the first 300 sentences alone: hidden_tokens"),
        Wrong("all sentences have them", lambda: {"hidden states of sentence 300": "yes"},
              "the first 300 sentences are those from 0 to 299"),
        cache_wrong("the other block's layer",
                    "the manifest's student_blocks reads teacher's layer: student's block, from 0",
                    "layer of student block 1", block=0),
        Wrong("the block's own number", lambda: {"layer of student block 1": 1},
              "the student has 2 blocks, the teacher 6: student_blocks says which is compared"),
    ],
)  # fmt: skip

# --- 8.2 cross-entropy --------------------------------------------------------------------------


def one_hot(cache):
    """(B, C), a row of zeros where there is no label."""
    probabilities, labels = cache
    return np.eye(probabilities.shape[1])[labels] * (labels >= 0)[:, None]


def labelled(cache):
    return (cache.labels >= 0)[:, None]


ex_08_2 = backward("8.2", "cross_entropy", wrong=[
    Wrong("sign flipped", lambda dloss, cache: -cross_entropy_backward(dloss, cache)),
    Wrong("one-hot's sign", lambda dloss, cache:
          dloss * (cache.probabilities * labelled(cache) + one_hot(cache)) / len(cache.labels)),
    Wrong("divided by the labelled sentences only", lambda dloss, cache:
          cross_entropy_backward(dloss, cache) * len(cache.labels) / labelled(cache).sum()),
    Wrong("divided by the classes", lambda dloss, cache:
          cross_entropy_backward(dloss, cache) / cache.probabilities.shape[1]),
])  # fmt: skip

# --- 8.3 the KL divergence ----------------------------------------------------------------------


def reversed_kl(dloss, cache):
    """The gradient of KL(student || teacher)."""
    q, p, temperature = cache
    ratio = np.log(q) - np.log(p)
    centred = ratio - (q * ratio).sum(axis=-1, keepdims=True)
    return q * centred * (dloss * temperature / len(q))


ex_08_3 = backward("8.3", "kl_divergence", wrong=[
    Wrong("reversed divergence", reversed_kl),
    Wrong("not divided by the batch", lambda dloss, cache:
          kl_divergence_backward(dloss, cache) * len(cache.student)),
    Wrong("temperature of the logits missing", lambda dloss, cache:
          (cache.student - cache.teacher) * (dloss / len(cache.student))),
])  # fmt: skip

# --- 8.4 the limit of a high temperature --------------------------------------------------------


def high_temperature_gradient(logits, teacher_logits):
    """What dKL/dlogits, with the factor temperature², tends to as the temperature grows."""
    gap = logits - teacher_logits
    return (gap - gap.mean(axis=-1, keepdims=True)) / gap.size


def draw_logits(rng):
    return rng.normal(0.5, 1, (4, 3)), rng.normal(-1, 2, (4, 3))


def centred(x):
    return x - x.mean(axis=-1, keepdims=True)


ex_08_4 = function(
    "8.4",
    high_temperature_gradient,
    draw_logits,
    outputs=("dlogits",),
    wrong=[
        Wrong("means not subtracted", lambda z, v: (z - v) / z.size,
              "softmax sees no number that is added to a whole row: each row's mean falls out"),
        Wrong("only the student's mean subtracted", lambda z, v: (centred(z) - v) / z.size,
              "both rows lose their mean, the teacher's too"),
        Wrong("classes not counted", lambda z, v: centred(z - v) / len(z),
              "1 / C: at a high temperature each of the C classes has nearly the share 1 / C"),
        Wrong("not divided by the batch", lambda z, v: centred(z - v) / z.shape[1],
              "the loss is a mean over the B sentences"),
        Wrong("sign flipped", lambda z, v: -centred(z - v) / z.size),
        Wrong("mean over the batch", lambda z, v: ((z - v) - (z - v).mean(axis=0)) / z.size,
              "the mean is each sentence's own, over its classes: axis=-1"),
        Wrong("one mean for all", lambda z, v: ((z - v) - (z - v).mean()) / z.size,
              "the mean is each sentence's own, over its classes: axis=-1, keepdims=True"),
        Wrong("2 too many", lambda z, v: 2 * centred(z - v) / z.size,
              "the gradient is τ (q - p) / B, and q - p is (z - v) / (C τ) without a 2"),
        Wrong("temperature 1", lambda z, v: (np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
              - np.exp(v) / np.exp(v).sum(axis=-1, keepdims=True)) / len(z),
              "this is the gradient at τ = 1; expand both softmaxes for a large τ"),
    ],
)  # fmt: skip


def kl_gradients(temperatures, logits, teacher_logits):
    """(norms of dKL/dlogits with the factor temperature², and without), a number a temperature."""
    kept, without = [], []
    for temperature in temperatures:
        _, cache = kl_divergence_forward(logits, teacher_logits, temperature=float(temperature))
        norm = float(np.linalg.norm(kl_divergence_backward(1.0, cache)))
        kept.append(norm)
        without.append(norm / temperature**2)
    return kept, without


# --- 8.5 the tap --------------------------------------------------------------------------------

NORMED = {"tap": "linear_norm"}


def tap_by(*, norm=layernorm_backward, linear=linear_backward, time=mean_over_time_backward):
    """distillation_tap_backward with another backward pass of a layer."""

    def wrong(dtap, cache):
        dparams = {}
        dtap, dparams["norm.gain"], dparams["norm.bias"] = norm(dtap, cache.norm)
        dtap, dparams["weight"], dparams["bias"] = linear(dtap, cache.linear)
        return time(dtap, cache.time), dparams

    return wrong


def last_step_alone(dy, cache):
    dx = np.zeros((cache.steps, *dy.shape))
    dx[-1] = dy / cache.steps
    return dx


def tap_fed_from_above(dtap, cache):
    """The linear layer gets the gradient from before the norm for its own parameters."""
    dx, dparams = distillation_tap_backward(dtap, cache)
    _, dparams["weight"], dparams["bias"] = linear_backward(dtap, cache.linear)
    return dx, dparams


ex_08_5 = backward("8.5", "distillation_tap", variant=NORMED, wrong=[
    Wrong("not divided by T", tap_by(
        time=lambda dy, cache: np.broadcast_to(dy, (cache.steps, *dy.shape)))),
    Wrong("last step only", tap_by(time=last_step_alone)),
    Wrong("gain left out", tap_by(
        norm=lambda dy, cache: (
            layernorm_backward(dy, cache._replace(gain=np.ones_like(cache.gain)))[0],
            *layernorm_backward(dy, cache)[1:]))),
    Wrong("averaged, not summed", tap_by(
        linear=lambda dy, cache: (
            linear_backward(dy, cache)[0], linear_backward(dy, cache)[1], dy.mean(axis=0)))),
    Wrong("in the wrong order: linear", tap_fed_from_above),
])  # fmt: skip

# --- 8.6 the feature loss, in chunks and fused --------------------------------------------------


class RowsOnDisk:
    """Rows (N, D) as float16 that are read by slices; more than `limit` rows at once is refused."""

    def __init__(self, rows, limit):
        self.rows, self.limit, self.shape = rows.astype(np.float16), limit, rows.shape

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, rows):
        if not isinstance(rows, slice) or len(self.rows[rows]) > self.limit:
            raise ValueError(f"read at most {self.limit} rows at once, target[start:stop]")
        return self.rows[rows]


def feature_loss_in_chunks(features, target, chunk):
    """L = mean((features - target)²) and dL/dfeatures, `chunk` rows at a time.

    features: (N, D). target: (N, D), float16 on disk, sliced by rows. Returns L and (N, D).
    """
    total, dfeatures = 0.0, np.empty_like(features)
    for start in range(0, len(features), chunk):
        rows = slice(start, start + chunk)
        difference = features[rows] - target[rows]
        total += np.square(difference).sum()
        dfeatures[rows] = 2 / features.size * difference
    return total / features.size, dfeatures


def draw_features(rng):
    """Eleven tokens, in chunks of four: the last has three."""
    features, target = rng.normal(0.3, 1, (2, 11, 5))
    return features, RowsOnDisk(target, 4), 4


def chunks_by(*, loss=None, gradient=None, last=None):
    """feature_loss_in_chunks with another total, gradient, or end."""

    def wrong(features, target, chunk):
        N = len(features)
        parts, dfeatures = [], np.zeros_like(features)
        for start in range(0, N if last is None else last(N, chunk), chunk):
            rows = slice(start, start + chunk)
            difference = features[rows] - target[rows]
            parts.append(difference)
            dfeatures[rows] = gradient(difference, features) if gradient else \
                2 * difference / features.size  # fmt: skip
        total = sum(np.square(part).sum() for part in parts) / features.size
        return loss(parts, features) if loss else total, dfeatures

    return wrong


ex_08_6 = function(
    "8.6",
    feature_loss_in_chunks,
    draw_features,
    name="feature_loss",
    outputs=("loss", "dfeatures"),
    wrong=[
        Wrong("mean of the chunks' means", chunks_by(
            loss=lambda parts, x: np.mean([np.square(part).mean() for part in parts])),
              "the last chunk is shorter, and its mean must not weigh as much: add up sums, and "
              "divide once"),
        Wrong("loss not divided", chunks_by(
            loss=lambda parts, x: sum(np.square(part).sum() for part in parts)),
              "the loss is the mean over all N D entries: divide the sum by features.size"),
        Wrong("last chunk's loss only", chunks_by(
            loss=lambda parts, x: np.square(parts[-1]).sum() / x.size),
              "the chunks' sums add up: +=, not ="),
        Wrong("divided by the chunk's size", chunks_by(
            gradient=lambda d, x: 2 * d / d.size),
              "the mean runs over the whole batch, and so does its gradient's: features.size"),
        Wrong("2 missing", chunks_by(gradient=lambda d, x: d / x.size)),
        Wrong("divided by the rows only", chunks_by(gradient=lambda d, x: 2 * d / len(x))),
        Wrong("divided by the rows only", chunks_by(
            loss=lambda parts, x: sum(np.square(part).sum() for part in parts) / len(x),
            gradient=lambda d, x: 2 * d / len(x))),
        Wrong("sign flipped", chunks_by(gradient=lambda d, x: -2 * d / x.size)),
        Wrong("last chunk left out", chunks_by(last=lambda N, chunk: N - chunk + 1),
              "N need not be a multiple of the chunk: range(0, N, chunk), the last one shorter"),
        Wrong("not squared", chunks_by(
            loss=lambda parts, x: sum(np.abs(part).sum() for part in parts) / x.size),
              "this is the mean absolute difference; the MSE squares it"),
    ],
)  # fmt: skip

# --- 8.7 the embedding loss ---------------------------------------------------------------------


def embedding_loss(embedding, word_rows, ids):
    """The MSE between the two's rows of the batch's distinct ids, and its gradient.

    embedding, word_rows: (V, D_emb), ids: (N,). Returns L, the ids (R,) ascending, and (R, D_emb).
    """
    distinct = np.unique(ids)
    loss, cache = mse_forward(embedding[distinct], word_rows[distinct])
    return loss, distinct, mse_backward(1.0, cache)


def draw_words(rng):
    ids = rng.integers(0, 6, 9)
    ids[-2:] = ids[0]  # a word that stands three times
    return *rng.normal(0.2, 1, (2, 9, 4)), ids


def embedding_by(rows=None, scale=None):
    """embedding_loss over other rows, or with another factor of its gradient."""

    def wrong(embedding, word_rows, ids):
        loss, distinct, gradient = embedding_loss(embedding, word_rows, ids)
        if rows is not None:
            distinct = rows(embedding, ids)
            loss, cache = mse_forward(embedding[distinct], word_rows[distinct])
            gradient = mse_backward(1.0, cache)
        return loss, distinct, gradient * (scale(gradient) if scale else 1)

    return wrong


def counted(embedding, word_rows, ids):
    """A word counts as often as it stands."""
    distinct, count = np.unique(ids, return_counts=True)
    difference = embedding[distinct] - word_rows[distinct]
    size = len(ids) * embedding.shape[1]
    loss = (count[:, None] * np.square(difference)).sum() / size
    return loss, distinct, 2 * count[:, None] * difference / size


def divided_by_the_vocabulary(embedding, word_rows, ids):
    loss, distinct, gradient = embedding_loss(embedding, word_rows, ids)
    share = len(distinct) / len(embedding)
    return loss * share, distinct, gradient * share


def all_words_compared(embedding, word_rows, ids):
    loss, cache = mse_forward(embedding, word_rows)
    distinct = np.unique(ids)
    return loss, distinct, mse_backward(1.0, cache)[distinct]


def divided_by_the_tokens(embedding, word_rows, ids):
    loss, distinct, gradient = embedding_loss(embedding, word_rows, ids)
    return loss, distinct, gradient * len(distinct) / len(ids)


def a_row_for_every_word(embedding, word_rows, ids):
    loss, distinct, gradient = embedding_loss(embedding, word_rows, ids)
    rows = np.zeros_like(embedding)
    rows[distinct] = gradient
    return loss, distinct, rows


ex_08_7 = function(
    "8.7",
    embedding_loss,
    draw_words,
    outputs=("loss", "distinct ids", "rows"),
    wrong=[
        Wrong("a row a token", embedding_by(rows=lambda embedding, ids: ids),
              "a word that stands three times has one row: np.unique(ids)"),
        Wrong("words weighed by their number", counted,
              "each word counts once, however often it stands: no word is held more firmly"),
        Wrong("the whole vocabulary", embedding_by(
            rows=lambda embedding, ids: np.arange(len(embedding))),
              "only the rows of this batch: V is 30,522 in BERT, a batch has some hundred"),
        Wrong("divided by the vocabulary", divided_by_the_vocabulary,
              "the mean runs over the R D_emb numbers of the distinct rows, not over V D_emb"),
        Wrong("all words compared", all_words_compared,
              "the mean runs over the R D_emb numbers of the distinct rows, not over all of E"),
        Wrong("divided by the tokens", divided_by_the_tokens,
              "there are R distinct rows, and not N: divide by the size of what is compared"),
        Wrong("a row for every word", a_row_for_every_word,
              "return the R rows of the distinct ids alone: the others are not written down"),
        Wrong("2 missing", embedding_by(scale=lambda rows: 0.5)),
        Wrong("divided by the rows only", embedding_by(scale=lambda rows: rows.shape[1])),
        Wrong("sign flipped", embedding_by(scale=lambda rows: -1)),
        Wrong("not divided", embedding_by(scale=lambda rows: rows.size),
              "the loss is a mean: its gradient is divided by R D_emb"),
    ],
)  # fmt: skip

# --- 8.8 read a plot: which loss moves what -----------------------------------------------------

PUBLISHED = LossWeights(ce=0.1, kl=1.0, feat=0.1, emb=0.1, temperature=2.0)
LOSSES = {"ce": "CE", "kl": "KL", "feat": "features", "emb": "embedding"}
PARTS = {
    "word rows": "embedding.weight",
    "encoder": "embedding.projection.weight",
    "block 0": "blocks.0.mlp.down.weight",
    "tap 0": "taps.0.weight",
    "block 1": "blocks.1.mlp.down.weight",
    "tap 1": "taps.1.weight",
    "head": "head.weight",
}


def student_and_batch():
    """A small student with random weights, in float64, a batch, and random targets for it."""
    rng = np.random.default_rng(8)
    config = SpikeBertConfig(
        vocab_size=20, width=16, heads=2, embedding_width=12, teacher_width=10, dropout=0.0
    )
    params = {key: v.astype(np.float64) for key, v in init_spikebert(config, rng).items()}
    ids, offsets = rng.integers(0, 20, 40), np.array([0, 9, 17, 24, 33, 40])
    targets = Targets(
        labels=rng.integers(0, 2, 5),
        logits=2 * rng.standard_normal((5, 2)),
        hidden={block: 0.5 * rng.standard_normal((40, 10)) for block in (0, 1)},
        word_rows=rng.standard_normal((20, 12)),
    )
    return config, params, ids, offsets, targets


def gradients_by_loss(weights=PUBLISHED):
    """{loss: {part: norm of its weighted gradient}}; 0 where it does not reach a part."""
    config, params, ids, offsets, targets = student_and_batch()
    output, cache = spikebert_forward(ids, offsets, params, config, backend="numpy")
    norms = {}
    for loss, label in LOSSES.items():
        alone = LossWeights(**{loss: getattr(weights, loss)}, temperature=weights.temperature)
        _, _, loss_cache = distillation_forward(
            output, ids, offsets, params["embedding.weight"], targets, alone
        )
        dlogits, dtaps, dembedding = distillation_backward(loss_cache)
        if loss == "emb":  # it looks at no output: nothing goes through the network
            grads = {"embedding.weight": dembedding}
        else:
            grads = spikebert_backward(dlogits, dtaps, cache)
        norms[label] = {
            part: float(np.linalg.norm(getattr(grads[key], "rows", grads[key])))
            if key in grads
            else 0.0
            for part, key in PARTS.items()
        }
    return norms


def read_map():
    """What the map of `gradients_by_loss` tells."""
    norms = gradients_by_loss()
    reached = {loss: sum(norm > 0 for norm in row.values()) for loss, row in norms.items()}
    return {
        "parts that the features move": reached["features"],
        "parts that the embedding loss moves": reached["embedding"],
        "strongest at the head": max(norms, key=lambda loss: norms[loss]["head"]),
        "weakest at block 1": min(
            (loss for loss in norms if norms[loss]["block 1"]),
            key=lambda loss: norms[loss]["block 1"],
        ),
        "CE at the head, were its weight 1": norms["CE"]["head"] / PUBLISHED.ce,
    }


ex_08_8 = prediction(
    "8.8",
    read_map,
    name="read_map",
    wrong=[
        Wrong("features move the head", lambda: {"parts that the features move": 7},
              "the head reads the last block's sums, as the tap does; no feature is made by it"),
        Wrong("features move the taps alone", lambda: {"parts that the features move": 2},
              "a tap's gradient goes on through its block, into whatever made its spikes"),
        Wrong("the embedding loss goes through the network",
              lambda: {"parts that the embedding loss moves": 6},
              "it compares rows of the table with rows of the teacher: no spike is in between"),
        Wrong("the label's loss comes first", lambda: {"strongest at the head": "CE"},
              "cross-entropy has the weight 0.1, the divergence 1.0"),
        Wrong("what does not reach is weakest", lambda: {"weakest at block 1": "embedding"},
              "where a loss does not reach, it is not weak: asked is the least that is there"),
        Wrong("a weight counts in its square",
              lambda: {"CE at the head, were its weight 1":
                       gradients_by_loss()["CE"]["head"] / PUBLISHED.ce**2},
              "a gradient is linear in its weight: 10 times the weight, 10 times the norm"),
        Wrong("the weight is not in it",
              lambda: {"CE at the head, were its weight 1": gradients_by_loss()["CE"]["head"]},
              "the map shows weighted gradients: 0.1 is in CE's row already"),
    ],
)  # fmt: skip

# --- 8.9 find the bug ---------------------------------------------------------------------------

BUGS = bugs(
    ("distillation_tap", "tap_without_its_norm"),
    ("distillation", "last_loss_wins"),
    ("kl_divergence", "kl_through_the_teacher"),
    ("distillation", "tap_unweighted"),
)
ex_08_9 = find_the_bugs("8.9", BUGS)
