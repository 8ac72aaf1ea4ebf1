"""What the blocks' own formulas would give with one term wrong, term by term."""

from ..blocks.classifier_head import classifier_head_backward
from ..blocks.distillation_tap import distillation_tap_backward
from ..blocks.encoder_block import encoder_block_backward
from ..blocks.mlp import mlp_backward
from ..blocks.self_attention import attention_sentence_backward
from ..blocks.spike_encoding import spike_encoding_backward
from ..blocks.spike_input import spike_input_backward
from ..blocks.spiking_linear import spiking_linear_backward
from ..blocks.ssa import attention_map, join_heads, split_heads, ssa_backward, ssa_sentence_backward
from ..layers.batchnorm import BatchNormCache, batchnorm_backward
from ..layers.layernorm import layernorm_backward
from ..layers.lif import lif_backward
from ..layers.linear import linear_backward
from ..layers.parameters import with_prefix
from ..layers.softmax import softmax_backward
from ..models.spikebert import spikebert_backward
from ..training.distill import distillation_backward
from .lif_hypotheses import slope_at

# --- attention ----------------------------------------------------------------------------------


def exchanged(backward, i, j):
    """The same with two of its three gradients in each other's place."""

    def wrong(*args, **settings):
        grads = list(backward(*args, **settings))
        grads[i], grads[j] = grads[j], grads[i]
        return tuple(grads)

    return wrong


def times(backward, *factors):
    """The same, each gradient times its factor: a number or a function of the settings."""

    def wrong(*args, **settings):
        grads = backward(*args, **settings)
        numbers = (f(*args, **settings) if callable(f) else f for f in factors)
        return tuple(number * grad for number, grad in zip(numbers, grads, strict=True))

    return wrong


def sentence_of_confused(*, dq=False, dk=False):
    """ssa_sentence_backward with q for k in dq = da k, or k for q in dk = daᵀ q."""

    def backward(dy, q, k, v, *, heads, scale):
        right_dq, right_dk, dv = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
        da = split_heads(dy, heads) * scale @ split_heads(v, heads).swapaxes(-1, -2)
        of_q, of_k = da @ split_heads(q, heads), da.swapaxes(-1, -2) @ split_heads(k, heads)
        return join_heads(of_q) if dq else right_dq, join_heads(of_k) if dk else right_dk, dv

    return backward


def sentence_map_by(*, dk=False, dv=False):
    """ssa_sentence_backward without the transpose in dk or in dv."""

    def backward(dy, q, k, v, *, heads, scale):
        dq, right_dk, right_dv = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
        dav = split_heads(dy, heads) * scale
        if dk:
            da = dav @ split_heads(v, heads).swapaxes(-1, -2)
            right_dk = join_heads(da @ split_heads(q, heads))
        if dv:
            right_dv = join_heads(attention_map(q, k, heads) @ dav)
        return dq, right_dk, right_dv

    return backward


def sentence_summary_by(*, dq=False, dk=False, dv=False):
    """ssa_sentence_backward by channels, without the transpose in dq or dk, or with one in dv."""

    def backward(dy, q, k, v, *, heads, scale):
        right = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
        q, k, v, dz = (split_heads(x, heads) for x in (q, k, v, scale * dy))
        summary, dsummary = k.mT @ v, q.mT @ dz
        wrong = dz @ summary, v @ dsummary, k @ dsummary.mT
        turned = zip((dq, dk, dv), wrong, right, strict=True)
        return tuple(join_heads(bad) if turn else good for turn, bad, good in turned)

    return backward


def joined_without_transpose(dy, q, k, v, *, heads, scale):
    grads = ssa_sentence_backward(dy, q, k, v, heads=heads, scale=scale)
    return tuple(split_heads(grad, heads).reshape(grad.shape) for grad in grads)


def of_one_head(dy, q, k, v, *, heads, scale):
    return ssa_sentence_backward(dy, q, k, v, heads=1, scale=scale)


def bert_map_by(*, dk=False, dv=False):
    """attention_sentence_backward without the transpose in dk or in dv."""

    def backward(dy, cache):
        q, v, softmax = cache.q, cache.v, cache.softmax
        dq, right_dk, right_dv = attention_sentence_backward(dy, cache)
        if dk:
            da = dy @ v.swapaxes(1, 2)
            right_dk = softmax_backward(da, softmax) * q.shape[2] ** -0.5 @ q
        return dq, right_dk, softmax.y @ dy if dv else right_dv

    return backward


def bert_without_softmax(dy, cache):
    q, k, v, softmax = cache.q, cache.k, cache.v, cache.softmax
    dscores = dy @ v.swapaxes(1, 2) * q.shape[2] ** -0.5
    return dscores @ k, dscores.swapaxes(1, 2) @ q, softmax.y.swapaxes(1, 2) @ dy


def the_scale(dy, q, k, v, *, heads, scale):
    return scale


def its_inverse(dy, q, k, v, *, heads, scale):
    return 1 / scale


def root(dy, cache):
    return cache.q.shape[2] ** 0.5


def inverse_root(dy, cache):
    return cache.q.shape[2] ** -0.5


SSA = [
    ("heads not split", of_one_head),
    ("heads joined without a transpose", joined_without_transpose),
    ("k and v swapped", exchanged(ssa_sentence_backward, 1, 2)),
    ("q and k swapped", exchanged(ssa_sentence_backward, 0, 1)),
    ("scale missing", times(ssa_sentence_backward, its_inverse, its_inverse, its_inverse)),
    ("scale missing from dv", times(ssa_sentence_backward, 1, 1, its_inverse)),
    ("scale missing from dq and dk", times(ssa_sentence_backward, its_inverse, its_inverse, 1)),
    ("scale missing from dq and dk", times(ssa_sentence_backward, its_inverse, 1, 1)),
    ("scale missing from dq and dk", times(ssa_sentence_backward, 1, its_inverse, 1)),
    ("scale twice", times(ssa_sentence_backward, the_scale, the_scale, the_scale)),
    ("map not transposed", sentence_map_by(dk=True)),
    ("map not transposed", sentence_map_by(dv=True)),
    ("map not transposed", sentence_map_by(dk=True, dv=True)),
    ("summary not transposed", sentence_summary_by(dq=True)),
    ("summary not transposed", sentence_summary_by(dk=True)),
    ("summary not transposed", sentence_summary_by(dq=True, dk=True)),
    ("summary not transposed", sentence_summary_by(dv=True)),
    ("q for k, or k for q", sentence_of_confused(dq=True)),
    ("q for k, or k for q", sentence_of_confused(dk=True)),
    ("q for k, or k for q", sentence_of_confused(dq=True, dk=True)),
]
BERT_ATTENTION = [
    ("k and v swapped", exchanged(attention_sentence_backward, 1, 2)),
    ("q and k swapped", exchanged(attention_sentence_backward, 0, 1)),
    ("scale missing from dq and dk", times(attention_sentence_backward, root, root, 1)),
    ("scale missing from dq and dk", times(attention_sentence_backward, root, 1, 1)),
    ("scale missing from dq and dk", times(attention_sentence_backward, 1, root, 1)),
    ("scale twice", times(attention_sentence_backward, inverse_root, inverse_root, 1)),
    ("left out: softmax", bert_without_softmax),
    ("map not transposed", bert_map_by(dv=True)),
    ("map not transposed", bert_map_by(dk=True)),
    ("map not transposed", bert_map_by(dk=True, dv=True)),
]

# --- the heaviside encoder and the distillation loss ----------------------------------------------


def heaviside_by(combine, *, with_slope=True):
    """spike_encoding_backward of the heaviside encoder; a LIF one as it should be."""

    def backward(ds, cache, *, dspike=0.0):
        if cache.lif is not None:
            return spike_encoding_backward(ds, cache, dspike=dspike)
        neuron = cache.neuron
        return combine(ds + dspike) * (slope_at(cache.current, neuron) if with_slope else 1)

    return backward


def with_weight_1(name):
    """distillation_backward with one loss's weight forgotten."""
    return lambda cache: distillation_backward(
        cache._replace(weights=cache.weights._replace(**{name: 1.0}))
    )


def without(name):
    """distillation_backward with one loss's gradient overwritten by the other's."""
    return lambda cache: distillation_backward(cache._replace(**{name: None}))


def mlp_before_ssa(dy, cache, *, dspike=0.0):
    """encoder_block_backward in the order of the forward pass."""
    if cache.ssa is None:
        return encoder_block_backward(dy, cache, dspike=dspike)
    dx_ssa, dssa = ssa_backward(dy, cache.ssa, dspike=dspike)
    dx_mlp, dmlp = mlp_backward(dy + dx_ssa, cache.mlp, dspike=dspike)
    dparams = with_prefix(dmlp, "mlp.") | with_prefix(dssa, "ssa.")
    return dy + dx_ssa + dx_mlp, dparams


def norm_before_lif(ds, cache, *, dspike=0.0):
    """spiking_linear_backward with its two upper layers in the order of the forward pass."""
    norm_backward = (
        batchnorm_backward if isinstance(cache.norm, BatchNormCache) else layernorm_backward
    )
    dz, dgain, dbias = norm_backward(ds + dspike, cache.norm)
    dx, dweight, dlinear_bias = linear_backward(lif_backward(dz, cache.lif), cache.linear)
    return dx, {"weight": dweight, "bias": dlinear_bias, "norm.gain": dgain, "norm.bias": dbias}


def student_walked(*, order=reversed, tap_below=False, taps=1):
    """spikebert_backward with its blocks in another order, or its taps joined below, or not."""

    def backward(dlogits, dtaps, cache, *, dspike=0.0):
        dx, dhead = classifier_head_backward(dlogits, cache.head)
        dparams = with_prefix(dhead, "head.")
        for i in order(range(len(cache.blocks))):
            dx_tap, dtap = distillation_tap_backward(dtaps[i], cache.taps[i])
            dparams |= with_prefix(dtap, f"taps.{i}.")
            dx_tap = taps * dx_tap
            above, below = (0, dx_tap) if tap_below else (dx_tap, 0)
            dx, dblock = encoder_block_backward(dx + above, cache.blocks[i], dspike=dspike)
            dx = dx + below
            dparams |= with_prefix(dblock, f"blocks.{i}.")
        dinput = spike_input_backward(dx, cache.input, dspike=dspike)
        return dparams | with_prefix(dinput, "embedding.")

    return backward


BLOCK_HYPOTHESES = {
    spiking_linear_backward: [("in the wrong order: layernorm", norm_before_lif)],
    encoder_block_backward: [("in the wrong order: ssa", mlp_before_ssa)],
    spikebert_backward: [
        ("in the wrong order: encoder_block", student_walked(order=iter)),
        ("in the wrong order: distillation_tap", student_walked(tap_below=True)),
        ("path dropped: distillation_tap", student_walked(taps=0)),
    ],
    spike_encoding_backward: [
        ("surrogate left out", heaviside_by(lambda ds: ds.sum(axis=0), with_slope=False)),
        ("last step only", heaviside_by(lambda ds: ds[-1])),
        ("first step only", heaviside_by(lambda ds: ds[0])),
        ("averaged, not summed", heaviside_by(lambda ds: ds.mean(axis=0))),
    ],
    distillation_backward: [
        *(("loss weight missing", with_weight_1(name)) for name in ("ce", "kl", "feat", "emb")),
        *(("loss overwritten", without(name)) for name in ("ce", "kl")),
    ],
    ssa_sentence_backward: SSA,
    attention_sentence_backward: BERT_ATTENTION,
}  # fmt: skip
