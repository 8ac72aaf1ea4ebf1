"""Wrong backward passes of the penalty on the firing rate: forgotten at one neuron, counted twice,
handed down the straight path, undivided, or a reward."""

from ..blocks.encoder_block import encoder_block_backward
from ..blocks.mlp import mlp_backward
from ..blocks.spike_encoding import spike_encoding_backward
from ..blocks.spiking_linear import spiking_linear_backward
from ..blocks.ssa import ssa_backward
from ..layers.parameters import with_prefix
from ..models.spikebert import spikebert_backward
from .block_cases import all_spikes
from .mutant import wrong_backward
from .planting import planted
from .rate_hypotheses import attention_unpenalised


def block_by(dy, cache, dspike, *, mlp=mlp_backward, ssa=ssa_backward):
    """encoder_block_backward with another MLP or attention."""
    dx_mlp, dmlp = mlp(dy, cache.mlp, dspike=dspike)
    dx = dy + dx_mlp
    dx_ssa, dssa = ssa(dx, cache.ssa, dspike=dspike)
    return dx + dx_ssa, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


@wrong_backward("encoder_block_rate", "penalty left out", attention=True)
def hidden_spikes_are_free(dy, cache, *, dspike):
    def mlp(ds, cache, *, dspike):
        dhidden, ddown = spiking_linear_backward(ds, cache.down, dspike=dspike)
        dx, dup = spiking_linear_backward(dhidden, cache.up)
        return dx, with_prefix(dup, "up.") | with_prefix(ddown, "down.")

    return block_by(dy, cache, dspike, mlp=mlp)


@wrong_backward("encoder_block_rate", "penalty left out", attention=True)
def attention_spikes_are_free(dy, cache, *, dspike):
    return block_by(dy, cache, dspike, ssa=attention_unpenalised)


@wrong_backward("encoder_block_rate", "penalty on the residual sum", attention=True)
def block_penalises_its_sum(dy, cache, *, dspike):
    dx, dparams = encoder_block_backward(dy, cache, dspike=dspike)
    return dx + dspike, dparams


@wrong_backward("encoder_block_rate", "penalty on the residual sum", attention=True)
def block_adds_the_penalty_in_place(dy, cache, *, dspike):
    # As `dy += dspike` before the MLP would: the straight path carries on what was added.
    dx_mlp, dmlp = mlp_backward(dy, cache.mlp, dspike=dspike)
    dx = dy + dspike + dx_mlp
    dx_ssa, dssa = ssa_backward(dx, cache.ssa, dspike=dspike)
    return dx + dx_ssa, with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")


@wrong_backward("encoder_block_rate", "penalty not divided")
def block_by_the_sum_of_spikes(dy, cache, *, dspike):
    count = sum(s.size for s in all_spikes(cache))
    return encoder_block_backward(dy, cache, dspike=count * dspike)


@wrong_backward("encoder_block_rate", "penalty's sign")
def block_rewards_spikes(dy, cache, *, dspike):
    return encoder_block_backward(dy, cache, dspike=-dspike)


@wrong_backward("spikebert_rate", "penalty left out")
def encoder_spikes_are_free(dlogits, dtaps, cache, *, dspike):
    with planted(spike_encoding_backward, lambda ds, cache, *, dspike: (
        spike_encoding_backward(ds, cache)
    )):  # fmt: skip
        return spikebert_backward(dlogits, dtaps, cache, dspike=dspike)


@wrong_backward("spikebert_rate", "penalty twice")
def encoder_spikes_count_for_two_readers(dlogits, dtaps, cache, *, dspike):
    with planted(spike_encoding_backward, lambda ds, cache, *, dspike: (
        spike_encoding_backward(ds, cache, dspike=2 * dspike)
    )):  # fmt: skip
        return spikebert_backward(dlogits, dtaps, cache, dspike=dspike)


@wrong_backward("spikebert_rate", "penalty's sign")
def student_rewards_spikes(dlogits, dtaps, cache, *, dspike):
    return spikebert_backward(dlogits, dtaps, cache, dspike=-dspike)
