"""Packed batches: every sentence once, capped by tokens, rows gathered exactly."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spikebert_np.data.batches import batch_indices, gather_sentences, make_batch


def packed_offsets(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@given(
    lengths=st.lists(st.integers(2, 9), max_size=40),
    max_tokens=st.integers(1, 30),
    seed=st.none() | st.integers(0, 5),
)
def test_batches_hold_every_sentence_once_under_the_cap(lengths, max_tokens, seed):
    lengths = np.array(lengths, np.int64)
    rng = None if seed is None else np.random.default_rng(seed)
    batches = batch_indices(packed_offsets(lengths), max_tokens=max_tokens, rng=rng)
    order = np.concatenate([np.empty(0, np.int64), *batches])
    np.testing.assert_array_equal(np.sort(order), np.arange(len(lengths)))
    if rng is None:
        np.testing.assert_array_equal(order, np.arange(len(lengths)))
    for index in batches:
        assert lengths[index].sum() <= max_tokens or len(index) == 1
    # Full: no batch could have taken the sentence that opens the next one.
    for index, following in pairwise(batches):
        assert lengths[index].sum() + lengths[following[0]] > max_tokens


def test_shuffle_depends_on_the_generator_alone():
    offsets = packed_offsets(np.full(50, 3))
    first, again, other = (
        np.concatenate(batch_indices(offsets, max_tokens=12, rng=np.random.default_rng(seed)))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@given(data=st.data(), lengths=st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_batch_rows_are_the_sentences_rows(data, lengths):
    offsets = packed_offsets(lengths)
    ids = np.arange(offsets[-1], dtype=np.int32)
    labels = np.arange(len(lengths)) % 3
    index = np.array(data.draw(st.lists(st.sampled_from(range(len(lengths))), min_size=1)))
    batch = make_batch(ids, offsets, labels, index)
    assert batch.ids.dtype == np.int32
    assert batch.offsets.dtype == np.int64
    assert batch.offsets[0] == 0
    assert batch.offsets[-1] == len(batch.ids)
    np.testing.assert_array_equal(batch.labels, labels[index])
    np.testing.assert_array_equal(batch.index, index)
    for b, sentence in enumerate(index):
        np.testing.assert_array_equal(
            batch.ids[batch.offsets[b] : batch.offsets[b + 1]],
            ids[offsets[sentence] : offsets[sentence + 1]],
        )
    assert make_batch(ids, offsets, None, index).labels is None


def test_features_are_gathered_from_a_memory_map(tmp_path):
    offsets = packed_offsets([2, 4, 3])
    features = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float16)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r", allow_pickle=False)
    rows = gather_sentences(mapped, offsets, np.array([2, 0]))
    assert type(rows) is np.ndarray
    np.testing.assert_array_equal(rows, features[[6, 7, 8, 0, 1]])
