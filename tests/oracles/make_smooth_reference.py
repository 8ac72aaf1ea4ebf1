"""Makes tests/references/lif_smooth.npz: the smooth LIF neuron by PyTorch's autograd, and the
verdicts of `torch.autograd.gradcheck` on it.

    python tests/oracles/make_smooth_reference.py

`smooth_lif` is a torch twin of `LIFNeuron(spiking=False)`, written from the equations: every
derivative in it is autograd's. The axes are arrays of the file: `surrogates` and their `alphas`,
and the variants of the reset (`resets`, `v_resets`, `detach_resets`, read together).

    x, ds       (T, M)                            input and upstream dL/dS
    s, dx       (surrogates, variants, T, M)      smooth spikes and dL/dX
    verdicts    (surrogates, variants)            gradcheck of X -> S as it stands
    frozen      (surrogates, variants)            gradcheck with the reset driven by constant spikes

A detached reset's gradient is not the one of the network as it stands: its verdict is False and
must be, and with the spikes of the reset held constant it is True.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "references"
STEPS, NEURONS = 5, 8
TAU, V_TH = 3.0, 0.8
VARIANTS = (
    ("hard", -0.2, True),
    ("hard", -0.2, False),
    ("soft", 0.0, True),
    ("soft", 0.0, False),
    ("none", 0.0, False),
)
ALPHAS = {"atan": 3.0, "sigmoid": 4.0, "fast_sigmoid": 2.5, "triangle": 1.5, "rectangle": 0.6}


def primitive(name, u):
    """The surrogate's curve from 0 to 1, in torch; autograd makes its derivative."""
    z = ALPHAS[name] * u
    if name == "atan":
        return torch.atan(torch.pi / 2 * z) / torch.pi + 0.5
    if name == "sigmoid":
        return torch.sigmoid(z)
    if name == "fast_sigmoid":
        return (torch.nn.functional.softsign(z) + 1) / 2
    if name == "triangle":
        ramp = torch.clamp(1 - torch.abs(z), min=0) ** 2 / 2  # what is missing to 0 or 1
        return torch.where(z < 0, ramp, 1 - ramp)
    return torch.clamp(0.5 + z, 0, 1)


def smooth_lif(x, surrogate, reset, v_reset, detach_reset, reset_spikes=None):
    """x: (T, M) tensor -> S (T, M). reset_spikes: constants that drive the reset instead."""
    v = torch.full_like(x[0], v_reset)
    spikes = []
    for t, current in enumerate(x):
        h = v + (current - (v - v_reset)) / TAU
        s = primitive(surrogate, h - V_TH)
        r = s.detach() if detach_reset else s
        r = r if reset_spikes is None else reset_spikes[t]
        v = {"hard": r * v_reset + (1 - r) * h, "soft": h - r * V_TH, "none": h}[reset]
        spikes.append(s)
    return torch.stack(spikes)


def make():
    """File name -> its arrays."""
    rng = np.random.default_rng(2)
    x = rng.normal(1.0, 3.0, (STEPS, NEURONS))
    ds = rng.standard_normal((STEPS, NEURONS))
    grid = (len(ALPHAS), len(VARIANTS))
    smooth, dx = np.empty((*grid, STEPS, NEURONS)), np.empty((*grid, STEPS, NEURONS))
    verdicts, frozen = np.empty(grid, bool), np.empty(grid, bool)
    for i, j in np.ndindex(grid):
        surrogate, variant = list(ALPHAS)[i], VARIANTS[j]
        inputs = torch.tensor(x, requires_grad=True)
        s = smooth_lif(inputs, surrogate, *variant)
        smooth[i, j] = s.detach().numpy()
        dx[i, j] = torch.autograd.grad((s * torch.as_tensor(ds)).sum(), inputs)[0].numpy()
        constants = s.detach()
        verdicts[i, j] = torch.autograd.gradcheck(
            lambda x, of=(surrogate, *variant): smooth_lif(x, *of), inputs, raise_exception=False
        )
        frozen[i, j] = torch.autograd.gradcheck(
            lambda x, of=(surrogate, *variant), r=constants: smooth_lif(x, *of, r),
            inputs,
            raise_exception=False,
        )
    return {
        "lif_smooth.npz": {
            "tau": np.array(TAU),
            "v_th": np.array(V_TH),
            "surrogates": np.array(list(ALPHAS)),
            "alphas": np.array(list(ALPHAS.values())),
            "resets": np.array([variant[0] for variant in VARIANTS]),
            "v_resets": np.array([variant[1] for variant in VARIANTS]),
            "detach_resets": np.array([variant[2] for variant in VARIANTS]),
            "x": x,
            "ds": ds,
            "s": smooth,
            "dx": dx,
            "verdicts": verdicts,
            "frozen": frozen,
            "versions": np.array([f"torch {version('torch')}"]),
        }
    }


def main():
    for name, arrays in make().items():
        np.savez_compressed(FOLDER / name, **arrays)
        print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB")
        print(f"gradcheck as it stands (a row a surrogate):\n{arrays['verdicts']}")
        print(f"gradcheck with the reset's spikes constant:\n{arrays['frozen']}")


if __name__ == "__main__":
    main()
