"""Without a softmax attention is a product of three matrices, in whatever order they are taken."""

import numpy as np
import pytest

from spikebert_np.analysis.attention_cost import attention_by_channels, attention_costs
from spikebert_np.blocks.ssa import join_heads, split_heads, ssa_sentence_forward

HEADS = 3


def by_channels(q, k, v):
    return attention_by_channels(q, k, v, heads=HEADS, scale=1.0)


def vision_form(q, k, v):
    """v (qᵀ k), as the D x D form of vision is written."""
    q, k, v = (split_heads(x, HEADS) for x in (q, k, v))
    return join_heads(v @ (q.swapaxes(-1, -2) @ k))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tokens", [1, 5, 40])
def test_on_spikes_all_orders_are_equal_to_the_bit(rng, dtype, tokens):
    q, k, v = rng.integers(0, 2, (3, 4, tokens, 12)).astype(dtype)
    by_words = ssa_sentence_forward(q, k, v, heads=HEADS, scale=1.0)
    assert by_words.any()
    assert np.array_equal(by_words, by_channels(q, k, v))
    # The vision form is the same with the roles renamed: who is asked, who answers.
    assert np.array_equal(by_words, vision_form(q=k, k=v, v=q))
    # As it stands it is another function.
    assert tokens == 1 or not np.array_equal(by_words, vision_form(q, k, v))


def test_on_numbers_they_are_equal_to_rounding(rng):
    q, k, v = rng.standard_normal((3, 4, 9, 12))
    by_words = ssa_sentence_forward(q, k, v, heads=HEADS, scale=1.0)
    np.testing.assert_allclose(by_words, by_channels(q, k, v), rtol=1e-12, atol=1e-12)


def test_each_order_is_timed():
    costs = attention_costs((2, 5), width=8, heads=2, seconds=0.001)
    assert [cost.tokens for cost in costs] == [2, 5]
    assert all(cost.by_words > 0 and cost.by_channels > 0 for cost in costs)
