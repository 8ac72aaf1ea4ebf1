"""SpikeBERT's `original` mode in PyTorch and SpikingJelly, float64: the oracle of the NumPy model.

Written from the paper (Lv et al. 2023, arXiv 2308.15122) and its released code, on batches of
equal-length sentences (so without padding), with autograd for the gradients. It shares nothing with
`spikebert_np` but the names of the parameters. One fault of the released code is mended: its MLP
reshapes the hidden spikes to the model's width, which cannot run; here they keep their own width.

Letters: T spike steps, B sentences, L tokens a sentence, D width, H heads, E = D // H,
V vocabulary, C classes.
"""

from typing import NamedTuple

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch.nn.functional import layer_norm


class OracleResult(NamedTuple):
    """All NumPy float64. A layer is `encoder`, `blocks.0.ssa.q`, `blocks.0.ssa.attn`, ..."""

    logits: np.ndarray  # (B, C)
    taps: list  # one (B, L, D_teacher) a block
    spikes: dict  # layer -> (T, B, L, D of the layer), 0 or 1
    margins: dict  # layer -> H - v_th, the same shape: how far each neuron was from its threshold
    grads: dict  # parameter -> dL/dparameter


def random_params(rng, *, vocab, width, blocks, teacher_width, classes, qkv_drive):
    """Parameters that hide nothing: no unit gain, no zero bias. Float32 values, as a flat dict.

    qkv_drive is added to the bias of the layer norms of q, k and v: few coincidences of three
    spikes reach the attention's threshold unless these three fire often.
    """
    params = {}

    def normal(*shape, mean=0.0, std=1.0):
        return (mean + std * rng.standard_normal(shape)).astype(np.float32)

    def norm(name, d, drive=0.0):
        params[f"{name}.gain"] = normal(d, mean=1.0, std=0.3)
        params[f"{name}.bias"] = normal(d, mean=drive, std=0.3)

    def linear(name, d_in, d_out):
        params[f"{name}.weight"] = normal(d_in, d_out, std=d_in**-0.5)
        params[f"{name}.bias"] = normal(d_out, std=0.3)

    params["embedding.weight"] = normal(vocab, width)
    for i in range(blocks):
        for part in ("q", "k", "v", "out"):
            linear(f"blocks.{i}.ssa.{part}", width, width)
            norm(f"blocks.{i}.ssa.{part}.norm", width, 0.0 if part == "out" else qkv_drive)
        for part, d_in, d_out in (("up", width, 4 * width), ("down", 4 * width, width)):
            linear(f"blocks.{i}.mlp.{part}", d_in, d_out)
            norm(f"blocks.{i}.mlp.{part}.norm", d_out)
        linear(f"taps.{i}", width, teacher_width)
        norm(f"taps.{i}.norm", teacher_width)
    norm("head.norm", width)
    linear("head", width, classes)
    return params


def run_oracle(ids, params, upstream_logits, upstream_taps, *, heads, steps, tau, v_th, scale):
    """Forward and backward of L = sum(logits * r) + sum_i sum(tap_i * r_i), r the upstream arrays.

    ids: (B, L) integers; upstream_logits: (B, C); upstream_taps: one (B, L, D_teacher) a block.
    Returns an OracleResult.
    """
    p = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in params.items()
    }
    blocks = sum(name.endswith(".ssa.q.weight") for name in p)
    spikes, margins = {}, {}

    def lif(x, threshold, layer):
        node = neuron.LIFNode(
            tau=float(tau),
            decay_input=True,
            v_threshold=float(threshold),
            v_reset=0.0,
            surrogate_function=surrogate.ATan(alpha=2.0),
            detach_reset=True,
            step_mode="m",
            store_v_seq=True,
        )
        s = node(x)  # (T, B, L, D)
        with torch.no_grad():
            # v_seq holds V[t], after the reset; the charge equation gives H[t] back from V[t-1].
            v_before = torch.cat([torch.zeros_like(node.v_seq[:1]), node.v_seq[:-1]])
            margins[layer] = functional.lif_charge(x, v_before, float(tau), True, 0.0) - threshold
        spikes[layer] = s
        return s

    def linear_norm(x, name):
        y = x @ p[f"{name}.weight"] + p[f"{name}.bias"]
        gain, bias = p[f"{name}.norm.gain"], p[f"{name}.norm.bias"]
        return layer_norm(y, gain.shape, gain, bias, eps=1e-5)

    def ssa(x, name):
        def split_heads(s):  # (T, B, L, D) -> (T, B, H, L, E)
            return s.unflatten(-1, (heads, -1)).transpose(2, 3)

        q, k, v = (
            split_heads(lif(linear_norm(x, f"{name}.{part}"), v_th, f"{name}.{part}"))
            for part in ("q", "k", "v")
        )
        y = (q @ k.transpose(-2, -1)) @ v * scale  # (T, B, H, L, E)
        y = y.transpose(2, 3).flatten(-2)  # (T, B, L, D)
        y = lif(y, v_th / 2, f"{name}.attn")
        return lif(linear_norm(y, f"{name}.out"), v_th, f"{name}.out")

    def mlp(x, name):
        for part in ("up", "down"):
            x = lif(linear_norm(x, f"{name}.{part}"), v_th, f"{name}.{part}")
        return x

    embedded = p["embedding.weight"][torch.as_tensor(ids, dtype=torch.long)]  # (B, L, D)
    currents = embedded.repeat(steps, 1, 1, 1)  # (T, B, L, D)
    x = surrogate.ATan(alpha=2.0)(currents)
    spikes["encoder"], margins["encoder"] = x, currents.detach()
    taps = []
    for i in range(blocks):
        x = x + ssa(x, f"blocks.{i}.ssa")
        x = x + mlp(x, f"blocks.{i}.mlp")
        taps.append(linear_norm(x.mean(dim=0), f"taps.{i}"))  # (B, L, D_teacher)
    gain, bias = p["head.norm.gain"], p["head.norm.bias"]
    pooled = layer_norm(x, gain.shape, gain, bias, eps=1e-5).mean(dim=2)  # (T, B, D)
    logits = (pooled @ p["head.weight"] + p["head.bias"]).mean(dim=0)  # (B, C)

    loss = (logits * torch.as_tensor(upstream_logits)).sum()
    for tap, r in zip(taps, upstream_taps, strict=True):
        loss = loss + (tap * torch.as_tensor(r)).sum()
    grads = dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))

    def to_numpy(tensors):
        return {name: tensor.detach().numpy() for name, tensor in tensors.items()}

    return OracleResult(
        logits.detach().numpy(),
        [tap.detach().numpy() for tap in taps],
        to_numpy(spikes),
        to_numpy(margins),
        to_numpy(grads),
    )


def is_usable(result):
    """Whether rounding cannot flip a spike of an OracleResult, and no layer is silent or saturated.

    No neuron may come within 1e-6 of its threshold, and every layer must fire between 2 % and 98 %.
    The attention's neurons are let off where they stand exactly on it: with tau = 2 their input and
    their potential are sums of powers of two, exact in any order of summation, and a tie must fire.
    """
    for layer, margin in result.margins.items():
        distance = np.abs(margin)
        if layer.endswith(".attn"):
            distance = distance[distance > 0]
        if distance.min() < 1e-6 or not 0.02 < result.spikes[layer].mean() < 0.98:
            return False
    return True
