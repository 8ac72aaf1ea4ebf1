"""Is a spiking network well? The figures of one training step, and what is wrong, in words.

A membrane is given in thresholds, u = (H - v_reset) / (v_th - v_reset): 0 at rest, from 1 on it
fires. Behind layer norm its root mean square is about 0.7; attention's, which nothing normalises,
has been 3 in a student that reads well.

Letters: T spike steps, N packed tokens, N_p those of a part of the batch, D width.
"""

import math

import numpy as np

from ..layers.lif import firing_floor
from .firing import neuron_layers, spike_layers

SILENT = 0.002  # share of a layer's neurons that fire: trained layers were seen from 0.01 on
SATURATED = 0.9
MEMBRANE = 20.0  # root mean square, in thresholds
UNEVEN = 1000.0  # the largest gradient norm of a block over the smallest
# Attention begins silent, for few q and k fire together. It was seen to wake after 300 steps.
ATTENTION_WAKES = 500
FEW = 0.01  # share of the currents that must reach the firing floor
# The histogram's bins, in thresholds; the outermost hold all beyond.
LOWEST, BIN_WIDTH, BINS = -2.0, 0.25, 16
_SAMPLED_TOKENS = 32  # of N_p, at most, that the membrane is measured on: it is a large array

_LOWER = "Try a lower --learning-rate"
_ADVICE = {
    "silent": "next to nothing passes through. Try a lower --v-th or --tau",
    "attention": "words do not meet there. Try a higher scale under [model] of a --config file, or "
    "a lower --v-th",
    "saturated": f"what always fires says nothing. {_LOWER} or a higher --v-th",
    "membrane": "far from the threshold the surrogate is flat, and little is learnt. "
    f"{_LOWER}, a higher --v-th or, for attention, a lower scale under [model] of a --config file",
    "not finite": f"it spreads from there. {_LOWER} or --clip-norm",
    "uneven": "clipping by the norm of the whole leaves the others next to nothing. Try a "
    "lower --v-th or --tau, or fewer --blocks",
}


def step_health(caches, grads, spike_gradients):
    """The figures of one step, plain numbers, as a line of health.jsonl.

    caches: of the forward pass, one a part of the batch. grads: of all parameters, not yet clipped.
    spike_gradients: {layer: (T,)} as of a `training.step.Step`, or None.
    Returns {"layers": {layer: ...}, "gradients": {layer: norm}, "spike_gradients": {layer: [norm
    at each spike step]}}. Of a layer: firing, the share of its neurons that fire; dead and
    saturated, the shares that fire nowhere in the batch, and everywhere; and, but for a heaviside
    encoder, which has no membrane: membrane, its root mean square; histogram, the shares of it in
    BINS bins.
    """
    spikes = [spike_layers(cache) for cache in caches]
    neurons = [neuron_layers(cache) for cache in caches]
    with np.errstate(all="ignore"):  # what is not finite is looked for here
        layers = {name: _firing_health([part[name] for part in spikes]) for name in spikes[0]}
        for name in neurons[0]:
            layers[name] |= _membrane_health([part[name] for part in neurons])
        return {
            "layers": layers,
            "gradients": _gradient_norms(grads, ["embedding", *layers]),
            "spike_gradients": {
                name: [_short(norm) for norm in norms]
                for name, norms in (spike_gradients or {}).items()
            },
        }


def _firing_health(spikes):
    """Of one layer's spikes (T, N_p, D), one a part."""
    counts = sum(np.einsum("tnd->d", s) for s in spikes)  # (D,), whole numbers: exact
    chances = sum(s.shape[0] * s.shape[1] for s in spikes)  # T N
    return {
        "firing": _short(counts.mean() / chances),
        "dead": _short((counts == 0).mean()),
        "saturated": _short((counts == chances).mean()),
    }


def _membrane_health(lifs):
    """Of one layer's LIFCaches, one a part."""
    u = np.concatenate([_sampled_membrane(lif) for lif in lifs])  # in thresholds
    # Three times as fast as np.histogram.
    bins = np.nan_to_num(np.clip((u - LOWEST) / BIN_WIDTH, 0, BINS - 1)).astype(np.uint8)
    return {
        "membrane": _short(np.sqrt(np.mean(np.square(u), dtype=np.float64))),
        "histogram": [_short(n / u.size) for n in np.bincount(bins, minlength=BINS)],
    }


def _sampled_membrane(lif):
    """Evenly spaced tokens' membrane, flat."""
    h, neuron = lif.h, lif.neuron
    stride = -(-h.shape[1] // _SAMPLED_TOKENS)
    return ((h[:, ::stride] - neuron.v_reset) / (neuron.v_th - neuron.v_reset)).ravel()


def _gradient_norms(grads, order):
    """{layer: the Euclidean norm of the gradient of all its parameters}, those in `order` first."""
    squares = {}
    for key, grad in grads.items():
        layer = layer_of(key)
        values = getattr(grad, "rows", grad)  # of a RowGradient
        squares[layer] = squares.get(layer, 0.0) + np.square(values, dtype=np.float64).sum()
    layers = [*squares][::-1]  # the backward pass meets the last layer first
    layers.sort(key=lambda layer: order.index(layer) if layer in order else len(order))
    return {layer: _short(np.sqrt(squares[layer])) for layer in layers}


def layer_of(key):
    """The layer that a parameter belongs to: blocks.0.ssa.q.norm.gain -> blocks.0.ssa.q."""
    names = key.split(".")
    if names[0] in ("embedding", "head"):
        return names[0]
    return ".".join(names[:4] if names[0] == "blocks" else names[:2])


def _short(value):
    """Four digits as a Python number; None, which JSON has a word for, where it is not finite."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def findings(health, step):
    """What is wrong by the figures of `step_health`: {kind: {layer: what, in words}}.

    step: how many steps the network has been trained for.
    """
    found = {kind: {} for kind in _ADVICE}
    layers = health["layers"]
    for name, layer in layers.items():
        membrane, firing = layer.get("membrane", 0.0), layer["firing"]
        if membrane is None or firing is None:  # the first: what follows has it from there
            what = f"the membrane of {name} is not finite"
            found["not finite"].setdefault("membrane", what)
            continue
        if membrane > MEMBRANE:
            size = f"{membrane:,.0f} thresholds large (root mean square)"
            found["membrane"][name] = f"the membrane of {name} is {size}"
        if firing < SILENT and not _excused(name, layers, step):
            kind = "attention" if name.endswith(".attn") else "silent"
            found[kind][name] = f"{name} fires at {100 * firing:.2g} %"
        if firing > SATURATED:
            found["saturated"][name] = f"{name} fires at {100 * firing:.3g} %"
    broken = [name for name, norm in health["gradients"].items() if norm is None]
    if broken and not found["not finite"]:  # the backward pass met the last of them first
        found["not finite"]["gradient"] = f"the gradient of {broken[-1]} is not finite"
    blocks = {}
    for name, norm in health["gradients"].items():
        if name.startswith("blocks.") and norm is not None:
            block = ".".join(name.split(".")[:2])
            blocks[block] = math.hypot(blocks.get(block, 0.0), norm)
    if blocks and max(blocks.values()) > UNEVEN * min(blocks.values()):
        most, least = (pick(blocks, key=blocks.get) for pick in (max, min))
        found["uneven"]["blocks"] = (
            f"the gradient of {most}, {blocks[most]:.2g}, is over {UNEVEN:,.0f} times that of "
            f"{least}, {blocks[least]:.2g}"
        )
    return {kind: layers for kind, layers in found.items() if layers}


def _excused(name, layers, step):
    """Whether a silent layer is as it should be: attention that sleeps, and what only reads it."""
    if name.endswith(".attn"):
        return step < ATTENTION_WAKES
    attention = layers.get(name.removesuffix(".out") + ".attn") if name.endswith(".out") else None
    return attention is not None and (attention["firing"] or 0) < SILENT


def sentence(kind, whats):
    """One sentence of some layers' findings of a kind: what is wrong, why, what to try."""
    more = f", and likewise {len(whats) - 3} layers more" if len(whats) > 3 else ""
    return f"{', '.join(whats[:3])}{more}: {_ADVICE[kind]}"


def floor_warning(neuron, steps):
    """A sentence where so few currents reach the firing floor that a network starts all but silent.

    A spiking unit's current comes from layer norm or batch norm: at the start, about normal numbers
    of mean 0 and spread 1. None where at least 1 % of them would fire, were they constant in time.
    """
    floor = firing_floor(neuron, steps)
    share = math.erfc(floor / math.sqrt(2)) / 2
    if share >= FEW:
        return None
    return (
        f"tau = {neuron.tau:g} and v_th = {neuron.v_th:g} in T = {steps} steps: a constant current "
        f"below {floor:.3g} never fires, and at the start {100 * share:.2g} % of a layer's lie "
        "above it, so that almost nothing will. Lower --tau or --v-th, or raise --steps"
    )
