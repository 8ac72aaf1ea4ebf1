"""Without a softmax attention is a product of three matrices, in whatever order they are taken."""

import numpy as np
import pytest

from spikebert_np.analysis.attention_cost import attention_costs
from spikebert_np.blocks import ssa
from spikebert_np.blocks.ssa import (
    attention_map,
    by_channels_backward,
    by_channels_forward,
    by_words_backward,
    by_words_forward,
    split_heads,
    ssa_sentence_backward,
    ssa_sentence_forward,
)


def vision_form(q, k, v):
    """v (qᵀ k), as the D x D form of vision is written."""
    return v @ (q.mT @ k)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tokens", [1, 5, 40])
def test_on_spikes_all_orders_are_equal_to_the_bit(rng, dtype, tokens):
    q, k, v = rng.integers(0, 2, (3, 4, 3, tokens, 4)).astype(dtype)
    by_words = by_words_forward(q, k, v)
    assert by_words.any()
    assert np.array_equal(by_words, by_channels_forward(q, k, v))
    # The vision form is the same with the roles renamed: who is asked, who answers.
    assert np.array_equal(by_words, vision_form(q=k, k=v, v=q))
    # As it stands it is another function.
    assert tokens == 1 or not np.array_equal(by_words, vision_form(q, k, v))


def test_on_numbers_they_are_equal_to_rounding(rng):
    q, k, v, dz = rng.standard_normal((4, 4, 3, 9, 4))
    of_words = by_words_forward(q, k, v), *by_words_backward(dz, q, k, v)
    of_channels = by_channels_forward(q, k, v), *by_channels_backward(dz, q, k, v)
    for one, other in zip(of_words, of_channels, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("tokens", "order"), [(3, "by_words"), (4, "by_words"), (5, "by_channels")]
)
def test_a_sentence_takes_the_order_that_is_cheaper(rng, monkeypatch, tokens, order):
    taken = []
    for name in ("by_words", "by_channels"):
        for way in ("forward", "backward"):
            right = getattr(ssa, f"{name}_{way}")
            monkeypatch.setattr(
                ssa,
                f"{name}_{way}",
                lambda *args, name=name, right=right: (taken.append(name), right(*args))[1],
            )
    q, k, v, dy = rng.standard_normal((4, 2, tokens, 8))
    y = ssa_sentence_forward(q, k, v, heads=2, scale=0.5)
    ssa_sentence_backward(dy, q, k, v, heads=2, scale=0.5)
    assert taken == [order, order]
    expected = attention_map(q, k, 2) @ split_heads(v, 2)  # (T, H, n, E)
    np.testing.assert_allclose(split_heads(y, 2), 0.5 * expected, rtol=1e-12, atol=1e-12)


def test_each_order_is_timed():
    costs = attention_costs((2, 5), width=8, heads=2, seconds=0.001)
    assert [cost.tokens for cost in costs] == [2, 5]
    assert all(cost.by_words > 0 and cost.by_channels > 0 for cost in costs)
