"""Makes tests/references/lif_spikingjelly.npz: LIF forward and backward by SpikingJelly, float64.

    python tests/oracles/make_lif_reference.py

The file holds a full grid. Its axes are arrays of the file: `surrogates` and their `alphas`,
`taus`, `decay_inputs` and the variants of the reset (`resets`, `v_resets`, `detach_resets`, read
together). For each T of `steps`:

    t{T}/x, t{T}/ds   (T, M)                        shared input X and upstream dL/dS
    t{T}/scale        (taus, decays, variants)      the layer's input is scale * X
    t{T}/spikes       (taus, decays, variants, T, M) uint8; no surrogate moves a spike
    t{T}/dx           (surrogates, taus, decays, variants, T, M)
    t4/h, t4/v        (taus, decays, variants, T, M) H[t] before the reset and V[t] after it

The scale is the one of a few for which the firing rate comes closest to a third and no |H - v_th|
lies within 1e-6 of a jump, of the spike or of a surrogate. SpikingJelly has no spiking LIF node
without a reset: reset "none" is put together here from its own charge equation and surrogates.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron, surrogate

FOLDER = Path(__file__).parents[1] / "references"
NEURONS = 10
STEPS = (1, 4, 9)
V_TH = 0.8
TAUS = (1.5, 2.0, 3.0, 10.0)
DECAYS = (True, False)
VARIANTS = (  # reset, v_reset, detach_reset; nan: the reset has no such setting
    ("hard", 0.0, True),
    ("hard", 0.0, False),
    ("hard", -0.2, True),
    ("hard", -0.2, False),
    ("soft", np.nan, True),
    ("soft", np.nan, False),
    ("none", np.nan, True),
)
# Alphas off the defaults, so that alpha and alpha^2 or 1/alpha differ.
SURROGATES = (
    ("atan", surrogate.ATan, 3.0),
    ("sigmoid", surrogate.Sigmoid, 4.0),
    ("fast_sigmoid", surrogate.SoftSign, 2.5),
    ("triangle", surrogate.PiecewiseQuadratic, 1.5),
    ("rectangle", surrogate.Rect, 0.6),
)
KINKS = (0.0, 1 / 1.5, 0.5 / 0.6)  # |H - v_th| where a spike, the triangle or the rectangle jumps
SCALES = np.geomspace(0.5, 32, 25).round(2)


def lif(x, ds, tau, decay_input, variant, spike_function):
    """x, ds: (T, M). Returns the spikes, H, V and dL/dx, each (T, M)."""
    reset, v_reset, detach_reset = variant
    v_reset = v_reset if reset == "hard" else None
    x = torch.tensor(x, requires_grad=True)
    v = torch.full_like(x[0], v_reset or 0.0)  # (M,)
    if reset == "none":
        charged = []
        for current in x:
            v = functional.lif_charge(current, v, tau, decay_input, v_reset)
            charged.append(v)
        h = v_seq = torch.stack(charged)
        s = spike_function(h - V_TH)
    else:
        node = neuron.LIFNode(
            tau, decay_input, V_TH, v_reset, spike_function, detach_reset, "m", store_v_seq=True
        )
        s = node(x)
        v_seq = node.v_seq
        v_before = torch.cat([v[None], v_seq[:-1]])
        h = functional.lif_charge(x, v_before, tau, decay_input, v_reset)
    (dx,) = torch.autograd.grad((s * torch.as_tensor(ds)).sum(), x)
    return s.detach().numpy(), h.detach().numpy(), v_seq.detach().numpy(), dx.numpy()


def best_scale(x, ds, tau, decay_input, variant):
    def distance_from_a_third(scale):
        s, h, *_ = lif(scale * x, ds, tau, decay_input, variant, surrogate.ATan())
        nearest = min(np.abs(np.abs(h - V_TH) - kink).min() for kink in KINKS)
        return abs(s.mean() - 1 / 3) if nearest > 1e-6 else np.inf

    return min(SCALES, key=distance_from_a_third)


def make():
    """File name -> its arrays. Refuses where a case is silent, saturated or without a gradient."""
    rng = np.random.default_rng(0)
    arrays = {
        "v_th": np.array(V_TH),
        "steps": np.array(STEPS),
        "taus": np.array(TAUS),
        "decay_inputs": np.array(DECAYS),
        "resets": np.array([variant[0] for variant in VARIANTS]),
        "v_resets": np.array([variant[1] for variant in VARIANTS]),
        "detach_resets": np.array([variant[2] for variant in VARIANTS]),
        "surrogates": np.array([name for name, _, _ in SURROGATES]),
        "alphas": np.array([alpha for _, _, alpha in SURROGATES]),
        "versions": np.array([f"{name} {version(name)}" for name in ("torch", "spikingjelly")]),
    }
    for steps in STEPS:
        x = rng.normal(0.3, 1, (steps, NEURONS))
        ds = rng.standard_normal((steps, NEURONS))
        grid = (len(TAUS), len(DECAYS), len(VARIANTS))
        scale = np.empty(grid)
        spikes, h, v = (np.empty((*grid, steps, NEURONS)) for _ in range(3))
        dx = np.empty((len(SURROGATES), *grid, steps, NEURONS))
        for index in np.ndindex(grid):
            setting = [axis[i] for axis, i in zip((TAUS, DECAYS, VARIANTS), index, strict=True)]
            scale[index] = best_scale(x, ds, *setting)
            for i, (name, function, alpha) in enumerate(SURROGATES):
                spikes[index], h[index], v[index], dx[i, *index] = lif(
                    scale[index] * x, ds, *setting, function(alpha)
                )
                if not (0.02 < spikes[index].mean() < 0.98 and dx[i, *index].any()):
                    raise SystemExit(f"silent, saturated or flat: T = {steps}, {setting}, {name}")
        arrays |= {f"t{steps}/x": x, f"t{steps}/ds": ds, f"t{steps}/scale": scale}
        arrays |= {f"t{steps}/spikes": spikes.astype(np.uint8), f"t{steps}/dx": dx}
        if steps == 4:
            arrays |= {"t4/h": h, "t4/v": v}
    return {"lif_spikingjelly.npz": arrays}


def main():
    for name, arrays in make().items():
        np.savez_compressed(FOLDER / name, **arrays)
        cases = sum(arrays[f"t{steps}/dx"][..., 0, 0].size for steps in STEPS)
        print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB, {cases} cases")
        for steps in STEPS:
            rates = arrays[f"t{steps}/spikes"].mean(axis=(-2, -1))
            print(f"T = {steps}: firing rates {rates.min():.1%} to {rates.max():.1%}")


if __name__ == "__main__":
    main()
