"""What the backward passes of the two TextCNNs' layers would give with one thing in them wrong."""

import numpy as np

from ..layers.activations import relu_backward
from ..layers.conv1d import neighbours, windows_backward
from ..layers.pooling import max_pool_backward


def windows_by(*, left=lambda K: (K - 1) // 2, turned=True, added=True, places=range):
    """windows_backward with another first place, or with neighbours n + shift where n is due and
    the other way round, with the last gradient in place of the sum, or with some places alone."""

    def backward(dy, cache):
        K = cache.width
        dy = dy.reshape(*dy.shape[:-1], K, -1)  # (..., N, K, D)
        dx = np.zeros((*dy.shape[:-2], dy.shape[-1]), dy.dtype)  # (..., N, D)
        for j in places(K):
            tokens, sources = neighbours(cache.offsets, j - left(K))
            if not turned:
                tokens, sources = sources, tokens
            kept = dx[..., sources, :] if added else 0
            dx[..., sources, :] = kept + dy[..., tokens, j, :]
        return dx

    return backward


def to_every_token(dy, cache):
    return np.repeat(dy, np.diff(cache.offsets), axis=-2)


def as_a_mean(dy, cache):
    return to_every_token(dy / np.diff(cache.offsets)[:, None], cache)


def from_the_sentences_start(dy, cache):
    return max_pool_backward(dy, cache._replace(winners=cache.winners - cache.offsets[:-1, None]))


TEXTCNN_HYPOTHESES = {
    windows_backward: [
        ("window not turned round", windows_by(turned=False)),
        ("windows overwritten", windows_by(added=False)),
        ("windows overwritten", windows_by(added=False, places=lambda K: reversed(range(K)))),
        ("window shifted by a token", windows_by(left=lambda K: K // 2)),
        ("window shifted by a token", windows_by(left=lambda K: (K - 1) // 2 + 1)),
        ("window shifted by a token", windows_by(left=lambda K: (K - 1) // 2 - 1)),
        ("window begins at its token", windows_by(left=lambda K: 0)),
        ("window ends at its token", windows_by(left=lambda K: K - 1)),
        ("own place only", windows_by(places=lambda K: [(K - 1) // 2])),
    ],
    relu_backward: [
        ("passed straight through", lambda dy, c: dy),
        ("gate on the wrong side", lambda dy, c: dy * (c.y == 0)),
        ("output for the gate", lambda dy, c: dy * c.y),
    ],
    max_pool_backward: [
        ("every token, not the winner", to_every_token),
        ("mean for the maximum", as_a_mean),
        ("winner counted from its sentence's start", from_the_sentences_start),
    ],
}
