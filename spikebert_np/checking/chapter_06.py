"""Exercises of chapter 06: spiking self-attention, of one sentence and of a batch.

Letters: T spike steps, n tokens of one sentence, D width, H heads, E = D // H.
"""

import numpy as np

from ..blocks.self_attention import attention_sentence_forward
from ..blocks.ssa import (
    attention_map,
    by_channels_forward,
    join_heads,
    split_heads,
    ssa_sentence_backward,
    ssa_sentence_forward,
)
from ..models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward
from .bug_hunt import bugs, find_the_bugs
from .exercise import Wrong, backward, function, prediction

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["BUGS", "KEY", "ORDER", "QUERY", "VALUE", "WORDS", "bert_sentence", "student_logits"]

# --- 6.1 one sentence by hand -------------------------------------------------------------------

WORDS = ["the", "plot", "is", "not", "good"]
# (T, n, D) = (1, 5, 4): what each word asks for, offers, and hands over; the neurons stand for a
# noun, a negation, a quality, an opinion.
QUERY = np.array([[[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]]]) * 1.0
KEY = np.array([[[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]]]) * 1.0
VALUE = np.array([[[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]) * 1.0
SCALE = 0.5


def by_hand(q=QUERY, k=KEY, v=VALUE, scale=SCALE):
    """Rows of the map, and of y, one head."""
    a = attention_map(q, k, 1)[0, 0]
    y = ssa_sentence_forward(q, k, v, heads=1, scale=scale)[0]
    rows = {f"row of {word}": a[WORDS.index(word)] for word in ("not", "good")}
    return rows | {f"y of {word}": y[WORDS.index(word)] for word in ("is", "not")}


def shares(a):
    """Each row divided by its sum; a row of zeros is left."""
    return a / np.maximum(a.sum(), 1)


ex_06_1 = prediction(
    "6.1",
    by_hand,
    name="by_hand",
    wrong=[
        Wrong("queries and keys exchanged", lambda: by_hand(q=KEY, k=QUERY),
              "row i is what word i asks for, met with what the others offer: q_i and k_j"),
        Wrong("met or not met", lambda: {"row of not": np.minimum(by_hand()["row of not"], 1)},
              "an entry counts the channels in which both fire: it may be more than 1"),
        Wrong("rows made shares", lambda: {key: shares(by_hand()[key])
                                           for key in ("row of not", "row of good")},
              "there is no softmax, and no division: a row holds counts"),
        Wrong("queries with queries", lambda: {key: by_hand(k=QUERY)[key]
                                               for key in ("row of not", "row of good")},
              "a query is met with keys, not with other queries"),
        Wrong("scale forgotten", lambda: {"y of not": by_hand(scale=1)["y of not"]},
              "y = (q kᵀ) v scale: the sum of the values is multiplied by 0.5"),
        Wrong("the word's own value", lambda: {"y of is": VALUE[0, 2], "y of not": VALUE[0, 3]},
              "y gathers the values of the words that are looked at, not the word's own"),
        Wrong("the word's own value", lambda: {"y of is": VALUE[0, 2]},
              "nothing is kept of the word itself: y gathers the values of the words that are met"),
        *(
            Wrong("a mean for the sum", lambda scale=scale: {
                "y of not": shares(by_hand()["row of not"]) @ VALUE[0] * scale},
                  "y is a sum over the words that are met, times the scale, and no mean")
            for scale in (1, SCALE)
        ),
        Wrong("the mean where nothing is met", lambda: {"y of is": VALUE[0].mean(axis=0)},
              "a word that asks for nothing gathers nothing: its row is zero, and so is its y"),
    ],
)  # fmt: skip

# --- 6.2 one sentence in code -------------------------------------------------------------------


def sentence(q, k, v, heads, scale):
    """y (T, n, D) of one sentence."""
    return ssa_sentence_forward(q, k, v, heads=heads, scale=scale)


def draw_sentence(rng):
    """Spikes q, k, v, H and scale: T = 4, n = 5, H = 2, E = 3, no two of one size."""
    q, k, v = (rng.random((3, 4, 5, 6)) < 0.4) * 1.0
    return q, k, v, 2, float(rng.uniform(0.2, 0.7))


def wrong_sentence(meet=None, split=split_heads, join=join_heads):
    """`sentence` with another map, or with heads split or joined otherwise."""
    meet = meet or (lambda q, k: q @ k.swapaxes(-1, -2))

    def attend(q, k, v, heads, scale):
        q, k, v = split(q, heads), split(k, heads), split(v, heads)
        return join(meet(q, k) @ v) * scale

    return attend


def softmax(scores):
    shares = np.exp(scores)
    return shares / shares.sum(axis=-1, keepdims=True)


ex_06_2 = function(
    "6.2",
    sentence,
    draw_sentence,
    name="spiking_attention",
    outputs=("y",),
    hides=("ssa_sentence_forward", "attention_map", "by_words_forward", "by_channels_forward"),
    wrong=[
        Wrong("heads not split", lambda q, k, v, heads, scale: sentence(q, k, v, 1, scale)),
        Wrong("scale missing", lambda q, k, v, heads, scale: sentence(q, k, v, heads, 1),
              "y = (q kᵀ) v scale"),
        Wrong("queries and keys exchanged", wrong_sentence(lambda q, k: k @ q.swapaxes(-1, -2)),
              "the map is q kᵀ, its row i what word i asks for; this is k qᵀ"),
        Wrong("queries with queries", wrong_sentence(lambda q, k: q @ q.swapaxes(-1, -2)),
              "a query is met with keys, not with other queries: q kᵀ"),
        Wrong("keys with keys", wrong_sentence(lambda q, k: k @ k.swapaxes(-1, -2)),
              "a key is met with queries, not with other keys: q kᵀ"),
        *(
            Wrong("another's values", lambda q, k, v, heads, scale, i=i: sentence(
                q, k, (q, k)[i], heads, scale),
                  "what is gathered are the values v: (q kᵀ) v")
            for i in (0, 1)
        ),
        Wrong("softmax", wrong_sentence(lambda q, k: softmax(q @ k.swapaxes(-1, -2))),
              "spiking attention has no softmax: the map holds counts"),
        Wrong("divided by the root of E", lambda q, k, v, heads, scale: sentence(
            q, k, v, heads, (q.shape[2] // heads) ** -0.5),
              "the scale is the one that is given, not 1 / √E as in BERT"),
        Wrong("scale twice", lambda q, k, v, heads, scale: sentence(q, k, v, heads, scale**2)),
        Wrong("heads joined without a transpose", wrong_sentence(
            join=lambda y: y.reshape(y.shape[0], y.shape[2], -1))),
        Wrong("heads not joined", wrong_sentence(join=lambda y: y),
              "y is (T, n, D) again: `join_heads` puts the heads side by side"),
        Wrong("heads split without a transpose", wrong_sentence(
            split=lambda x, heads: x.reshape(x.shape[0], heads, x.shape[1], -1)),
              "(T, n, D) becomes (T, n, H, E) first, and then (T, H, n, E): use `split_heads`"),
        Wrong("met or not met", wrong_sentence(
            lambda q, k: np.minimum(q @ k.swapaxes(-1, -2), 1)),
              "the map counts the channels in which both fire: it may be more than 1"),
    ],
)  # fmt: skip

# --- 6.3 the other order of the products --------------------------------------------------------


def channels_first(q, k, v, heads, scale):
    """kᵀ v of one sentence (T, H, E, E), and y = q (kᵀ v) scale (T, n, D)."""
    q, k, v = (split_heads(x, heads) for x in (q, k, v))
    return k.mT @ v, join_heads(by_channels_forward(q, k, v)) * scale


def wrong_order(summarise, read=lambda q, k, v, summary: q @ summary, twice=False):
    """channels_first by another summary, or read by others than q."""

    def attend(q, k, v, heads, scale):
        q, k, v = (split_heads(x, heads) for x in (q, k, v))
        summary = summarise(q, k, v) * (scale if twice else 1)
        return summary, join_heads(read(q, k, v, summary)) * scale

    return attend


def changed(edit):
    """channels_first with its two results edited: edit(summary, y, scale)."""
    return lambda q, k, v, heads, scale: edit(*channels_first(q, k, v, heads, scale), scale)


def product(x, y):
    """xᵀ y per step and head."""
    return x.swapaxes(-1, -2) @ y


ex_06_3 = function(
    "6.3",
    channels_first,
    draw_sentence,
    outputs=("summary", "y"),
    hides=("by_channels_forward",),
    wrong=[
        Wrong("summary transposed", wrong_order(lambda q, k, v: product(v, k)),
              "q meets the channels of k: they are the summary's rows, kᵀ v and not vᵀ k"),
        Wrong("roles not renamed", wrong_order(
            lambda q, k, v: product(q, k), lambda q, k, v, summary: v @ summary),
              "v (qᵀ k) is the same form with other letters: here k and v are summed up, q reads"),
        Wrong("the map by words", lambda q, k, v, heads, scale: (
            attention_map(q, k, heads), sentence(q, k, v, heads, scale)),
              "y is right, but this is the n x n map: move the brackets, q (kᵀ v)"),
        Wrong("read by the keys", wrong_order(
            lambda q, k, v: product(k, v), lambda q, k, v, summary: k @ summary),
              "each word reads the summary with its query: q (kᵀ v)"),
        Wrong("keys with keys", wrong_order(lambda q, k, v: product(k, k)),
              "the summary is of keys and values, kᵀ v"),
        Wrong("queries summed up", wrong_order(lambda q, k, v: product(q, v)),
              "the summary is of keys and values, kᵀ v"),
        Wrong("heads not split", lambda q, k, v, heads, scale: channels_first(q, k, v, 1, scale)),
        Wrong("scale missing", changed(lambda summary, y, scale: (summary, y / scale)),
              "y = q (kᵀ v) scale"),
        Wrong("scale twice", wrong_order(lambda q, k, v: product(k, v), twice=True),
              "the scale belongs to y, once; the summary holds counts"),
        Wrong("scale in the summary", changed(lambda summary, y, scale: (scale * summary, y)),
              "y is right; the summary asked for is kᵀ v as it is, whole numbers"),
        Wrong("one summary for all steps", wrong_order(
            lambda q, k, v: product(k, v).sum(axis=0, keepdims=True)),
              "each step has a summary of its own: attention does not mix steps"),
    ],
)  # fmt: skip

# --- 6.4 predict: word order --------------------------------------------------------------------

ORDER = np.array([3, 0, 4, 1, 2])  # the word that is read first, second, ...


def told(before, after, moved=None):
    """How `after` differs from `before`; moved: what it is where only places were exchanged."""
    if np.allclose(after, before):
        return "same"
    return "moved" if moved is not None and np.allclose(after, moved) else "other"


def student_logits(ids, **settings):
    """(1, C) of a small student with random weights, in float64."""
    config = SpikeBertConfig(
        vocab_size=10, width=16, heads=2, embedding_width=16, position_std=1.0, **settings
    )
    params = init_spikebert(config, np.random.default_rng(6))
    params = {key: value.astype(np.float64) for key, value in params.items()}
    offsets = np.array([0, len(ids)])
    return spikebert_forward(ids, offsets, params, config, backend="numpy")[0].logits


def word_order():
    """What becomes of a result where the words come in another order: same, moved or other."""
    rng = np.random.default_rng(6)
    q, k, v = (rng.random((3, 4, 5, 6)) < 0.4) * 1.0
    y = sentence(q, k, v, 2, 0.5)
    y_moved = sentence(q[:, ORDER], k[:, ORDER], v[:, ORDER], 2, 0.5)
    heads = [split_heads(x, 2)[0] for x in (q, k, v)]  # (H, n, E) each
    bert_y, _ = attention_sentence_forward(*heads)
    bert_moved, _ = attention_sentence_forward(*(x[:, ORDER] for x in heads))
    ids = np.array([1, 3, 5, 7, 9])

    def logits(**settings):
        return told(student_logits(ids, **settings), student_logits(ids[ORDER], **settings))

    return {
        "spiking attention": told(y, y_moved, y[:, ORDER]),
        "mean over the words": told(y.mean(axis=1), y_moved.mean(axis=1)),
        "BERT's attention": told(bert_y, bert_moved, bert_y[:, ORDER]),
        "logits, no positions": logits(positions=False, kernel_width=1),
        "logits, positions": logits(positions=True, kernel_width=1),
        "logits, three words at once": logits(positions=False, kernel_width=3),
    }


ex_06_4 = prediction(
    "6.4",
    word_order,
    name="predict_order",
    choices=("same", "moved", "other"),
    wrong=[
        Wrong("the map knows places", lambda: {"spiking attention": "other"},
              "no line of attention reads a place: word i meets the same words, only elsewhere"),
        Wrong("rows stay where they are", lambda: {"spiking attention": "same"},
              "row i of y belongs to word i: where the word goes, its row goes"),
        Wrong("the mean knows places", lambda: {"mean over the words": "other"},
              "a mean does not ask in which order its terms come"),
        Wrong("softmax knows places", lambda: {"BERT's attention": "other"},
              "softmax divides each row by its own sum, and a sum has no order"),
        Wrong("some layer knows places", lambda: {"logits, no positions": "other"},
              "linear, layer norm and LIF read one word at a time, and the mean ends it"),
        Wrong("positions move with the words", lambda: {"logits, positions": "same"},
              "a position belongs to the place: a word elsewhere gets another one added"),
        Wrong("neighbours are no order", lambda: {"logits, three words at once": "same"},
              "a window of three words tells which stand side by side, and on which side"),
    ],
)  # fmt: skip

# --- 6.5 the backward pass ----------------------------------------------------------------------


def edited(edit):
    """The backward pass of a sentence, its three results edited: edit(dq, dk, dv, scale)."""

    def wrong(dy, q, k, v, *, heads, scale):
        return edit(*ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale), scale)

    return wrong


def without_heads(dy, q, k, v, *, heads, scale):
    a, da = q @ k.swapaxes(-1, -2), scale * dy @ v.swapaxes(-1, -2)
    return da @ k, product(da, q), product(a, scale * dy)


def without_a_transpose(dy, q, k, v, *, heads, scale):
    """(T, H, n, E) read as (T, n, D) where it lies."""
    shape = dy.shape
    q, k, v, dav = (split_heads(x, heads) for x in (q, k, v, dy * scale))
    a, da = q @ k.swapaxes(-1, -2), dav @ v.swapaxes(-1, -2)
    parts = da @ k, product(da, q), product(a, dav)
    return tuple(part.reshape(shape) for part in parts)


OURS = ("by_words_backward", "by_channels_backward")
ex_06_5 = backward("6.5", "ssa_sentence", hides=OURS, wrong=[
    Wrong("scale missing", edited(lambda dq, dk, dv, c: (dq / c, dk / c, dv / c))),
    Wrong("scale missing from dq and dk", edited(lambda dq, dk, dv, c: (dq / c, dk / c, dv))),
    Wrong("q and k swapped", edited(lambda dq, dk, dv, c: (dk, dq, dv))),
    Wrong("heads not split", without_heads),
    Wrong("heads joined without a transpose", without_a_transpose),
    Wrong("gradient missing", edited(lambda dq, dk, dv, c: (dq, np.zeros_like(dk), dv))),
    Wrong("sign flipped", edited(lambda dq, dk, dv, c: (dq, dk, -dv))),
])  # fmt: skip

# --- 6.6 predict: beside softmax ----------------------------------------------------------------


def bert_sentence(q, k, v):
    """BERT's map (n, n) and y (n, E), of one step and one head: q, k, v (n, E)."""
    y, cache = attention_sentence_forward(q[None], k[None], v[None])
    return cache.softmax.y[0], y[0]


def beside_softmax():
    """What the sentence of 6.1 becomes by both, and where each of its words stands twice."""
    q, k, v = QUERY[0], KEY[0], VALUE[0]
    nothing = WORDS.index("is")
    counts = attention_map(QUERY, KEY, 1)[0, 0]
    soft, soft_y = bert_sentence(q, k, v)
    y = sentence(QUERY, KEY, VALUE, 1, SCALE)[0]
    twice = [np.tile(x, (2, 1)) for x in (q, k, v)]
    soft_twice = bert_sentence(*twice)[1][:5]
    y_twice = sentence(*(x[None] for x in twice), 1, SCALE)[0, :5]
    return {
        "sum of is's row, spiking": counts[nothing].sum(),
        "sum of is's row, BERT": soft[nothing].sum(),
        "entry of is's row, BERT": soft[nothing, 0],
        "each word twice, spiking": np.vdot(y, y_twice) / np.vdot(y, y),
        "each word twice, BERT": np.vdot(soft_y, soft_twice) / np.vdot(soft_y, soft_y),
    }


ex_06_6 = prediction(
    "6.6",
    beside_softmax,
    name="predict_softmax",
    wrong=[
        Wrong("a unit to give away", lambda: {"sum of is's row, spiking": 1},
              "only softmax makes every row sum to 1; a query without a spike counts nothing"),
        Wrong("nothing met, nothing given", lambda: {"sum of is's row, BERT": 0,
                                                     "entry of is's row, BERT": 0},
              "softmax of zeros is not zero: exp(0) = 1, and the row is divided by its sum"),
        Wrong("not divided by the sum", lambda: {"sum of is's row, BERT": 5,
                                                 "entry of is's row, BERT": 1},
              "exp(0) = 1 is divided by the row's sum, and there are five words"),
        Wrong("spiking attention is a mean", lambda: {"each word twice, spiking": 1},
              "without softmax y is a sum over the words: twice the words, twice the sum"),
        Wrong("softmax is a sum", lambda: {"each word twice, BERT": 2},
              "with twice the words each gets half the share: a mean stays as it was"),
        Wrong("both products grow", lambda: {"each word twice, spiking": 4},
              "an entry of the map is of two words and does not grow; their number does, once"),
        Wrong("shares halved", lambda: {"each word twice, BERT": 0.5},
              "each share is halved, but there are twice as many: the mean stays as it was"),
    ],
)  # fmt: skip

# --- 6.7 find the bug ---------------------------------------------------------------------------

BUGS = bugs(
    ("ssa", "ssa_at_the_full_threshold"),
    ("attention", "attention_of_one_long_sentence"),
    ("ssa", "ssa_without_the_path_through_q"),
    ("ssa", "ssa_without_its_neuron"),
)
ex_06_7 = find_the_bugs("6.7", BUGS)
