"""Makes tests/references/lif_snntorch.npz: LIF forward and backward by snnTorch's `Leaky`.

    python tests/oracles/make_lif_snntorch_reference.py

The file holds a full grid. Its axes are arrays of the file: `taus`, with beta = 1 - 1/tau, and the
variants of the reset (`reset_mechanisms` and `reset_delays`, read together). For each T of `steps`:

    t{T}/x, t{T}/ds   (T, M)                shared input X and upstream dL/dS
    t{T}/scale        (taus, variants)      Leaky is fed scale * X, undivided by tau
    t{T}/spikes       (taus, variants, T, M) uint8
    t{T}/trace        (taus, variants, T, M) the membrane that Leaky returns
    t{T}/dx           (taus, variants, T, M) with atan(`alpha`)

beta and the threshold are given as float64 tensors (numbers are stored as float32). The spikes stay
float32, so that gradients are good to 1e-6. The scale is the one of a few for which the firing rate
comes closest to a third, and no membrane lies within 1e-6 of the threshold (it fires on >) or, for
"subtract" without delay, above twice the threshold (there it is no soft reset: see
tutorials/conventions.md).
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from libraries import run_snntorch
from snntorch import Leaky, surrogate

FOLDER = Path(__file__).parents[1] / "references"
NEURONS = 20
STEPS = (1, 4, 9)
V_TH = 0.75  # exact in float32, in which the undelayed reset computes
ALPHA = 3.0
TAUS = (1.5, 2.0, 3.0, 10.0)
VARIANTS = (("zero", True), ("zero", False), ("subtract", False), ("none", True))
SCALES = np.geomspace(0.1, 8, 40).round(2)


def leaky(tau, reset_mechanism, reset_delay, spike_grad=None):
    """A Leaky in float64 throughout, its spikes excepted."""
    return Leaky(
        beta=torch.tensor(1 - 1 / tau, dtype=torch.float64),
        threshold=torch.tensor(V_TH, dtype=torch.float64),
        spike_grad=spike_grad or surrogate.atan(ALPHA),
        reset_mechanism=reset_mechanism,
        reset_delay=reset_delay,
    )


def best_run(x, ds, tau, variant):
    """The scale, and the run with it."""

    def runs():
        for scale in SCALES:
            run = run_snntorch(leaky(tau, *variant), scale * x, ds)
            # Without delay the trace is V: H = V where it did not fire, V + v_th where it did.
            h = run.trace + V_TH * run.spikes if variant == ("subtract", False) else run.trace
            if np.abs(h - V_TH).min() > 1e-6 and (variant[0] != "subtract" or h.max() < 2 * V_TH):
                yield scale, run

    return min(runs(), key=lambda scale_and_run: abs(scale_and_run[1].spikes.mean() - 1 / 3))


def make():
    """File name -> its arrays. Refuses where a case is silent or saturated."""
    rng = np.random.default_rng(1)
    arrays = {
        "v_th": np.array(V_TH),
        "alpha": np.array(ALPHA),
        "steps": np.array(STEPS),
        "taus": np.array(TAUS),
        "reset_mechanisms": np.array([variant[0] for variant in VARIANTS]),
        "reset_delays": np.array([variant[1] for variant in VARIANTS]),
        "versions": np.array([f"{name} {version(name)}" for name in ("torch", "snntorch")]),
    }
    for steps in STEPS:
        x = rng.normal(0.3, 1, (steps, NEURONS))
        ds = rng.standard_normal((steps, NEURONS))
        grid = (len(TAUS), len(VARIANTS))
        scale = np.empty(grid)
        spikes, trace, dx = (np.empty((*grid, steps, NEURONS)) for _ in range(3))
        for i, j in np.ndindex(grid):
            scale[i, j], (spikes[i, j], trace[i, j], dx[i, j]) = best_run(
                x, ds, TAUS[i], VARIANTS[j]
            )
            if not 0.02 < spikes[i, j].mean() < 0.98:
                raise SystemExit(f"silent or saturated: T = {steps}, {TAUS[i]}, {VARIANTS[j]}")
        arrays |= {f"t{steps}/x": x, f"t{steps}/ds": ds, f"t{steps}/scale": scale}
        arrays |= {f"t{steps}/spikes": spikes.astype(np.uint8)}
        arrays |= {f"t{steps}/trace": trace, f"t{steps}/dx": dx}
    return {"lif_snntorch.npz": arrays}


def main():
    for name, arrays in make().items():
        np.savez_compressed(FOLDER / name, **arrays)
        print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB")
        for steps in STEPS:
            rates = arrays[f"t{steps}/spikes"].mean(axis=(-2, -1))
            print(f"T = {steps}: firing rates {rates.min():.1%} to {rates.max():.1%}")


if __name__ == "__main__":
    main()
