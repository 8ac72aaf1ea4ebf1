"""What a backward pass would give if one term of its formula were wrong, for each term.

A diagnosis compares a learner's numbers with these. They are the formulas of the layers with a term
exchanged, whatever the code under test looks like: it is never run nor read here.
"""

import numpy as np

from ..blocks.self_attention import attention_sentence_backward
from ..blocks.spike_encoding import spike_encoding_backward
from ..blocks.ssa import attention_map, join_heads, split_heads, ssa_sentence_backward
from ..layers.activations import gelu_backward, tanh_backward
from ..layers.dropout import dropout_backward
from ..layers.embedding import RowGradient, embedding_backward, positions_backward
from ..layers.layernorm import layernorm_backward
from ..layers.lif import lif_backward, lif_step_backward
from ..layers.linear import linear_backward
from ..layers.losses import cross_entropy_backward, kl_divergence_backward, mse_backward
from ..layers.pooling import mean_over_time_backward, mean_pool_backward
from ..layers.softmax import softmax_backward
from ..layers.surrogate import SURROGATES
from ..training.distill import distillation_backward

# --- LIF:  dH = A dV + (dS + R dV) d;   dX = P dH;   dV[t-1] = L dH -----------------------------


def step_by(*, A=None, R=None, d=None, P=None, L=None, whole=False, added=False):
    """A step back whose terms are the right ones where None, else functions of (h, s, neuron).

    whole: the slope multiplies A dV too. added: dS + d in place of their product.
    """

    def step(ds, dv, h, s, neuron):
        terms = zip((A, R, d, P, L), TERMS, strict=True)
        a, r, slope, p, leak = ((wrong or right)(h, s, neuron) for wrong, right in terms)
        straight, through_spike = a * dv, ds + r * dv
        if whole:
            straight = straight * slope
        through_spike = through_spike + slope if added else through_spike * slope
        dh = straight + through_spike
        return p * dh, leak * dh

    return step


def reset_path(h, s, neuron):
    return {"hard": neuron.v_reset - h, "soft": -neuron.v_th, "none": 0}[neuron.reset]


def slope_at(u, neuron):
    return SURROGATES[neuron.surrogate].derivative(u, neuron.alpha)


TERMS = (
    lambda h, s, neuron: 1 - s if neuron.reset == "hard" else 1,
    lambda h, s, neuron: 0 if neuron.detach_reset else reset_path(h, s, neuron),
    lambda h, s, neuron: slope_at(h - neuron.v_th, neuron),
    lambda h, s, neuron: 1 / neuron.tau if neuron.decay_input else 1,
    lambda h, s, neuron: 1 - 1 / neuron.tau,
)


def after_reset(h, s, neuron):
    """V, by the reset's own rule."""
    if neuron.reset == "hard":
        return s * neuron.v_reset + (1 - s) * h
    return h - s * neuron.v_th if neuron.reset == "soft" else h


def unless_detached(term):
    return lambda h, s, neuron: 0 if neuron.detach_reset else term(h, s, neuron)


LIF_STEP = [
    ("leak dropped", step_by(L=lambda h, s, n: 0)),
    ("1/tau for 1 - 1/tau", step_by(L=lambda h, s, n: 1 / n.tau)),
    ("leak of 1", step_by(L=lambda h, s, n: 1)),
    ("reset factor missing", step_by(A=lambda h, s, n: 1)),
    ("reset factor inverted", step_by(A=lambda h, s, n: s)),
    ("reset attached", step_by(R=reset_path)),
    ("reset detached", step_by(R=lambda h, s, n: 0)),
    ("reset's sign", step_by(R=unless_detached(lambda h, s, n: -reset_path(h, s, n)))),
    ("soft reset's term for a hard one", step_by(R=unless_detached(lambda h, s, n: -n.v_th))),
    ("hard reset's term for a soft one", step_by(R=unless_detached(lambda h, s, n: n.v_reset - h))),
    ("v_reset forgotten", step_by(R=unless_detached(lambda h, s, n: -h))),
    ("surrogate at V", step_by(d=lambda h, s, n: slope_at(after_reset(h, s, n) - n.v_th, n))),
    ("surrogate at V", step_by(d=lambda h, s, n: slope_at(after_reset(h, s, n), n))),
    ("surrogate without the threshold", step_by(d=lambda h, s, n: slope_at(h, n))),
    ("surrogate left out", step_by(d=lambda h, s, n: 1)),
    ("alpha left out", step_by(
        d=lambda h, s, n: SURROGATES[n.surrogate].derivative(h - n.v_th, 1.0))),
    ("alpha left out", step_by(d=lambda h, s, n: slope_at(h - n.v_th, n) / n.alpha)),
    ("slope S (1 - S)", step_by(d=lambda h, s, n: s * (1 - s))),
    ("spike for slope", step_by(d=lambda h, s, n: s)),
    ("spike for slope", step_by(d=lambda h, s, n: (h >= n.v_th).astype(h.dtype))),
    ("surrogate on the carried gradient", step_by(whole=True)),
    ("upstream added to the slope", step_by(added=True)),
    ("input's 1/tau missing", step_by(P=lambda h, s, n: 1)),
    ("input's 1/tau too many", step_by(P=lambda h, s, n: 1 / n.tau)),
    ("1 - 1/tau on the input", step_by(P=lambda h, s, n: 1 - 1 / n.tau)),
    *(
        ("another surrogate", step_by(
            d=lambda h, s, n, name=name: SURROGATES[name].derivative(h - n.v_th, n.alpha)))
        for name in SURROGATES
    ),
]  # fmt: skip


def lif_forward_in_time(ds, cache):
    h, s, neuron, _ = cache
    dx, dv = np.empty_like(h), np.zeros_like(h[0])
    for t in range(len(h)):
        dx[t], dv = lif_step_backward(ds[t], dv, h[t], s[t], neuron)
    return dx


# --- linear -------------------------------------------------------------------------------------


def linear_by(*, x=None, rows=None, back=None):
    """dx by `back`, and the parameters' gradients from the chosen rows of x and of dy."""

    def backward(dy, cache):
        dx, dweight, dbias = linear_backward(dy, cache)
        flat_x = cache.x.reshape(-1, cache.x.shape[-1])
        flat_dy = dy.reshape(-1, dy.shape[-1])
        if rows is not None and dy.ndim == 3:
            flat_x, flat_dy = cache.x[rows], dy[rows]
        dweight, dbias = x(flat_x, flat_dy, dweight, dbias)
        if back and cache.weight.shape[0] == cache.weight.shape[1]:
            dx = back(dy, cache.weight)
        return dx, dweight, dbias

    return backward


def kept(x, dy, dweight, dbias):
    return dweight, dbias


LINEAR = [
    ("last step only", linear_by(rows=-1, x=lambda x, dy, dw, db: (x.T @ dy, db))),
    ("last step only", linear_by(rows=-1, x=lambda x, dy, dw, db: (dw, dy.sum(axis=0)))),
    ("last step only", linear_by(rows=-1, x=lambda x, dy, dw, db: (x.T @ dy, dy.sum(axis=0)))),
    ("first step only", linear_by(rows=0, x=lambda x, dy, dw, db: (x.T @ dy, db))),
    ("first step only", linear_by(rows=0, x=lambda x, dy, dw, db: (dw, dy.sum(axis=0)))),
    ("first step only", linear_by(rows=0, x=lambda x, dy, dw, db: (x.T @ dy, dy.sum(axis=0)))),
    ("averaged, not summed", linear_by(x=lambda x, dy, dw, db: (dw / len(x), db / len(x)))),
    ("averaged, not summed", linear_by(x=lambda x, dy, dw, db: (dw, db / len(x)))),
    ("averaged, not summed", linear_by(x=lambda x, dy, dw, db: (dw / len(x), db))),
    ("weight not transposed", linear_by(x=kept, back=lambda dy, weight: dy @ weight)),
    ("gradient missing", linear_by(x=lambda x, dy, dw, db: (dw, 0 * db))),
    ("gradient missing", linear_by(x=lambda x, dy, dw, db: (0 * dw, db))),
]

# --- layer norm:  dx = (M dx_hat) / std ---------------------------------------------------------


def norm_by(*, mean=1, variance=1, power=1, with_gain=True, axis=-1, gain=None, bias=None):
    """layernorm_backward with shares of its two means, a power of 1/std, and other parameters'
    gradients where `gain` and `bias`, functions of (dy, x_hat, gain), say so."""

    def backward(dy, cache):
        x_hat, inv_std, weight = cache
        _, dgain, dbias = layernorm_backward(dy, cache)
        dx_hat = dy * weight if with_gain else dy
        dx = dx_hat - mean * dx_hat.mean(axis=axis, keepdims=True)
        dx = dx - variance * x_hat * (dx_hat * x_hat).mean(axis=axis, keepdims=True)
        right = dgain, dbias
        dgain = gain(dy, x_hat, weight, right) if gain else dgain
        dbias = bias(dy, x_hat, weight, right) if bias else dbias
        return dx * inv_std**power, dgain, dbias

    return backward


def over_rows(x):
    return x.sum(axis=tuple(range(x.ndim - 1)))


LAYERNORM = [
    ("mean term missing", norm_by(mean=0)),
    ("variance term missing", norm_by(variance=0)),
    ("variance term missing", norm_by(mean=1, variance=-1)),
    ("statistics held constant", norm_by(mean=0, variance=0)),
    ("gain left out", norm_by(with_gain=False)),
    ("1/std left out", norm_by(power=0)),
    ("1/std twice", norm_by(power=2)),
    ("normalised over tokens", norm_by(axis=-2)),
    ("gain gradient without x_hat", norm_by(gain=lambda dy, x, w, right: right[1])),
    ("gain gradient with the scaled x_hat", norm_by(gain=lambda dy, x, w, right: right[0] * w)),
    ("gradients swapped", norm_by(gain=lambda dy, x, w, r: r[1], bias=lambda dy, x, w, r: r[0])),
    ("last step only", norm_by(gain=lambda dy, x, w, r: over_rows(dy[-1] * x[-1]))),
    ("last step only", norm_by(bias=lambda dy, x, w, r: over_rows(dy[-1]))),
    ("last step only", norm_by(gain=lambda dy, x, w, r: over_rows(dy[-1] * x[-1]),
                               bias=lambda dy, x, w, r: over_rows(dy[-1]))),
    ("averaged, not summed", norm_by(gain=lambda dy, x, w, r: r[0] * len(r[0]) / dy.size,
                                     bias=lambda dy, x, w, r: r[1] * len(r[1]) / dy.size)),
    ("averaged, not summed", norm_by(gain=lambda dy, x, w, r: r[0] * len(r[0]) / dy.size)),
    ("averaged, not summed", norm_by(bias=lambda dy, x, w, r: r[1] * len(r[1]) / dy.size)),
]  # fmt: skip

# --- embeddings ---------------------------------------------------------------------------------


def rows_by(combine):
    """embedding_backward with another way to put the gradients of one word together."""

    def backward(dy, cache):
        distinct = np.unique(cache.ids)
        return RowGradient(distinct, np.stack([combine(dy[cache.ids == i]) for i in distinct]))

    return backward


def positions_by(combine):
    def backward(dy, cache):
        dpositions = np.zeros((cache.rows, dy.shape[1]))
        for row in np.unique(cache.position):
            dpositions[row] = combine(dy[cache.position == row])
        return dy, dpositions

    return backward


def positions_through_the_batch(dy, cache):
    dpositions = np.zeros((cache.rows, dy.shape[1]))
    np.add.at(dpositions, np.minimum(np.arange(len(dy)), cache.rows - 1), dy)
    return dy, dpositions


def rows_of(how):
    return [
        ("rows overwritten", how(lambda rows: rows[-1])),
        ("rows overwritten", how(lambda rows: rows[0])),
        ("rows averaged", how(lambda rows: rows.mean(axis=0))),
    ]


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


def bert_without_softmax(dy, cache):
    q, k, v, softmax = cache
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
]
BERT_ATTENTION = [
    ("k and v swapped", exchanged(attention_sentence_backward, 1, 2)),
    ("q and k swapped", exchanged(attention_sentence_backward, 0, 1)),
    ("scale missing from dq and dk", times(attention_sentence_backward, root, root, 1)),
    ("scale missing from dq and dk", times(attention_sentence_backward, root, 1, 1)),
    ("scale missing from dq and dk", times(attention_sentence_backward, 1, root, 1)),
    ("scale twice", times(attention_sentence_backward, inverse_root, inverse_root, 1)),
    ("left out: softmax", bert_without_softmax),
]

# --- elementwise layers, pooling and losses: short enough to be written out ---------------------


def kl_through_the_teacher(dloss, cache):
    student, teacher, temperature = cache
    log_ratio = np.log(teacher) - np.log(student)
    centred = log_ratio - (teacher * log_ratio).sum(axis=-1, keepdims=True)
    dteacher = teacher * centred * dloss * temperature / len(student)
    return kl_divergence_backward(dloss, cache) + dteacher


def heaviside_by(combine, *, with_slope=True):
    """spike_encoding_backward of the heaviside encoder; a LIF one as it should be."""

    def backward(ds, cache):
        if cache.lif is not None:
            return spike_encoding_backward(ds, cache)
        neuron = cache.neuron
        return combine(ds) * (slope_at(cache.current, neuron) if with_slope else 1)

    return backward


def with_weight_1(name):
    """distillation_backward with one loss's weight forgotten."""
    return lambda cache: distillation_backward(
        cache._replace(weights=cache.weights._replace(**{name: 1.0}))
    )


def without(name):
    """distillation_backward with one loss's gradient overwritten by the other's."""
    return lambda cache: distillation_backward(cache._replace(**{name: None}))


def scaled(backward, factor):
    """The same times a function of the cache."""
    return lambda dy, cache: backward(dy, cache) * factor(cache)


HYPOTHESES = {
    lif_step_backward: LIF_STEP,
    lif_backward: [("forward in time", lif_forward_in_time)],
    linear_backward: LINEAR,
    layernorm_backward: LAYERNORM,
    embedding_backward: rows_of(rows_by),
    positions_backward: [
        *rows_of(positions_by),
        ("positions not restarted", positions_through_the_batch),
        ("gradient missing", lambda dy, cache: (dy, np.zeros((cache.rows, dy.shape[1])))),
    ],
    gelu_backward: [
        ("density term missing", lambda dy, c: dy * c.cdf),
        ("density not normalised", lambda dy, c: dy * (c.cdf + c.x * np.exp(c.x * c.x / -2))),
        ("density not normalised",
         lambda dy, c: dy * (c.cdf + c.x * np.exp(c.x * c.x / -2) / np.sqrt(np.pi))),
        ("density not normalised",
         lambda dy, c: dy * (c.cdf + np.exp(c.x * c.x / -2) / np.sqrt(2 * np.pi))),
    ],
    tanh_backward: [
        ("tanh not squared", lambda dy, c: dy * (1 - c.y)),
        ("slope at y for slope at x", lambda dy, c: dy * (1 - np.tanh(c.y) ** 2)),
    ],
    dropout_backward: [
        ("mask not scaled", lambda dy, c: dy if c.mask is None else dy * (c.mask > 0)),
        ("passed straight through", lambda dy, c: dy),
        ("mask not scaled", lambda dy, c: dy if c.mask is None else dy * c.mask**2),
    ],
    softmax_backward: [
        ("softmax's other entries", lambda dy, c: dy * c.y),
        ("softmax as a sigmoid", lambda dy, c: dy * c.y * (1 - c.y)),
        ("softmax's other entries",
         lambda dy, c: c.y * (dy - dy.sum(axis=-1, keepdims=True))),
        ("softmax's other entries",
         lambda dy, c: c.y * (dy - dy.mean(axis=-1, keepdims=True))),
        ("softmax's other entries",
         lambda dy, c: dy - (dy * c.y).sum(axis=-1, keepdims=True)),
    ],
    mean_pool_backward: [
        ("not divided by the length", lambda dy, c: np.repeat(dy, c.lengths, axis=1)),
        ("one length for all sentences",
         lambda dy, c: np.repeat(dy / c.lengths.mean(), c.lengths, axis=1)),
        ("one length for all sentences",
         lambda dy, c: np.repeat(dy / c.lengths.sum(), c.lengths, axis=1)),
        ("one length for all sentences",
         lambda dy, c: np.repeat(dy / c.lengths.max(), c.lengths, axis=1)),
    ],
    mean_over_time_backward: [
        ("not divided by T", lambda dy, c: np.broadcast_to(dy, (c.steps, *dy.shape))),
        ("last step only",
         lambda dy, c: np.stack([0 * dy] * (c.steps - 1) + [dy / c.steps])),
        ("last step only", lambda dy, c: np.stack([0 * dy] * (c.steps - 1) + [dy])),
    ],
    cross_entropy_backward: [
        ("one-hot not subtracted", lambda d, c: d * c.probabilities / len(c.labels)),
        ("not divided by the batch",
         scaled(cross_entropy_backward, lambda c: len(c.labels))),
        ("sign flipped", scaled(cross_entropy_backward, lambda c: -1)),
    ],
    kl_divergence_backward: [
        ("temperature squared missing",
         scaled(kl_divergence_backward, lambda c: c.temperature**-2)),
        ("temperature of the logits missing",
         scaled(kl_divergence_backward, lambda c: c.temperature)),
        ("temperature of the logits missing",
         scaled(kl_divergence_backward, lambda c: 1 / c.temperature)),
        ("not divided by the batch",
         scaled(kl_divergence_backward, lambda c: len(c.student))),
        ("sign flipped", scaled(kl_divergence_backward, lambda c: -1)),
        ("gradient through the teacher", kl_through_the_teacher),
    ],
    mse_backward: [
        ("2 missing", scaled(mse_backward, lambda c: 0.5)),
        ("divided by the rows only",
         scaled(mse_backward, lambda c: c.difference.size / len(c.difference))),
        ("not divided by the batch", scaled(mse_backward, lambda c: c.difference.size)),
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
