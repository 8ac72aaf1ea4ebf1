"""The models that can be trained, by name: the one place that tells them apart.

Each has a frozen config dataclass and its functions, in the manner of `spikebert.py`:

    params = init(config, rng)                       parameter_shapes(config): (key, shape), ...
    output, cache = forward(ids, offsets, params, config, *, backend, rng, taps)
    dparams = backward(dlogits, dtaps, cache)        output: .logits (B, C) and .taps

The backward pass of a model that spikes takes `dspike` and `watch` too (`spikebert_backward`).
"""

from collections.abc import Callable
from typing import NamedTuple

from . import spikebert, spiking_textcnn, textcnn


class Kind(NamedTuple):
    name: str
    config: type
    init: Callable
    parameter_shapes: Callable
    forward: Callable
    backward: Callable
    taps: bool  # whether it has distillation taps, which hidden states can be compared with
    spikes: bool  # whether it has neurons that fire
    # Of a training pass' cache: {key: what this batch gave} of the parameters that only follow.
    statistics: Callable = lambda cache: {}
    # Of a config: whether a sentence's output hangs on the others of its batch.
    mixes_sentences: Callable = lambda config: False


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "spikebert",
            spikebert.SpikeBertConfig,
            spikebert.init_spikebert,
            spikebert.parameter_shapes,
            spikebert.spikebert_forward,
            spikebert.spikebert_backward,
            taps=True,
            spikes=True,
            statistics=spikebert.batch_statistics,
            mixes_sentences=lambda config: config.norm == "batch",
        ),
        Kind(
            "textcnn",
            textcnn.TextCNNConfig,
            textcnn.init_textcnn,
            textcnn.parameter_shapes,
            textcnn.textcnn_forward,
            textcnn.textcnn_backward,
            taps=False,
            spikes=False,
        ),
        Kind(
            "spiking_textcnn",
            spiking_textcnn.SpikingTextCNNConfig,
            spiking_textcnn.init_spiking_textcnn,
            spiking_textcnn.parameter_shapes,
            spiking_textcnn.spiking_textcnn_forward,
            spiking_textcnn.spiking_textcnn_backward,
            taps=False,
            spikes=True,
        ),
    )
}


def kind_of(config):
    """The Kind of a config dataclass."""
    return next(kind for kind in KINDS.values() if type(config) is kind.config)
