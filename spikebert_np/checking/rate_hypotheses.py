"""What the backward passes would give with the penalty on the firing rate wrong.

    L = ... + w_rate r,    r = (sum of all spikes) / (their number)

Each spike has the gradient dspike = w_rate / (their number) of it, at its own neuron and once.
"""

from ..blocks.encoder_block import encoder_block_backward
from ..blocks.mlp import mlp_backward
from ..blocks.spike_encoding import spike_encoding_backward
from ..blocks.spiking_linear import spiking_linear_backward
from ..blocks.ssa import attention_backward, ssa_backward
from ..layers.lif import lif_backward
from ..layers.parameters import with_prefix
from ..models.spikebert import spikebert_backward
from .block_cases import all_spikes


def penalty_by(backward, factor):
    """backward with dspike times factor(cache); ValueError where there is no penalty to change."""

    def wrong(*args, dspike=0.0):
        if not dspike:
            raise ValueError("there is no penalty")
        return backward(*args, dspike=factor(args[-1]) * dspike)

    return wrong


def of_the_sum(cache):
    """The number of spikes, which dspike was divided by."""
    return sum(s.size for s in all_spikes(cache))


def attention_unpenalised(dout, cache, *, dspike=0.0):
    """ssa_backward that leaves out the neurons between attention and its last unit."""
    if not dspike:
        raise ValueError("there is no penalty")
    ds, dout_params = spiking_linear_backward(dout, cache.out, dspike=dspike)
    dy = lif_backward(ds, cache.attention_lif)
    dx, dparams = 0, with_prefix(dout_params, "out.")
    for name, d in zip("qkv", attention_backward(dy, cache.attention), strict=True):
        dx_part, grads = spiking_linear_backward(d, getattr(cache, name), dspike=dspike)
        dx, dparams = dx + dx_part, dparams | with_prefix(grads, f"{name}.")
    return dx, dparams


def penalised_sums(*, first=False, second=False):
    """encoder_block_backward with dspike added to the sums x of spikes too: to x = x + ssa(x), to
    y = x + mlp(x) or to both, whose straight paths then carry it to where it was counted."""

    def wrong(dy, cache, *, dspike=0.0):
        if not dspike or cache.ssa is None:
            raise ValueError("there is no penalty, or no second sum")
        dx_mlp, dmlp = mlp_backward(dy, cache.mlp, dspike=dspike)
        dx = dy + second * dspike + dx_mlp
        dx_ssa, dssa = ssa_backward(dx, cache.ssa, dspike=dspike)
        dparams = with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")
        return dx + first * dspike + dx_ssa, dparams

    return wrong


def whole(backward):
    """The mistakes of who makes dspike, seen in all that is handed it."""
    return [
        ("penalty not divided", penalty_by(backward, of_the_sum)),
        ("penalty's sign", penalty_by(backward, lambda cache: -1)),
    ]


def at_one_neuron(backward):
    return [
        ("penalty left out", penalty_by(backward, lambda cache: 0)),
        ("penalty twice", penalty_by(backward, lambda cache: 2)),
    ]


RATE_HYPOTHESES = {
    spikebert_backward: whole(spikebert_backward),
    encoder_block_backward: [
        *whole(encoder_block_backward),
        ("penalty on the residual sum", penalised_sums(first=True)),
        ("penalty on the residual sum", penalised_sums(second=True)),
        ("penalty on the residual sum", penalised_sums(first=True, second=True)),
    ],
    ssa_backward: [("penalty left out", attention_unpenalised)],
    spiking_linear_backward: at_one_neuron(spiking_linear_backward),
    spike_encoding_backward: at_one_neuron(spike_encoding_backward),
}
