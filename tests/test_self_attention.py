"""BERT's self-attention on packed sentences: no leak between them, forward or backward."""

import numpy as np

from spikebert_np.blocks.self_attention import self_attention_backward, self_attention_forward

D, HEADS, EPS = 12, 3, 1e-3
OFFSETS = np.array([0, 3, 4, 9])


def test_a_word_sees_its_own_sentence_only():
    rng = np.random.default_rng(8)
    params = {"norm.gain": rng.normal(0, 0.5, D), "norm.bias": rng.normal(0, 0.5, D)}
    for name in ("q", "k", "v", "output"):
        params[f"{name}.weight"] = rng.normal(0, D**-0.5, (D, D))
        params[f"{name}.bias"] = rng.normal(0, 0.5, D)

    def forward(x):
        return self_attention_forward(x, OFFSETS, params, heads=HEADS, eps=EPS)

    x = rng.standard_normal((OFFSETS[-1], D))
    changed = x.copy()
    changed[OFFSETS[1]] += 1  # the one word of the second sentence
    moved = np.abs(forward(changed)[0] - forward(x)[0]).max(axis=1) > 0
    assert moved.tolist() == [False] * 3 + [True] + [False] * 5
    dy = np.zeros_like(x)
    dy[OFFSETS[2] :] = rng.standard_normal((5, D))
    reached = np.abs(self_attention_backward(dy, forward(x)[1])[0]).max(axis=1) > 0
    assert reached.tolist() == [False] * 4 + [True] * 5
