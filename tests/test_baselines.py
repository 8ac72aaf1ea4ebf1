"""The baselines by hand, on corpora where the right answer is known."""

import numpy as np
import pytest
from tiny import make_cache

from spikebert_np.data.readers import Split
from spikebert_np.training.baselines import baseline_rows, teacher_accuracy_on_dev
from spikebert_np.training.corpora import split_corpus

CHINESE = ["房间很好", "房间不好", "服务很好", "服务不好", "很好", "不好"]  # good where 很 stands


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return make_cache(tmp_path_factory.mktemp("baselines"), train=200, dev=60)


def rows_of(cache, train, dev):
    corpus = {"train": Split(*train), "dev": Split(*dev)}
    return [(row["accuracy"], row["parameters"]) for row in baseline_rows(corpus, cache)]


def test_the_bag_of_words_reads_chinese_by_character(cache):
    labels = np.array([1, 0, 1, 0, 1, 0])
    dev = ["早餐很丰富", "早餐不丰富", "不"], np.array([1, 0, 0])
    majority, bag, _ = rows_of(cache, (CHINESE, labels), dev)
    assert majority == (2 / 3, 1)  # of two as frequent, class 0
    # 房间服务很不好, and 7 bigrams; 2 classes and their bias.
    words = {word for text in CHINESE for word in text}
    pairs = {text[i : i + 2] for text in CHINESE for i in range(len(text) - 1)}
    assert bag == (1.0, 2 * (len(words) + len(pairs)) + 2)


def test_the_majority_is_that_of_train(cache):
    train = ["a", "b", "c"], np.array([1, 1, 0])
    assert rows_of(cache, train, (["a", "b"], np.array([0, 0])))[0][0] == 0.0


def test_mean_word_embeddings_tell_what_one_word_tells(cache):
    """`tiny.texts`: the label says whether "good" stands in the sentence."""
    dev = split_corpus(cache, "dev")
    accuracy, parameters = rows_of(cache, (["a", "b"], np.arange(2)), (["a"], np.array([0])))[2]
    share = max(dev.labels.mean(), 1 - dev.labels.mean())
    assert accuracy > share + 0.1
    assert parameters == cache.word_embeddings.size + 6 * 2 + 2


def test_the_teacher_is_read_from_the_caches_logits(cache):
    right = cache.logits.argmax(axis=1) == cache.labels
    assert teacher_accuracy_on_dev(cache) == right[200:].mean() != right.mean()
    turned = cache._replace(logits=-cache.logits)
    assert teacher_accuracy_on_dev(turned) == 1 - right[200:].mean()
