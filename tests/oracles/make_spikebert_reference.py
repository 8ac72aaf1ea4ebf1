"""Makes tests/references/spikebert_original*.npz from the PyTorch oracle.

    python tests/oracles/make_spikebert_reference.py

The first seed is taken that `is_usable` accepts. Parameters are stored in float32, which they were
drawn in, and computed with in float64.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from spikebert_torch import is_usable, random_params, run_oracle

FOLDER = Path(__file__).parents[1] / "references"
SHAPE = {"vocab": 23, "width": 16, "blocks": 2, "teacher_width": 12, "classes": 3}
SENTENCES, TOKENS = 3, 5
# The published constants; and a case that tau = 2, where 1/tau = 1 - 1/tau, cannot hide a bug from.
CASES = {
    "spikebert_original.npz": ({"tau": 2.0, "steps": 4, "v_th": 1.0}, 1.5),
    "spikebert_original_tau1.5.npz": ({"tau": 1.5, "steps": 3, "v_th": 0.7}, 0.75),
}


def draw(seed, neuron, qkv_drive):
    """One random model, batch and upstream gradient, with the oracle's answer."""
    rng = np.random.default_rng(seed)
    params = random_params(rng, **SHAPE, qkv_drive=qkv_drive)
    ids = rng.integers(0, SHAPE["vocab"], (SENTENCES, TOKENS))  # (B, L)
    upstream_logits = rng.standard_normal((SENTENCES, SHAPE["classes"]))  # (B, C)
    upstream_taps = rng.standard_normal(
        (SHAPE["blocks"], SENTENCES, TOKENS, SHAPE["teacher_width"])
    )  # (blocks, B, L, D_teacher)
    settings = {"heads": 4, "scale": 0.125, **neuron}
    result = run_oracle(ids, params, upstream_logits, upstream_taps, **settings)
    return params, ids, upstream_logits, upstream_taps, settings, result


def packed(x):
    """(..., B, L, D) -> (..., N, D)."""
    return x.reshape(*x.shape[:-3], -1, x.shape[-1])


def arrays_of(seed, params, ids, upstream_logits, upstream_taps, settings, result):
    arrays = {
        "ids": ids.reshape(-1).astype(np.int32),  # (N,)
        "offsets": np.arange(0, ids.size + 1, TOKENS, dtype=np.int64),  # (B+1,)
        "logits": result.logits,
        "upstream/logits": upstream_logits,
        "seed": np.array(seed),
        "versions": np.array([f"{name} {version(name)}" for name in ("torch", "spikingjelly")]),
    }
    for i, (tap, upstream) in enumerate(zip(result.taps, upstream_taps, strict=True)):
        arrays[f"taps/{i}"] = packed(tap)  # (N, D_teacher)
        arrays[f"upstream/taps/{i}"] = packed(upstream)  # (N, D_teacher)
    arrays |= {f"settings/{name}": np.array(value) for name, value in settings.items()}
    arrays |= {f"params/{name}": value for name, value in params.items()}
    arrays |= {f"grads/{name}": value for name, value in result.grads.items()}
    arrays |= {
        f"spikes/{layer}": packed(s).astype(np.uint8) for layer, s in result.spikes.items()
    }  # (T, N, D of the layer)
    return arrays


def make():
    """File name -> its arrays."""
    files = {}
    for name, (neuron, qkv_drive) in CASES.items():
        seed = 0
        while not is_usable((drawn := draw(seed, neuron, qkv_drive))[-1]):
            seed += 1
        files[name] = arrays_of(seed, *drawn)
        print(f"{name}: seed {seed}")
        result = drawn[-1]
        for layer, margin in result.margins.items():
            distance = np.abs(margin)
            rate, ties = result.spikes[layer].mean(), np.count_nonzero(distance == 0)
            nearest = distance[distance > 0].min()
            print(f"  {layer:20} fires {rate:6.1%}  nearest {nearest:.1e}  exact ties {ties}")
    return files


def main():
    for name, arrays in make().items():
        np.savez_compressed(FOLDER / name, **arrays)
        print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
