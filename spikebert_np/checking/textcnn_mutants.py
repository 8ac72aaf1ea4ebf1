"""Wrong passes of the two TextCNNs and of the layers that they alone have.

The right ones stand in `layers/conv1d.py`, `layers/activations.py`, `layers/pooling.py` and
`models/`; what is wrong is the mutant's name.
"""

import numpy as np

from ..layers.conv1d import (
    WindowsCache,
    conv1d_backward,
    conv1d_forward,
    neighbours,
    windows_backward,
    windows_forward,
)
from ..layers.layernorm import layernorm_backward
from ..layers.linear import linear_backward
from ..layers.pooling import max_pool_backward
from ..models.spiking_textcnn import spiking_textcnn_backward
from ..models.textcnn import textcnn_backward
from .mutant import wrong_backward, wrong_forward

# --- windows and convolution: y[n, j] = x[n + j - left] -----------------------------------------


def places(dy, cache):
    """dy (..., N, K, D), a zero dx (..., N, D), and (j, tokens, their neighbours) of all places."""
    K = cache.width
    dy = dy.reshape(*dy.shape[:-1], K, -1)
    dx = np.zeros((*dy.shape[:-2], dy.shape[-1]))
    return dy, dx, [(j, *neighbours(cache.offsets, j - (K - 1) // 2)) for j in range(K)]


@wrong_backward("windows", "window not turned round", width=5)
def windows_gathered_again(dy, cache):
    dy, dx, all_places = places(dy, cache)
    for j, tokens, sources in all_places:
        dx[..., tokens, :] += dy[..., sources, j, :]
    return dx


@wrong_backward("windows", "windows overwritten", width=4)
def windows_of_the_last_place(dy, cache):
    dy, dx, all_places = places(dy, cache)
    for j, tokens, sources in all_places:
        dx[..., sources, :] = dy[..., tokens, j, :]
    return dx


@wrong_backward("windows", "own place only", width=3)
def windows_of_the_middle(dy, cache):
    dy, _, _ = places(dy, cache)
    return dy[..., 1, :]


@wrong_backward("windows", "window shifted by a token", width=4)
def windows_with_the_odd_zero_in_front(dy, cache):
    dy, dx, _ = places(dy, cache)
    for j in range(4):
        tokens, sources = neighbours(cache.offsets, j - 2)
        dx[..., sources, :] += dy[..., tokens, j, :]
    return dx


@wrong_backward("windows", "leaking across sentences", width=3)
def windows_into_the_next_sentence(dy, cache):
    return windows_backward(dy, cache._replace(offsets=cache.offsets[[0, -1]]))


@wrong_forward("windows", "leaking across sentences", width=3)
def windows_over_the_batch(x, offsets, *, width):
    y, _ = windows_forward(x, offsets[[0, -1]], width=width)
    return y, WindowsCache(offsets, width)


@wrong_backward("conv1d", "window begins at its token", width=3)
def convolution_of_what_follows(dy, cache):
    _, dweight, dbias = conv1d_backward(dy, cache)
    dwindows, dx, _ = places(dy @ cache.linear.weight.T, cache.windows)
    for j in range(3):
        tokens, sources = neighbours(cache.windows.offsets, j)
        dx[..., sources, :] += dwindows[..., tokens, j, :]
    return dx, dweight, dbias


@wrong_forward("conv1d", "leaking across sentences")
def convolution_over_the_batch(x, weight, bias, offsets):
    y, cache = conv1d_forward(x, weight, bias, offsets[[0, -1]])
    return y, cache._replace(windows=cache.windows._replace(offsets=offsets))


# --- ReLU and the maximum -----------------------------------------------------------------------


@wrong_backward("relu", "gate on the wrong side")
def relu_of_what_was_stopped(dy, cache):
    return dy * (cache.y <= 0)


@wrong_backward("relu", "passed straight through")
def relu_ignored(dy, cache):
    return dy


@wrong_backward("relu", "output for the gate")
def relu_as_a_product(dy, cache):
    return dy * cache.y


@wrong_backward("max_pool", "every token, not the winner")
def maximum_of_each_token(dy, cache):
    return np.repeat(dy, np.diff(cache.offsets), axis=-2)


@wrong_backward("max_pool", "mean for the maximum")
def maximum_as_a_mean(dy, cache):
    lengths = np.diff(cache.offsets)
    return np.repeat(dy / lengths[:, None], lengths, axis=-2)


@wrong_backward("max_pool", "winner counted from its sentence's start")
def maximum_of_another_sentence(dy, cache):
    return max_pool_backward(dy, cache._replace(winners=cache.winners - cache.offsets[:-1, None]))


# --- put together wrongly -----------------------------------------------------------------------


def without_weight(linear):
    """The cache of a linear layer whose input gets no gradient."""
    return linear._replace(weight=0 * linear.weight)


@wrong_backward("spiking_conv1d", "left out: lif")
def convolution_without_its_neuron(ds, cache):
    _, norm, _ = cache.unit
    dz, dgain, dbias = layernorm_backward(ds, norm)
    dwindows, dweight, dlinear_bias = linear_backward(dz, cache.unit.linear)
    dparams = {
        "weight": dweight, "bias": dlinear_bias, "norm.gain": dgain, "norm.bias": dbias,
    }  # fmt: skip
    return windows_backward(dwindows, cache.windows), dparams


@wrong_backward("textcnn", "path dropped: conv1d")
def embedding_of_the_first_kernels(dlogits, dtaps, cache):
    dparams = textcnn_backward(dlogits, dtaps, cache)
    *first, last = cache.kernels
    conv = last.conv._replace(linear=without_weight(last.conv.linear))
    deaf = cache._replace(kernels=(*first, last._replace(conv=conv)))
    partial = textcnn_backward(dlogits, dtaps, deaf)
    return dparams | {"embedding.weight": partial["embedding.weight"]}


@wrong_backward("textcnn", "left out: dropout", dropout=0.3)
def features_without_mask(dlogits, dtaps, cache):
    return textcnn_backward(
        dlogits, dtaps, cache._replace(dropout=cache.dropout._replace(mask=None))
    )


@wrong_backward("spiking_textcnn", "not divided by T")
def logits_as_a_sum_over_time(dlogits, dtaps, cache):
    return spiking_textcnn_backward(dlogits * cache.time.steps, dtaps, cache)


@wrong_backward("spiking_textcnn", "path dropped: spiking_conv1d")
def input_of_the_first_kernels(dlogits, dtaps, cache):
    dparams = spiking_textcnn_backward(dlogits, dtaps, cache)
    *first, last = cache.convs
    unit = last.unit._replace(linear=without_weight(last.unit.linear))
    deaf = cache._replace(convs=(*first, last._replace(unit=unit)))
    partial = spiking_textcnn_backward(dlogits, dtaps, deaf)
    return dparams | {key: grad for key, grad in partial.items() if key.startswith("embedding.")}
