"""TextCNN, the baseline without spikes (Kim 2014, arXiv 1408.5882).

    ids (N,) -> embedding x (N, D_emb)
    for each kernel width K:  max over the sentence of ReLU(conv1d(x)) -> (B, F)
    logits (B, C) = linear(dropout(the maxima of all kernels, end to end))

Kim's sizes: kernels of 3, 4 and 5 words, 100 filters each, dropout 0.5, one trained embedding
("CNN-non-static"). Three things differ. A sentence's windows are centred on its tokens, where Kim's
code pads by 4 zeros at both ends. AdamW's weight decay stands for his bound of 3 on the norm of the
last layer's columns. The words are WordPieces, not words with word2vec's rows.

Letters: N packed tokens, B sentences, D_emb embedding width, K tokens of a window, F filters of one
kernel width, V vocabulary, C classes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..layers.activations import ReluCache, relu_backward, relu_forward
from ..layers.conv1d import Conv1dCache, conv1d_backward, conv1d_forward
from ..layers.dropout import DropoutCache, dropout_backward, dropout_forward
from ..layers.embedding import EmbeddingCache, embedding_backward, embedding_forward
from ..layers.initializers import init_embedding, init_linear
from ..layers.linear import LinearCache, linear_backward, linear_forward
from ..layers.parameters import with_prefix
from ..layers.pooling import MaxPoolCache, max_pool_backward, max_pool_forward


@dataclass(frozen=True)
class TextCNNConfig:
    """The shape of a TextCNN.

    kernel_widths: the K of each convolution. filters: F of each of them.
    max_tokens: what a longer sentence is cut to where it is read; the model itself has no limit.
    dropout: rate on the pooled features, in training only.

    Raises ValueError where a number is out of range.
    """

    vocab_size: int
    classes: int = 2
    embedding_width: int = 384
    max_tokens: int = 128
    kernel_widths: tuple = (3, 4, 5)
    filters: int = 100
    dropout: float = 0.5

    def __post_init__(self):
        for name in ("vocab_size", "classes", "embedding_width", "max_tokens", "filters"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} = {value}: it must be at least 1")
        widths = self.kernel_widths
        if not widths or min(widths) < 1 or len({*widths}) < len(widths):
            raise ValueError(f"kernel_widths = {list(widths)}: give distinct widths of at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout}: it must be from 0 to below 1")


def init_textcnn(config, rng):
    """Float32 starting parameters of a TextCNN, as a flat dict."""
    width, filters = config.embedding_width, config.filters
    params = {"embedding.weight": init_embedding(rng, config.vocab_size, width)}
    for K in config.kernel_widths:
        params |= with_prefix(init_linear(rng, K * width, filters), f"convs.{K}.")
    pooled_width = len(config.kernel_widths) * filters
    return params | with_prefix(init_linear(rng, pooled_width, config.classes), "head.")


def parameter_shapes(config):
    """The (key, shape) of each parameter of `init_textcnn`, one by one; nothing is drawn."""
    yield "embedding.weight", (config.vocab_size, config.embedding_width)
    for K in config.kernel_widths:
        yield f"convs.{K}.weight", (K * config.embedding_width, config.filters)
        yield f"convs.{K}.bias", (config.filters,)
    yield "head.weight", (len(config.kernel_widths) * config.filters, config.classes)
    yield "head.bias", (config.classes,)


class TextCNNOutput(NamedTuple):
    logits: np.ndarray  # (B, C)
    taps: tuple = ()  # there are no blocks to tap


class KernelCache(NamedTuple):
    """One kernel width's."""

    conv: Conv1dCache
    relu: ReluCache
    pool: MaxPoolCache


class TextCNNCache(NamedTuple):
    embedding: EmbeddingCache
    kernels: tuple[KernelCache, ...]
    dropout: DropoutCache
    head: LinearCache


def textcnn_forward(ids, offsets, params, config, *, backend="numba", rng=None, taps=True):
    """Logits of a packed batch.

    ids: (N,) integers, offsets: (B + 1,), params: the dict of `init_textcnn`. rng: a numpy
    Generator in training, for dropout. taps: as every model takes it; this one has none.
    Returns a TextCNNOutput and the cache.
    """
    # 1. Look up.
    x, embedding_cache = embedding_forward(
        ids, params["embedding.weight"], backend=backend
    )  # (N, D_emb)
    # 2. The strongest answer of each filter anywhere in the sentence.
    pooled, kernel_caches = [], []
    for K in config.kernel_widths:
        z, conv_cache = conv1d_forward(
            x, params[f"convs.{K}.weight"], params[f"convs.{K}.bias"], offsets
        )  # (N, F)
        y, relu_cache = relu_forward(z)
        strongest, pool_cache = max_pool_forward(y, offsets)  # (B, F)
        pooled.append(strongest)
        kernel_caches.append(KernelCache(conv_cache, relu_cache, pool_cache))
    # 3. Classify.
    features = np.concatenate(pooled, axis=-1)  # (B, len(kernel_widths) * F)
    features, dropout_cache = dropout_forward(features, rate=config.dropout, rng=rng)
    logits, head_cache = linear_forward(features, params["head.weight"], params["head.bias"])
    cache = TextCNNCache(embedding_cache, tuple(kernel_caches), dropout_cache, head_cache)
    return TextCNNOutput(logits), cache


def textcnn_backward(dlogits, dtaps, cache):
    """The dict of all parameter gradients; `embedding.weight`'s is a RowGradient.

    dlogits: (B, C). dtaps: empty, as the taps are.
    """
    dparams = {}
    # logits = head(features)
    dfeatures, dparams["head.weight"], dparams["head.bias"] = linear_backward(dlogits, cache.head)
    dfeatures = dropout_backward(dfeatures, cache.dropout)
    # features = the kernels' maxima, end to end
    dpooled = np.split(dfeatures, len(cache.kernels), axis=-1)
    dx = 0
    for kernel, dstrongest in zip(cache.kernels, dpooled, strict=True):
        # strongest = max over tokens of y
        dy = max_pool_backward(dstrongest, kernel.pool)  # (N, F)
        # y = relu(z)
        dz = relu_backward(dy, kernel.relu)  # (N, F)
        # z = conv1d(x)
        dx_kernel, dweight, dbias = conv1d_backward(dz, kernel.conv)  # (N, D_emb)
        K = kernel.conv.windows.width
        dparams |= {f"convs.{K}.weight": dweight, f"convs.{K}.bias": dbias}
        # x was read by every kernel.
        dx = dx + dx_kernel
    # x = weight[ids]
    dparams["embedding.weight"] = embedding_backward(dx, cache.embedding)
    return dparams
