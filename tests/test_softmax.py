"""Softmax: a distribution, whatever is added to its input."""

import numpy as np

from spikebert_np.layers.softmax import softmax_backward, softmax_forward


def test_softmax_of_logarithms_is_their_shares():
    shares = np.array([[1.0, 3.0, 4.0], [6.0, 1.0, 1.0]]) / 8
    for shift in (0.0, -900.0, 900.0):  # exp(900) overflows
        y, _ = softmax_forward(np.log(shares) + shift)
        np.testing.assert_allclose(y, shares, rtol=1e-12)


def test_softmax_keeps_float32_and_its_input():
    x = np.array([[1, 2, 3]], np.float32)
    y, cache = softmax_forward(x)
    assert y.dtype == softmax_backward(x, cache).dtype == np.float32
    assert x.tolist() == [[1, 2, 3]]
