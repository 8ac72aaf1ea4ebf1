"""BERT's feed-forward block: two linear layers around a GELU, residual, layer norm
(Devlin et al. 2019, arXiv 1810.04805).

Letters: N packed tokens, D width, F MLP width.

Parameters: up.weight (D, F), up.bias (F,), down.weight (F, D), down.bias (D,);
norm.gain and norm.bias (D,).
"""

from typing import NamedTuple

from ..layers.activations import GeluCache, gelu_backward, gelu_forward
from ..layers.dropout import DropoutCache, dropout_backward, dropout_forward
from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from ..layers.linear import LinearCache, linear_backward, linear_forward


class FeedForwardCache(NamedTuple):
    up: LinearCache
    gelu: GeluCache
    down: LinearCache
    dropout: DropoutCache
    norm: LayerNormCache


def feed_forward_forward(x, params, *, eps, dropout=0.0, rng=None, backend="numpy"):
    """y = norm(x + dropout(down(gelu(up(x))))), each token on its own.

    x: (N, D), eps: the layer norm's. rng: a Generator in training, None without dropout.
    Returns y (N, D) and the cache.
    """
    # 1. Widen.
    h, up_cache = linear_forward(x, params["up.weight"], params["up.bias"])  # (N, F)
    # 2. Gate.
    a, gelu_cache = gelu_forward(h, backend=backend)  # (N, F)
    # 3. Back to the model's width.
    z, down_cache = linear_forward(a, params["down.weight"], params["down.bias"])  # (N, D)
    # 4. Dropout, residual, layer norm.
    kept, dropout_cache = dropout_forward(z, rate=dropout, rng=rng)  # (N, D)
    y, norm_cache = layernorm_forward(x + kept, params["norm.gain"], params["norm.bias"], eps=eps)
    return y, FeedForwardCache(up_cache, gelu_cache, down_cache, dropout_cache, norm_cache)


def feed_forward_backward(dy, cache):
    """dx (N, D) and the gradients of all parameters, from dy (N, D)."""
    grads = {}
    # y = norm(x + kept)
    dsum, grads["norm.gain"], grads["norm.bias"] = layernorm_backward(dy, cache.norm)  # (N, D)
    # kept = dropout(z)
    dz = dropout_backward(dsum, cache.dropout)  # (N, D)
    # z = down(a)
    da, grads["down.weight"], grads["down.bias"] = linear_backward(dz, cache.down)  # (N, F)
    # a = gelu(h)
    dh = gelu_backward(da, cache.gelu)  # (N, F)
    # h = up(x); the residual reads x too
    dx, grads["up.weight"], grads["up.bias"] = linear_backward(dh, cache.up)  # (N, D)
    return dsum + dx, grads
