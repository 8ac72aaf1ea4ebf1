"""The baselines that are no networks: the rows that a student's accuracy is to be read beside.

All learn from the train split and are measured on dev, as the students are; penalties are chosen on
dev. The baselines that are trained as students are stand in `recipe.py`, STUDENTS.

Letters: S sentences, N packed tokens, V vocabulary, D the teacher's width, C classes.
"""

from time import perf_counter

import numpy as np

from ..layers.pooling import mean_pool_forward
from .corpora import split_corpus
from .inference import accuracy
from .linear_head import choose_penalty, fit_linear_head
from .sparse_head import SPARSE_PENALTIES, binary_rows, fit_sparse_head, word_columns


def baseline_rows(corpus, cache):
    """[{"model", "accuracy", "parameters", "seconds"}, ...] of each baseline.

    corpus: {"train": Split, "dev": Split}, cache: the TeacherCache of the same.
    """
    rows = []
    for name, measure in (
        ("majority class", lambda: _majority(corpus)),
        ("bag of words and bigrams, logistic regression", lambda: _bag_of_words(corpus)),
        ("mean of the teacher's word embeddings, logistic regression", lambda: _mean_word(cache)),
    ):
        started = perf_counter()
        score, parameters = measure()
        seconds = perf_counter() - started
        rows.append(
            {"model": name, "accuracy": score, "parameters": parameters, "seconds": seconds}
        )
    return rows


def teacher_accuracy_on_dev(cache):
    """The accuracy of the cache's logits."""
    dev = split_corpus(cache, "dev")
    return accuracy(dev.logits, dev.labels)


def _majority(corpus):
    answer = np.bincount(corpus["train"].labels).argmax()
    return float((corpus["dev"].labels == answer).mean()), 1


def _bag_of_words(corpus):
    train, dev = corpus["train"], corpus["dev"]
    columns = word_columns(train.texts)
    rows, dev_rows = (binary_rows(split.texts, columns) for split in (train, dev))
    return _chosen_head(
        rows, train.labels, dev_rows, dev.labels, fit=fit_sparse_head, penalties=SPARSE_PENALTIES
    )


def _mean_word(cache):
    words = cache.word_embeddings.astype(np.float32)  # (V, D)
    train, dev = (split_corpus(cache, name) for name in ("train", "dev"))
    means = [
        mean_pool_forward(words[split.ids][None], split.offsets)[0][0]  # (S, D)
        for split in (train, dev)
    ]
    score, parameters = _chosen_head(means[0], train.labels, means[1], dev.labels)
    return score, parameters + words.size


def _chosen_head(x, labels, dev_x, dev_labels, *, fit=fit_linear_head, **how):
    """Dev accuracy and parameters of the classifier whose penalty does best on dev."""
    classes = int(labels.max()) + 1
    penalty = choose_penalty(x, labels, classes, dev_x, dev_labels, fit=fit, **how)
    weight, bias = fit(x, labels, classes, penalty=penalty)
    return accuracy(dev_x @ weight + bias, dev_labels), weight.size + bias.size
