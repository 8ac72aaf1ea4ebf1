"""Every block's backward pass against centred differences of its smooth twin, with the reset
attached and with it detached (the reset's trace is then frozen); and wrong backward passes, which
must be seen."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import assert_fires, assert_gradients, away_from_init, random_offsets

from spikebert_np.blocks.classifier_head import classifier_head_backward, classifier_head_forward
from spikebert_np.blocks.distillation_tap import (
    distillation_tap_backward,
    distillation_tap_forward,
)
from spikebert_np.blocks.encoder_block import (
    encoder_block_backward,
    encoder_block_forward,
    init_encoder_block,
)
from spikebert_np.blocks.mlp import init_mlp, mlp_backward, mlp_forward
from spikebert_np.blocks.spike_encoding import spike_encoding_backward, spike_encoding_forward
from spikebert_np.blocks.spike_input import spike_input_backward, spike_input_forward
from spikebert_np.blocks.spiking_linear import (
    init_spiking_linear,
    spiking_linear_backward,
    spiking_linear_forward,
)
from spikebert_np.blocks.ssa import (
    attention_backward,
    attention_forward,
    init_ssa,
    ssa_backward,
    ssa_forward,
    ssa_sentence_backward,
    ssa_sentence_forward,
)
from spikebert_np.layers.initializers import init_layernorm, init_linear
from spikebert_np.layers.layernorm import layernorm_backward
from spikebert_np.layers.lif import LIFNeuron, lif_step_backward
from spikebert_np.layers.parameters import with_prefix

TOLERANCE = 1e-6
STEPS, WIDTH, HEADS, MLP_WIDTH = 3, 6, 2, 7  # E = 3: no axis has the size of another but T and E
LENGTHS = [1, 4, 3]
TWIN = LIFNeuron(tau=3.0, v_th=0.4, v_reset=-0.2, decay_input=False, alpha=1.3, spiking=False)
NEURONS = {
    "detached": TWIN,
    "attached": replace(TWIN, tau=1.5, reset="soft", decay_input=True, detach_reset=False),
}

backends = pytest.mark.parametrize("backend", ["numpy", "numba"])
neurons = pytest.mark.parametrize("neuron", NEURONS.values(), ids=NEURONS)


def spike_counts(rng, *shape):
    """What a block reads: 0, 1 or 2 spikes."""
    return rng.integers(0, 3, shape).astype(np.float64)


def check(forward, backward, x, params, rng, neuron=None, **settings):
    """For a block that maps x and params: its input's gradient and each parameter's."""

    def run(arrays, neuron=neuron, frozen=None):
        params = {key: value for key, value in arrays.items() if key != "x"}
        inputs = (arrays["x"], params) if params else (arrays["x"],)
        spiking = {} if neuron is None else {"neuron": neuron, "frozen": frozen}
        return forward(*inputs, **spiking, **settings)

    def named(dy, cache):
        grads = backward(dy, cache)
        if not params:
            return {"x": grads}
        return {"x": grads[0], **grads[1]}

    arrays = {"x": x, **params}
    frozen = None
    if neuron is not None:
        assert_fires(run(arrays, replace(neuron, spiking=True))[1])
        if neuron.detach_reset:
            frozen = run(arrays)[1]
    assert_gradients(lambda a: run(a, frozen=frozen), named, arrays, rng, TOLERANCE)


@backends
@pytest.mark.parametrize("reset", ["hard", "soft", "none"])
@pytest.mark.parametrize("detach_reset", [False, True], ids=["attached", "detached"])
def test_spiking_linear(rng, detach_reset, reset, backend):
    params = away_from_init(init_spiking_linear(rng, 4, WIDTH), rng)
    x = spike_counts(rng, STEPS, 5, 4)
    for tau, decay_input in product((1.5, 3.0), (True, False)):
        neuron = replace(
            TWIN, tau=tau, reset=reset, detach_reset=detach_reset, decay_input=decay_input
        )
        forward, backward = spiking_linear_forward, spiking_linear_backward
        check(forward, backward, x, params, rng, neuron, backend=backend)


def test_attention_of_one_sentence(rng):
    q, k, v = rng.standard_normal((3, STEPS, 4, WIDTH))

    def forward(arrays):
        settings = {"heads": HEADS, "scale": 0.3}
        return ssa_sentence_forward(**arrays, **settings), (arrays, settings)

    def backward(dy, cache):
        arrays, settings = cache
        grads = ssa_sentence_backward(dy, **arrays, **settings)
        return dict(zip("qkv", grads, strict=True))

    assert_gradients(forward, backward, {"q": q, "k": k, "v": v}, rng, TOLERANCE)


@backends
def test_attention_of_a_packed_batch(rng, backend):
    _, offsets = random_offsets(rng, LENGTHS)
    q, k, v = rng.standard_normal((3, STEPS, offsets[-1], WIDTH))
    q[rng.random(q.shape) < 0.5] = 0  # the numba twin passes over zeros

    def forward(arrays):
        return attention_forward(**arrays, offsets=offsets, heads=HEADS, scale=0.3, backend=backend)

    def backward(dy, cache):
        return dict(zip("qkv", attention_backward(dy, cache), strict=True))

    assert_gradients(forward, backward, {"q": q, "k": k, "v": v}, rng, TOLERANCE)


@backends
@neurons
def test_ssa(rng, neuron, backend):
    check_ssa(rng, neuron, backend)


def check_ssa(rng, neuron, backend):
    _, offsets = random_offsets(rng, [1, 4])
    params = away_from_init(init_ssa(rng, WIDTH), rng)
    x = spike_counts(rng, STEPS, offsets[-1], WIDTH)
    settings = {"offsets": offsets, "heads": HEADS, "scale": 0.7, "backend": backend}
    check(ssa_forward, ssa_backward, x, params, rng, neuron, **settings)


@backends
@neurons
def test_mlp(rng, neuron, backend):
    params = away_from_init(init_mlp(rng, WIDTH, MLP_WIDTH), rng)
    x = spike_counts(rng, STEPS, 5, WIDTH)
    check(mlp_forward, mlp_backward, x, params, rng, neuron, backend=backend)


@backends
@neurons
@pytest.mark.parametrize("attention", [True, False])
def test_encoder_block(rng, attention, neuron, backend):
    check_encoder_block(rng, attention, neuron, backend)


def check_encoder_block(rng, attention, neuron, backend):
    _, offsets = random_offsets(rng, [1, 4])
    params = init_encoder_block(rng, WIDTH, MLP_WIDTH, attention=attention)
    params = away_from_init(params, rng)
    x = spike_counts(rng, STEPS, offsets[-1], WIDTH)
    settings = {
        "offsets": offsets,
        "heads": HEADS,
        "scale": 0.7,
        "attention": attention,
        "backend": backend,
    }
    check(encoder_block_forward, encoder_block_backward, x, params, rng, neuron, **settings)


@backends
@neurons
@pytest.mark.parametrize("encoder", ["lif", "heaviside"])
def test_spike_encoding(rng, encoder, neuron, backend):
    current = rng.standard_normal((5, WIDTH))
    settings = {"steps": STEPS, "encoder": encoder, "backend": backend}
    check(spike_encoding_forward, spike_encoding_backward, current, {}, rng, neuron, **settings)


@backends
@neurons
@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("projection", [True, False])
def test_spike_input(rng, projection, positions, neuron, backend):
    ids, offsets = random_offsets(rng, LENGTHS)
    assert len(np.unique(ids)) < len(ids), "no word stands twice"
    params = {"weight": rng.standard_normal((11, 4 if projection else WIDTH))}
    if projection:
        layer = init_linear(rng, 4, WIDTH)
        params |= with_prefix(layer, "projection.")
        params |= with_prefix(init_layernorm(WIDTH), "norm.")
    if positions:
        params["positions"] = np.zeros((5, WIDTH))
    params = away_from_init(params, rng)

    def forward(params, neuron=neuron, frozen=None):
        return spike_input_forward(
            ids,
            offsets,
            params,
            steps=STEPS,
            encoder="lif",
            neuron=neuron,
            dropout=0.3,
            rng=np.random.default_rng(9),
            backend=backend,
            frozen=frozen,
        )

    def backward(dx, cache):
        grads = spike_input_backward(dx, cache)
        return grads | {"weight": grads["weight"].dense(11)}

    assert_fires(forward(params, replace(neuron, spiking=True))[1])
    frozen = forward(params)[1] if neuron.detach_reset else None
    assert_gradients(lambda p: forward(p, frozen=frozen), backward, params, rng, TOLERANCE)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_classifier_head(rng, dropout):
    _, offsets = random_offsets(rng, LENGTHS)
    params = init_linear(rng, WIDTH, 4) | with_prefix(init_layernorm(WIDTH), "norm.")
    params = away_from_init(params, rng)
    x = spike_counts(rng, STEPS, offsets[-1], WIDTH)

    def forward(x, params):
        generator = np.random.default_rng(9)
        return classifier_head_forward(x, offsets, params, dropout=dropout, rng=generator)

    check(forward, classifier_head_backward, x, params, rng)


def test_distillation_tap(rng):
    params = init_linear(rng, WIDTH, 4) | with_prefix(init_layernorm(4), "norm.")
    params = away_from_init(params, rng)
    x = spike_counts(rng, STEPS, 5, WIDTH)
    check(distillation_tap_forward, distillation_tap_backward, x, params, rng)


# --- wrong backward passes, one mistake each: the checks above must go red ----------------------


def no_leak(ds, dv, h, s, neuron):
    dx, dv_before = lif_step_backward(ds, dv, h, s, neuron)
    return dx, np.zeros_like(dv_before)


def leak_of_tau_2(ds, dv, h, s, neuron):
    """1/tau for 1 - 1/tau: at tau = 2 nobody could tell."""
    dx, dv_before = lif_step_backward(ds, dv, h, s, neuron)
    return dx, dv_before / (neuron.tau - 1)


def always_detached(ds, dv, h, s, neuron):
    return lif_step_backward(ds, dv, h, s, replace(neuron, detach_reset=True))


def always_attached(ds, dv, h, s, neuron):
    return lif_step_backward(ds, dv, h, s, replace(neuron, detach_reset=False))


def k_and_v_swapped(dy, cache):
    dq, dk, dv = attention_backward(dy, cache)
    return dq, dv, dk


def no_straight_path(ds, cache):
    """The residual sum dy + (dx - dy): its other branch alone."""
    dx, dparams = mlp_backward(ds, cache)
    return dx - ds, dparams


def norm_of_constants(dy, cache):
    """As if mean and variance did not move with x."""
    _, dgain, dbias = layernorm_backward(dy, cache)
    return dy * cache.gain * cache.inv_std, dgain, dbias


MISTAKES = [
    ("layers.lif.lif_step_backward", no_leak, "detached"),
    ("layers.lif.lif_step_backward", leak_of_tau_2, "detached"),
    ("layers.lif.lif_step_backward", always_detached, "attached"),
    ("layers.lif.lif_step_backward", always_attached, "detached"),
    ("blocks.ssa.attention_backward", k_and_v_swapped, "detached"),
    ("blocks.encoder_block.mlp_backward", no_straight_path, "detached"),
    ("blocks.spiking_linear.layernorm_backward", norm_of_constants, "detached"),
]


@pytest.mark.parametrize(("name", "wrong", "neuron"), MISTAKES)
def test_a_wrong_backward_pass_is_seen(rng, monkeypatch, name, wrong, neuron):
    monkeypatch.setattr(f"spikebert_np.{name}", wrong)
    with pytest.raises(AssertionError, match="relative error"):
        check_encoder_block(rng, True, NEURONS[neuron], "numpy")
