"""The memory that a training step takes at its peak, array by array.

    bytes = 4 (3 P + K G + N (T row + token) + N_w T alive)

P parameters, held three times: AdamW has two means of each. G are those without the embedding
matrix: each of the K parts of a batch has a gradient of its own of all of them. `row` numbers of
each of the T N rows, and `token` of each token, stand from the forward pass, which all parts end
before the first goes back, until the update. `alive` gradients of activations stand at once in the
worst place of a backward pass, of the N_w tokens whose parts go back at the same time: N / K for
each worker. It is late in the last part, when nearly all of the K G are there.

Left out is what a batch has by sentence and not by token, and what attention makes of one sentence.

Letters: T spike steps, N packed tokens, D width, F MLP width or filters, K words of a window.
"""

import math
from typing import NamedTuple

from ..models.kinds import kind_of
from ..models.spikebert import SpikeBertConfig
from ..models.spiking_textcnn import SpikingTextCNNConfig
from .step import PARTS


class Numbers(NamedTuple):
    """How many 4-byte numbers a step holds: a row of (T, N), a token, and a row going back."""

    row: float
    token: float
    alive: float


def step_bytes(config, tokens, *, taps=True, density=0.1, workers=1):
    """The peak of one step, update included, on a batch of so many tokens, in float32 bytes.

    config: of any of the KINDS. taps: whether hidden states are learnt from. density: the share of
    non-zeros in what the linear layers read, which keeps their events; 0 where none are kept.
    workers: that take the parts of a batch through the network at once.
    """
    kind = kind_of(config)
    parts = 1 if kind.mixes_sentences(config) else PARTS
    sizes = {key: math.prod(shape) for key, shape in kind.parameter_shapes(config)}
    parameters = sum(sizes.values())
    gradients = parameters - sizes["embedding.weight"]
    alive = _steps(config) * step_numbers(config, taps, density).alive
    going_back = tokens * min(workers, parts) / parts
    held = 3 * parameters + parts * gradients + going_back * alive
    return 4 * held + kept_bytes(config, tokens, taps=taps, density=density)


def kept_bytes(config, tokens, *, taps=True, density=0.1):
    """What the forward pass and the losses of so many tokens leave for the backward pass."""
    numbers = step_numbers(config, taps, density)
    return 4 * tokens * (_steps(config) * numbers.row + numbers.token)


def step_numbers(config, taps, density):
    """The Numbers of a config of any of the KINDS."""
    if isinstance(config, SpikeBertConfig):
        return _spikebert(config, taps, density)
    if isinstance(config, SpikingTextCNNConfig):
        return _spiking_textcnn(config, density)
    return _textcnn(config)


def _steps(config):
    return getattr(config, "steps", 1)


def _unit(width_in, width_out, density):
    """What a spiking linear unit keeps of a row; its input is somebody else's output."""
    normalised, membrane, spikes, inverse_std = width_out, width_out, width_out, 1
    events = 2 * density * width_in + 2  # column and value of each; where the row starts, in int64
    return normalised + membrane + spikes + inverse_std + events


def _spikebert(config, taps, density):
    D, F, words = config.width, config.mlp_width, config.embedding_width
    # x + mlp(x), of the last block what the head's layer norm makes of it; up and down.
    block = D + _unit(D, F, density) + _unit(F, D, density)
    if config.attention:
        # x + ssa(x); q, k, v and out; the membrane and the spikes of attention.
        block += D + 4 * _unit(D, D, density) + 2 * D
    row = config.blocks * block
    # The gradients of the words' rows, of all parts; the embedding loss, and its gradient.
    token = 3 * words
    if config.projection:
        token += config.kernel_width * words + D  # the windows; normalised
    if config.dropout:
        token += D  # the mask
    if config.encoder == "lif":
        row += 2 * D  # the membrane and the spikes
    else:
        token += D  # the current, of which all steps' spikes are a view
    if taps and config.teacher_width:
        # The mean over time. Normalised; the tap of its part, and of the batch; the teacher's;
        # their difference, and its gradient.
        token += config.blocks * (D + 6 * config.teacher_width)
    # In the MLP dy, dx and two of F. In attention dy, the MLP's dx and their sum; ds and dy of the
    # attention neuron; of q, k and v their own three, then dx of all three, and dz of the last.
    alive = max(2 * D + 2 * F, 12 * D if config.attention else 0)
    if config.norm == "batch":
        # In the MLP dy and five of F: ds, dy of the norm, dx_hat, and two terms of dz. In attention
        # the last four beside dx of q and k and the eight above.
        alive = max(D + 5 * F, 14 * D if config.attention else 0)
    return Numbers(row, token, alive)


def _spiking_textcnn(config, density):
    D, F, words, widths = config.width, config.filters, config.embedding_width, config.kernel_widths
    # The encoder's membrane and spikes; the windows of each kernel, and its unit.
    row = 2 * D + sum(K * D + _unit(K * D, F, density) for K in widths)
    # The word, and its projection, normalised; the gradients of the words' rows.
    token = words + D + words
    # dx so far, and this kernel's; its windows', and two of these words picked out; ds and dz.
    return Numbers(row, token, 2 * D + (max(widths) + 2) * D + 2 * F)


def _textcnn(config):
    F, words, widths = config.filters, config.embedding_width, config.kernel_widths
    # The windows of each kernel and what ReLU keeps; the gradients of the words' rows.
    row = sum(K * words + F for K in widths)
    # As in the spiking one.
    return Numbers(row, words, 2 * words + (max(widths) + 2) * words + 2 * F)
