"""Workers: the parts of a batch add up to the batch, and the compiled AdamW is the plain one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_bert_gradients import CONFIG, IDS, LABELS, OFFSETS, random_params

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.data.batches import Batch
from spikebert_np.layers.embedding import RowGradient
from spikebert_np.models.bert import BertConfig
from spikebert_np.training.finetune_teacher import teacher_gradients
from spikebert_np.training.optim import adamw_init, adamw_step, clip_gradients
from spikebert_np.training.workers import split_batch, sum_gradients, workers


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 5))
def test_a_batch_is_cut_into_whole_sentences(lengths, count):
    offsets = np.cumsum([0, *lengths])
    spans = split_batch(offsets, count)
    assert 1 <= len(spans) <= count
    assert [0, *(last for _, last in spans)] == [*(first for first, _ in spans), len(lengths)]
    assert all(first < last for first, last in spans)
    # No part is longer than its share and one sentence more.
    tokens = [offsets[last] - offsets[first] for first, last in spans]
    assert max(tokens) <= offsets[-1] / count + max(lengths)


def test_two_workers_give_the_gradients_of_one():
    config = replace(BertConfig(**CONFIG), dropout=0, attention_dropout=0)
    params = random_params(config)
    batch = Batch(IDS, OFFSETS, LABELS, np.arange(3))
    results = []
    for count in (1, 2, 3):
        with workers(count) as run:
            results.append(teacher_gradients(params, config, batch, run, count, seed=[1]))
    loss, right, grads = results[0]
    for other_loss, other_right, other in results[1:]:
        assert abs(loss - other_loss) < 1e-12
        assert right == pytest.approx(other_right)
        assert grads.keys() == other.keys()
        np.testing.assert_array_equal(grads["embeddings.word"].ids, other["embeddings.word"].ids)
        for key, grad in grads.items():
            if not key.endswith("k.bias"):  # its gradient is zero
                values, expected = (getattr(g, "rows", g) for g in (other[key], grad))
                assert relative_error(values, expected) < 1e-10, key


def test_float32_stays_float32_through_the_workers():
    """Twice the bytes and half the speed, and no number would look wrong."""
    config = BertConfig(**CONFIG)
    params = {key: value.astype(np.float32) for key, value in random_params(config).items()}
    batch = Batch(IDS, OFFSETS, LABELS, np.arange(3))
    with workers(2) as run:
        _, _, grads = teacher_gradients(params, config, batch, run, 2, seed=[1])
    assert {getattr(grad, "rows", grad).dtype for grad in grads.values()} == {np.dtype(np.float32)}


def test_each_worker_and_each_step_draws_its_own_dropout():
    config = replace(BertConfig(**CONFIG), dropout=0.5)
    params = random_params(config)
    twins = np.concatenate([IDS[:3], IDS[:3]])
    batch = Batch(twins, np.array([0, 3, 6]), LABELS[[0, 0]], np.arange(2))
    with workers(2) as run:
        loss, *_ = teacher_gradients(params, config, batch, run, 2, seed=[0, 7])
        again, *_ = teacher_gradients(params, config, batch, run, 2, seed=[0, 7])
        next_step, *_ = teacher_gradients(params, config, batch, run, 2, seed=[0, 8])
        # The first worker alone: were the draws shared, both twins would have this loss.
        alone = Batch(twins[:3], batch.offsets[:2], LABELS[:1], [0])
        first, *_ = teacher_gradients(params, config, alone, run, 2, seed=[0, 7])
    assert loss == again
    assert abs(loss - next_step) > 1e-3
    assert abs(loss - first) > 1e-3


def test_row_gradients_of_different_words_add_up(rng):
    parts = [
        {"w": RowGradient(np.array(ids), rng.standard_normal((len(ids), 3)))}
        for ids in ([1, 4, 6], [0, 4], [6])
    ]
    dense = sum(part["w"].dense(8) for part in parts)
    total = sum_gradients(parts)["w"]
    np.testing.assert_array_equal(total.ids, [0, 1, 4, 6])
    np.testing.assert_allclose(total.dense(8), dense, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_compiled_adamw_is_the_plain_one(rng, dtype):
    shapes = {"a.weight": (3, 5), "a.bias": (4,), "embeddings.word": (6, 2)}
    start = {key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items()}
    scales = {"a.weight": 0.5}
    results = []
    for backend in ("numpy", "numba"):
        draw = np.random.default_rng(4)
        params = {key: value.copy() for key, value in start.items()}
        state = adamw_init(params)
        with workers(2) as run:
            for _ in range(3):
                grads = {
                    "a.weight": draw.standard_normal((5, 3)).astype(dtype).T,
                    "a.bias": draw.standard_normal(4).astype(dtype),
                    "embeddings.word": RowGradient(
                        np.array([1, 3]), draw.standard_normal((2, 2)).astype(dtype)
                    ),
                }
                settings = {"learning_rate": 0.1, "weight_decay": 0.2, "scales": scales}
                state = adamw_step(params, grads, state, **settings, backend=backend, run=run)
        results.append(params | {f"{key}.mean": value for key, value in state.mean.items()})
    for key, plain in results[0].items():
        assert results[1][key].dtype == dtype
        np.testing.assert_allclose(
            results[1][key], plain, rtol=1e-14 if dtype == np.float64 else 1e-6
        )


def test_a_scale_is_of_one_parameters_rate():
    params = {"a.bias": np.ones(2), "b.bias": np.ones(2)}
    grads = {"a.bias": np.array([3.0, -1.0]), "b.bias": np.array([3.0, -1.0])}
    adamw_step(params, grads, adamw_init(params), learning_rate=0.1, scales={"a.bias": 0.5})
    # The first step of Adam is the rate, whatever the gradient's size.
    np.testing.assert_allclose(params["a.bias"], [0.95, 1.05], atol=1e-8)
    np.testing.assert_allclose(params["b.bias"], [0.9, 1.1], atol=1e-8)


def test_clipping_with_workers_is_clipping(rng):
    grads = {key: rng.standard_normal((4, 3)) for key in "ab"}
    copies = {key: value.copy() for key, value in grads.items()}
    norm = clip_gradients(grads, 1.0)
    with workers(2) as run:
        assert clip_gradients(copies, 1.0, run=run) == pytest.approx(norm)
    for key, value in grads.items():
        np.testing.assert_array_equal(value, copies[key])
