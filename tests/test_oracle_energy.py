"""Our counts of operations and bytes against SpikingJelly's own counters, on a small model.

python -m pytest -m oracles tests/test_oracle_energy.py
"""

import numpy as np
import pytest

from spikebert_np.analysis.operations import count_student
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert, spikebert_forward

pytestmark = pytest.mark.oracles

CONFIG = SpikeBertConfig.original(
    vocab_size=11, width=8, heads=2, blocks=2, mlp_width=12, steps=3, classes=3, scale=0.5
)
IDS, OFFSETS = np.array([1, 5, 2, 7, 3]), np.array([0, 5])


def small_model(rng, residual):
    """Parameters. residual: "binary", where no neuron of `out` and `down` fires that another has
    fired already, so that all sums stay 0 or 1; "integers", where they do."""
    params = init_spikebert(CONFIG, rng)
    for name in params:
        if name.endswith(("q.norm.bias", "k.norm.bias", "v.norm.bias")):
            params[name] += np.float32(2)
    embedding = params["embedding.weight"]
    if residual == "binary":
        embedding[:, 2:] = -1
        fires = {"0.ssa.out": [2, 3], "0.mlp.down": [4, 5], "1.ssa.out": [6], "1.mlp.down": [7]}
        for name, neurons in fires.items():
            bias = params[f"blocks.{name}.norm.bias"]
            params[f"blocks.{name}.norm.gain"][:] = 0
            bias[:] = -10
            bias[neurons] = 10
    return params


def spikingjelly_counts(x, params):
    """{count: number} of a sentence whose encoder gives x (T, n, D)."""
    import torch
    from spikingjelly.activation_based import neuron
    from spikingjelly.activation_based.op_counter import SimpleEnergyProfiler
    from torch import nn

    def linear(name):
        weight = torch.tensor(params[f"{name}.weight"])
        module = nn.Linear(*weight.shape)
        module.weight.data, module.bias.data = weight.T, torch.tensor(params[f"{name}.bias"])
        return module

    def lif(v_th):
        return neuron.LIFNode(tau=2.0, v_threshold=v_th, v_reset=0.0, step_mode="m")

    def unit(name):
        gain = torch.tensor(params[f"{name}.norm.gain"])
        norm = nn.LayerNorm(len(gain))
        norm.weight.data, norm.bias.data = gain, torch.tensor(params[f"{name}.norm.bias"])
        return nn.Sequential(linear(name), norm, lif(1.0))

    class Block(nn.Module):
        def __init__(self, name):
            super().__init__()
            self.q, self.k, self.v, self.out = (unit(f"{name}.ssa.{p}") for p in (*"qkv", "out"))
            self.up, self.down = (unit(f"{name}.mlp.{part}") for part in ("up", "down"))
            self.attention = lif(0.5)

        def forward(self, x):
            q, k, v = (
                part(x).unflatten(-1, (CONFIG.heads, -1)).transpose(1, 2)
                for part in (self.q, self.k, self.v)
            )
            y = (q @ k.transpose(-1, -2)) @ v * CONFIG.scale  # (T, H, n, E)
            x = x + self.out(self.attention(y.transpose(1, 2).flatten(-2)))
            return x + self.down(self.up(x))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.Sequential(*(Block(f"blocks.{i}") for i in range(CONFIG.blocks)))
            self.norm, self.head = nn.LayerNorm(CONFIG.width), linear("head")

        def forward(self, x):
            return self.head(self.norm(self.blocks(x)).mean(dim=1).mean(dim=0, keepdim=True))

    model, profiler = Model(), SimpleEnergyProfiler()
    profiler.bind_model(model)
    with profiler, torch.no_grad():
        model(torch.tensor(x))
    return profiler.get_report().counts


def our_counts(layers):
    return {
        "mac": sum(layer.macs for layer in layers),
        "synop": sum(layer.acs for layer in layers),
        "weight_read_bytes": sum(4 * layer.weights for layer in layers),
        "bias_read_bytes": sum(4 * layer.biases for layer in layers),
        "neuron_state_read_bytes": sum(4 * layer.neurons for layer in layers),
        "neuron_state_write_bytes": sum(4 * layer.neurons for layer in layers),
    }


@pytest.mark.parametrize("residual", ["binary", "integers"])
def test_counts(rng, residual):
    pytest.importorskip("torch")
    pytest.importorskip("spikingjelly")
    params = small_model(rng, residual)
    _, cache = spikebert_forward(IDS, OFFSETS, params, CONFIG, backend="numpy")
    layers = count_student(cache)
    x = np.ascontiguousarray(cache.blocks[0].ssa.q.linear.x)  # (T, n, D)
    theirs = spikingjelly_counts(x, params)
    assert any(layer.macs for layer in layers[:-1]) == (residual == "integers")
    assert all(layer.acs for layer in layers[:-1] if layer.name.endswith(("qk", "qkv", "out")))
    # A layer whose input holds one integer is dense there, its zeros too.
    as_theirs = [
        layer._replace(
            acs=0.0,
            macs=layer.steps * layer.operations,
            weights=layer.steps * layer.operations,
        )
        if layer.macs
        else layer
        for layer in layers
    ]
    assert our_counts(as_theirs) == {name: theirs[name] for name in our_counts(layers)}
