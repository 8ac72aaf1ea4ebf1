"""Convolution over packed sentences, the maximum over them, and ReLU: by their definitions."""

from itertools import pairwise

import numpy as np
import pytest

from spikebert_np.layers.activations import relu_backward, relu_forward
from spikebert_np.layers.conv1d import (
    conv1d_backward,
    conv1d_forward,
    windows_backward,
    windows_forward,
)
from spikebert_np.layers.pooling import max_pool_backward, max_pool_forward

OFFSETS = np.array([0, 1, 6, 8])  # the first and the last sentence are shorter than most windows
widths = pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 9])
leadings = pytest.mark.parametrize("leading", [(), (3,)], ids=["(N, D)", "(T, N, D)"])


def convolution_by_definition(x, weight, bias, offsets):
    """y[n] = b + sum over j of x[n + j - left] W[j]; weight: (K, D_in, D_out)."""
    y = np.zeros((*x.shape[:-1], weight.shape[2])) + bias
    for start, end in pairwise(offsets):
        for n in range(start, end):
            for j, tap in enumerate(weight):
                m = n + j - (len(weight) - 1) // 2
                if start <= m < end:
                    y[..., n, :] += x[..., m, :] @ tap
    return y


@widths
@leadings
def test_convolution_is_its_definition(rng, leading, width):
    x = rng.standard_normal((*leading, 8, 3))
    weight, bias = rng.standard_normal((width, 3, 4)), rng.standard_normal(4)
    y, _ = conv1d_forward(x, weight.reshape(-1, 4), bias, OFFSETS)
    expected = convolution_by_definition(x, weight, bias, OFFSETS)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-12)


@widths
@leadings
def test_a_batch_gives_what_its_sentences_give_one_by_one(rng, leading, width):
    x, dy = rng.standard_normal((*leading, 8, 3)), rng.standard_normal((*leading, 8, 4))
    dwindows = rng.standard_normal((*leading, 8, width * 3))
    weight, bias = rng.standard_normal((width * 3, 4)), rng.standard_normal(4)
    windows, windows_cache = windows_forward(x, OFFSETS, width=width)
    y, cache = conv1d_forward(x, weight, bias, OFFSETS)
    dx, dweight, dbias = conv1d_backward(dy, cache)
    total = [0, 0]
    for start, end in pairwise(OFFSETS):
        own, alone = np.s_[..., start:end, :], np.array([0, end - start])
        # Copies of numbers, and their sums in one order: exactly equal.
        one, one_cache = windows_forward(x[own], alone, width=width)
        np.testing.assert_array_equal(windows[own], one)
        np.testing.assert_array_equal(
            windows_backward(dwindows, windows_cache)[own],
            windows_backward(dwindows[own], one_cache),
        )
        # A matrix product sums a row in an order that may hang on the number of rows.
        one, one_cache = conv1d_forward(x[own], weight, bias, alone)
        np.testing.assert_allclose(y[own], one, rtol=0, atol=1e-13)
        one_dx, *parts = conv1d_backward(dy[own], one_cache)
        np.testing.assert_allclose(dx[own], one_dx, rtol=0, atol=1e-13)
        total = [a + b for a, b in zip(total, parts, strict=True)]
    np.testing.assert_allclose(dweight, total[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(dbias, total[1], rtol=0, atol=1e-12)


def test_no_window_reaches_another_sentence(rng):
    x = rng.standard_normal((8, 3))
    before, _ = windows_forward(x, OFFSETS, width=5)
    x[1:6] = np.nan
    after, _ = windows_forward(x, OFFSETS, width=5)
    assert np.isfinite(after[[0, 6, 7]]).all()
    np.testing.assert_array_equal(after[[0, 6, 7]], before[[0, 6, 7]])
    assert np.count_nonzero(before[0]) == 3  # the one token of its sentence


@leadings
def test_the_maximum_is_of_each_sentence_and_its_gradient_goes_to_the_winner(rng, leading):
    x = rng.standard_normal((*leading, 8, 3)) - 5  # a zero would win
    y, cache = max_pool_forward(x, OFFSETS)
    dy = rng.standard_normal(y.shape)
    dx = max_pool_backward(dy, cache)
    for b, (start, end) in enumerate(pairwise(OFFSETS)):
        own = x[..., start:end, :]
        np.testing.assert_array_equal(y[..., b, :], own.max(axis=-2))
        won = own == own.max(axis=-2, keepdims=True)
        expected = np.where(won, dy[..., b, None, :], 0)
        np.testing.assert_array_equal(dx[..., start:end, :], expected)


def test_of_equal_tokens_the_first_takes_the_whole_gradient():
    x = np.array([[1.0, 2.0], [3.0, 2.0], [3.0, 2.0]])
    y, cache = max_pool_forward(x, np.array([0, 3]))
    assert y.tolist() == [[3, 2]]
    dx = max_pool_backward(np.array([[5.0, 7.0]]), cache)
    assert dx.tolist() == [[0, 7], [5, 0], [0, 0]]


def test_relu_and_its_corner():
    x = np.array([-2.0, -0.0, 0.0, 1e-300, 3.0], np.float64)
    y, cache = relu_forward(x)
    assert y.tolist() == [0, 0, 0, 1e-300, 3]
    assert relu_backward(np.full(5, 2.0), cache).tolist() == [0, 0, 0, 2, 2]
    y, cache = relu_forward(x.astype(np.float32))
    assert y.dtype == relu_backward(y, cache).dtype == np.float32
