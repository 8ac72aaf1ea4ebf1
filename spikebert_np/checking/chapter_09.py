"""Exercises of chapter 09: a student is trained, and its answers are looked at.

What is asked hangs on no run of the reader's: functions are checked on drawn arguments, and the
learning curve to be read is a recorded one.

Letters: S sentences, C classes, K kinds of sentences, T spike steps, n tokens of one, D width.
"""

import numpy as np

from ..layers.losses import log_softmax
from .exercise import Wrong, function, prediction

# What the notebook takes from here: all that an answer may have while it is marked.
__all__ = ["RECORD", "SENTENCES", "rule"]

# --- 9.1 the rule of the corpus -----------------------------------------------------------------

SENTENCES = {
    "A": "the plot was never really dull",
    "B": "the music is sharp , but the plot was so stale",
    "C": "we watched it at home , and the script is hardly fresh",
    "D": "the acting was not clever , but the ending is barely lazy",
}
# The adjectives of these sentences, and their negations.
PRAISE, BLAME = ("sharp", "fresh", "clever"), ("dull", "stale", "lazy")
NEGATIONS = ("never", "hardly", "not", "barely")


def rule(text, praise, blame, negations):
    """The label of a sentence: the judgement of its last clause that judges, 1 or 0."""
    label = None
    for clause in text.split(" , "):
        words = set(clause.split())
        if words & {*praise, *blame}:
            label = int(bool(words & set(praise)) != bool(words & set(negations)))
    return label


def labels_of(sentences=SENTENCES, negations=NEGATIONS):
    return {letter: rule(text, PRAISE, BLAME, negations) for letter, text in sentences.items()}


def first_clause(text):
    """What stands before "but"."""
    return text.partition(" , but ")[0]


def expected():
    # Either label is half of each split, and every adjective stands in either about as often.
    return labels_of() | {"majority class": 0.5, "praise where sharp stands": "about half"}


ex_09_1 = prediction(
    "9.1",
    expected,
    name="predict_labels",
    tolerance=0.02,
    wrong=[
        Wrong("negation overlooked", lambda: labels_of(negations=()),
              "never, hardly, not and barely turn their clause around"),
        Wrong("the first clause judges", lambda: labels_of(
            {letter: first_clause(text) for letter, text in SENTENCES.items()}),
              "what stands after but is the sentence's judgement"),
        Wrong("negation at the far end", lambda: {"A": 0},
              "an intensifier between does not matter: never really dull is praise"),
        Wrong("mixed feelings are blame", lambda: {"D": 0},
              "the last clause alone judges, and barely lazy is praise"),
        Wrong("a neutral clause judges", lambda: {"C": 1},
              "that they watched it at home says nothing of its worth; hardly fresh is blame"),
        Wrong("guesses get nothing", lambda: {"majority class": 0},
              "whoever always says the same is right wherever that is the label"),
        Wrong("a word tells", lambda: {"praise where sharp stands": "most"},
              "sharp stands in praise, and as often, negated or before but, in blame"),
        Wrong("a word tells the contrary", lambda: {"praise where sharp stands": "few"},
              "sharp is negated, or stands before but, in about half of its sentences, not in all"),
    ],
)  # fmt: skip

# --- 9.2 read a learning curve ------------------------------------------------------------------

# The demo's student trained directly, seed 0, for 20 epochs: accuracy on train (as the epoch went)
# and on dev (after it).
RECORD = {
    "training": [0.492, 0.552, 0.565, 0.629, 0.668, 0.688, 0.708, 0.740, 0.761, 0.782,
                 0.797, 0.793, 0.798, 0.838, 0.888, 0.928, 0.954, 0.957, 0.972, 0.973],
    "dev": [0.508, 0.558, 0.667, 0.750, 0.662, 0.733, 0.758, 0.771, 0.775, 0.792,
            0.787, 0.787, 0.838, 0.846, 0.842, 0.896, 0.900, 0.908, 0.912, 0.912],
}  # fmt: skip


def read_record():
    """What the curve tells; epochs count from 1."""
    train, dev = (np.array(RECORD[name]) for name in ("training", "dev"))
    behind = np.flatnonzero(train <= dev)
    return {
        "kept epoch": dev.argmax() + 1,
        "kept epoch of 12": dev[:12].argmax() + 1,
        "dev accuracy at epoch 4": dev[3],
        "training above dev for good": behind[-1] + 2,
        "gap at the end": train[-1] - dev[-1],
    }


ex_09_2 = prediction(
    "9.2",
    read_record,
    name="read_curve",
    tolerance=0.015,
    wrong=[
        Wrong("the last epoch is kept", lambda: {"kept epoch": 20},
              "the epoch of the best dev accuracy is kept, and of equals the first"),
        Wrong("epochs counted from 0", lambda: {"kept epoch": 18, "kept epoch of 12": 9},
              "epochs count from 1, as the axis does"),
        Wrong("chosen by training", lambda: {"kept epoch of 12": 11},
              "dev chooses: read the other curve"),
        Wrong("the first time above", lambda: {"training above dev for good": 12},
              "at epoch 13 dev is above again: asked is from where on it never is"),
        Wrong("accuracy of training", lambda: {"dev accuracy at epoch 4": RECORD["training"][3]},
              "this is the training's curve: the legend tells them apart"),
        Wrong("the whole for the gap", lambda: {"gap at the end": 1 - RECORD["dev"][-1]},
              "the gap is between the two curves; this is what dev lacks to 1"),
        Wrong("the last of twelve", lambda: {"kept epoch of 12": 12},
              "a run of 12 epochs keeps its best, which need not be its last"),
    ],
)  # fmt: skip

# --- 9.3 accuracy by kind of sentence -----------------------------------------------------------


def accuracy_by_kind(predicted, labels, kinds):
    """(K,): of each kind's sentences, the share that is right."""
    right = predicted == labels
    return np.array([right[kinds == kind].mean() for kind in range(kinds.max() + 1)])


def draw_answers(rng):
    """Forty answers, 0 or 1; three kinds of different sizes, each of which occurs."""
    labels, wrong = rng.integers(0, 2, 40), rng.random(40) < 0.3
    kinds = np.concatenate([[0, 1, 2], rng.choice(3, 37, p=[0.2, 0.3, 0.5])])
    return np.where(wrong, 1 - labels, labels), labels, kinds


def by_kind(score):
    """score(right, chosen, predicted, labels), once a kind; chosen: (S,), those of the kind."""

    def wrong(predicted, labels, kinds):
        right = predicted == labels
        return np.array([score(right, kinds == kind, predicted, labels) for kind in range(3)])

    return wrong


ex_09_3 = function(
    "9.3",
    accuracy_by_kind,
    draw_answers,
    outputs=("accuracies",),
    wrong=[
        Wrong("divided by all", by_kind(lambda right, of, p, y: right[of].sum() / len(y)),
              "divide by the number of sentences of the kind, not by all"),
        Wrong("counts", by_kind(lambda right, of, p, y: right[of].sum()),
              "these are counts; an accuracy is a share"),
        Wrong("share of the right ones", by_kind(lambda right, of, p, y: of[right].mean()),
              "this is how many of the right answers are of the kind: ask the other way round"),
        Wrong("last kind left out", lambda p, y, kinds: accuracy_by_kind(p, y, kinds)[:-1],
              "range leaves its end out: the kinds go from 0 to kinds.max() with both ends"),
        Wrong("errors", by_kind(lambda right, of, p, y: 1 - right[of].mean()),
              "these are the shares that are wrong"),
        Wrong("one accuracy for all", by_kind(lambda right, of, p, y: right.mean()),
              "choose the kind's sentences first: right[kinds == kind]"),
        Wrong("share of praise", by_kind(lambda right, of, p, y: p[of].mean()),
              "this is how often the answer is 1; compare it with the labels first"),
        Wrong("praise found", by_kind(lambda right, of, p, y: right[of & (y == 1)].mean()),
              "sentences of both labels count"),
    ],
)  # fmt: skip

# --- 9.4 the hardest sentences ------------------------------------------------------------------


def hardest(logits, labels, count):
    """(count,): the sentences of the largest cross-entropy, the largest first."""
    losses = -log_softmax(logits)[np.arange(len(labels)), labels]
    return np.argsort(-losses)[:count]


def draw_logits(rng):
    return rng.normal(0, 2, (12, 3)), rng.integers(0, 3, 12), 5


def ordered(score):
    """The first `count` sentences by descending score(log q, labels, logits)."""

    def wrong(logits, labels, count):
        return np.argsort(-score(log_softmax(logits), labels, logits))[:count]

    return wrong


def of_label(x, labels):
    return x[np.arange(len(labels)), labels]


def margin(logits, labels):
    """How far the label's logit is above the largest other."""
    others = logits.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return of_label(logits, labels) - others.max(axis=1)


ex_09_4 = function(
    "9.4",
    hardest,
    draw_logits,
    outputs=("sentences",),
    draws=8,
    wrong=[
        Wrong("the easiest", ordered(lambda log_q, y, z: of_label(log_q, y)),
              "the largest loss comes first: np.argsort goes upwards"),
        Wrong("the least sure", ordered(lambda log_q, y, z: -log_q.max(axis=1)),
              "where the student is unsure it may be right; the label's probability counts"),
        Wrong("the surest", ordered(lambda log_q, y, z: log_q.max(axis=1)),
              "sure and right is easy: the label's probability counts, not the largest"),
        Wrong("the logit alone", ordered(lambda log_q, y, z: -of_label(z, y)),
              "a logit means nothing beside the others of its row: take log softmax"),
        Wrong("margin for loss", ordered(lambda log_q, y, z: -margin(z, y)),
              "with two classes margin and loss have one order, with three they have not"),
        Wrong("losses for numbers", lambda logits, labels, count: np.sort(
            -of_label(log_softmax(logits), labels))[::-1][:count],
              "return the sentences' numbers, not their losses: np.argsort, not np.sort"),
        Wrong("losses for numbers", lambda logits, labels, count: np.sort(
            of_label(log_softmax(logits), labels))[:count],
              "return the sentences' numbers, not their log q: np.argsort, not np.sort"),
        Wrong("every label of each row", lambda logits, labels, count: np.argsort(
            log_softmax(logits)[:, labels])[:count],
              "one entry of each row: [np.arange(S), labels], not [:, labels]"),
        Wrong("all of them", lambda logits, labels, count: hardest(logits, labels, len(labels)),
              "only the first `count`"),
        Wrong("the last first", lambda logits, labels, count: hardest(logits, labels, count)[::-1],
              "these are the right sentences, but the hardest comes first"),
    ],
)  # fmt: skip

# --- 9.5 the votes of the words -----------------------------------------------------------------


def word_votes(normed, weight, bias):
    """(n, C): the logits that each token by itself would have; their mean is the sentence's."""
    return normed.mean(axis=0) @ weight + bias


def draw_head(rng):
    T, n, D, C = 4, 5, 6, 3
    return rng.normal(0.3, 1, (T, n, D)), rng.normal(0, 1, (D, C)), rng.normal(0.5, 1, C)


ex_09_5 = function(
    "9.5",
    word_votes,
    draw_head,
    outputs=("votes",),
    wrong=[
        Wrong("bias left out", lambda x, w, b: x.mean(axis=0) @ w,
              "each vote has the bias: their mean then has it once"),
        Wrong("bias shared out", lambda x, w, b: x.mean(axis=0) @ w + b / x.shape[1],
              "the sentence's logits are the votes' mean, not their sum: the whole bias in each"),
        Wrong("shares that add up", lambda x, w, b: word_votes(x, w, b) / x.shape[1],
              "these add up to the logits; asked are votes whose mean is the logits"),
        Wrong("a vote at each step", lambda x, w, b: x @ w + b,
              "a token has one vote: the mean over the T steps, axis 0"),
        Wrong("summed over time", lambda x, w, b: x.sum(axis=0) @ w + b,
              "the logits are a mean over the T steps"),
        Wrong("last step only", lambda x, w, b: x[-1] @ w + b,
              "every time step votes: take the mean over the first axis"),
        Wrong("mean over the words", lambda x, w, b: x.mean(axis=1) @ w + b,
              "the mean over the words is what is to be undone: keep axis 1, average axis 0"),
        Wrong("probabilities", lambda x, w, b: np.exp(log_softmax(word_votes(x, w, b))),
              "votes are logits: a mean of probabilities is not the probability of the mean"),
    ],
)  # fmt: skip

# --- 9.6 two students on the same sentences -----------------------------------------------------


def paired_difference(first_right, second_right):
    """(accuracy of the first less the second's, its standard error), on the same S sentences."""
    difference = first_right.astype(np.float64) - second_right
    return difference.mean(), difference.std() / np.sqrt(len(difference))


def draw_right(rng):
    """Two students that err on many of the same sentences."""
    hard = rng.random(60) < 0.4
    return tuple(rng.random(60) < np.where(hard, share, 0.95) for share in (0.6, 0.2))


def of_two_samples(a, b):
    """As if each student had had sentences of its own."""
    spread = (a.mean() * (1 - a.mean()) + b.mean() * (1 - b.mean())) / len(a)
    return a.mean() - b.mean(), np.sqrt(spread)


def error_by(change):
    """paired_difference with another standard error: change(error, S, difference)."""

    def wrong(a, b):
        mean, error = paired_difference(a, b)
        return mean, change(error, len(a), mean)

    return wrong


ex_09_6 = function(
    "9.6",
    paired_difference,
    draw_right,
    outputs=("difference", "standard error"),
    wrong=[
        Wrong("two samples", of_two_samples,
              "both read the same sentences: what is hard for both drops out of the difference"),
        Wrong("not divided by the root of S", error_by(lambda error, S, d: error * np.sqrt(S)),
              "this is the spread of one sentence; that of a mean of S is smaller by √S"),
        Wrong("divided by S", error_by(lambda error, S, d: error / np.sqrt(S)),
              "a mean's standard error falls with √S, not with S"),
        Wrong("divided by S - 1", error_by(lambda error, S, d: error * np.sqrt(S / (S - 1))),
              "here the deviation is that of the formula, by S: np.std without ddof"),
        Wrong("the second's gains left out", lambda a, b: (
            (a & ~b).mean(), (a & ~b).std() / np.sqrt(len(a))),
              "where the second alone is right d is -1, and not 0"),
        Wrong("variance for deviation", error_by(lambda error, S, d: error**2),
              "this is the variance of the mean: take its root"),
        Wrong("second less first", lambda a, b: paired_difference(b, a),
              "the first's accuracy less the second's"),
        Wrong("of the first alone", lambda a, b: (
            a.mean() - b.mean(), np.sqrt(a.mean() * (1 - a.mean()) / len(a))),
              "this is the error of the first accuracy; asked is that of the difference"),
        Wrong("mean not subtracted", error_by(lambda error, S, d: np.sqrt(error**2 + d**2 / S)),
              "the deviation is from the mean of the differences, not from 0"),
        Wrong("disagreements not signed", lambda a, b: (
            (a != b).mean(), (a != b).std() / np.sqrt(len(a))),
              "where the first alone is right count +1, where the second alone is, -1"),
    ],
)  # fmt: skip
