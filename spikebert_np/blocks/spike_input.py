"""From ids to spikes: embedding, convolution, layer norm, learned positions, spike encoder.

Letters: T spike steps, N packed tokens, B sentences, V vocabulary, D_emb and D widths, K words of
a window, L positions.
"""

from typing import NamedTuple

from ..layers.conv1d import Conv1dCache, conv1d_backward, conv1d_forward
from ..layers.dropout import DropoutCache, dropout_backward, dropout_forward
from ..layers.embedding import (
    EmbeddingCache,
    PositionsCache,
    embedding_backward,
    embedding_forward,
    positions_backward,
    positions_forward,
)
from ..layers.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from .spike_encoding import SpikeEncodingCache, spike_encoding_backward, spike_encoding_forward


class SpikeInputCache(NamedTuple):
    embedding: EmbeddingCache
    projection: Conv1dCache | None
    norm: LayerNormCache | None
    positions: PositionsCache | None
    dropout: DropoutCache
    encoding: SpikeEncodingCache


def spike_input_forward(
    ids,
    offsets,
    params,
    *,
    steps,
    encoder,
    neuron,
    dropout=0.0,
    rng=None,
    backend="numpy",
    frozen=None,
):
    """ids (N,), offsets (B + 1,) -> spikes x (T, N, D), and the cache.

    params: weight (V, D_emb); with `projection.*` (K*D_emb, D) and `norm.*` for a convolution over
    windows of K words and its layer norm (K = 1: a linear layer, each word by itself); with
    `positions` (L, D) for learned positions. The published model has the weight alone, with
    D_emb = D.
    """
    projection_cache = norm_cache = positions_cache = None
    # 1. Look up.
    x, embedding_cache = embedding_forward(ids, params["weight"], backend=backend)  # (N, D_emb)
    # 2. Project and normalise: a current of the threshold's own size.
    if "projection.weight" in params:
        x, projection_cache = conv1d_forward(
            x, params["projection.weight"], params["projection.bias"], offsets
        )
        x, norm_cache = layernorm_forward(x, params["norm.gain"], params["norm.bias"])  # (N, D)
    # 3. Positions.
    if "positions" in params:
        x, positions_cache = positions_forward(x, params["positions"], offsets)
    x, dropout_cache = dropout_forward(x, rate=dropout, rng=rng)
    # 4. Spikes.
    x, encoding_cache = spike_encoding_forward(
        x,
        steps=steps,
        encoder=encoder,
        neuron=neuron,
        backend=backend,
        frozen=frozen and frozen.encoding,
    )  # (T, N, D)
    return x, SpikeInputCache(
        embedding_cache,
        projection_cache,
        norm_cache,
        positions_cache,
        dropout_cache,
        encoding_cache,
    )


def spike_input_backward(dx, cache, *, dspike=0.0):
    """The dict of parameter gradients, from dx (T, N, D). Ids have no gradient.

    dspike: see `spiking_linear_backward`.
    """
    dparams = {}
    # x = spikes of the current
    dx = spike_encoding_backward(dx, cache.encoding, dspike=dspike)  # (N, D)
    dx = dropout_backward(dx, cache.dropout)
    if cache.positions is not None:
        dx, dparams["positions"] = positions_backward(dx, cache.positions)
    if cache.projection is not None:
        dx, dparams["norm.gain"], dparams["norm.bias"] = layernorm_backward(dx, cache.norm)
        dx, dparams["projection.weight"], dparams["projection.bias"] = conv1d_backward(
            dx, cache.projection
        )  # (N, D_emb)
    # x = weight[ids]
    dparams["weight"] = embedding_backward(dx, cache.embedding)
    return dparams
