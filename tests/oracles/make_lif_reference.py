"""Makes tests/references/lif_spikingjelly.npz: LIF forward and backward by SpikingJelly, float64.

    python tests/oracles/make_lif_reference.py

The file holds a full grid. Its axes are arrays of the file: `taus`, `decay_inputs` and the variants
of the reset (`resets`, `v_resets`, `detach_resets`, read together). For each T of `steps`:

    t{T}/x, t{T}/ds   (T, 40)                       shared input X and upstream dL/dS
    t{T}/scale        (taus, decays, variants)      the layer's input is scale * X
    t{T}/spikes       (taus, decays, variants, T, 40) uint8
    t{T}/dx           (taus, decays, variants, T, 40) with ATan of `atan_alpha`
    t4/h, t4/v        the same shape: H[t] before the reset and V[t] after it
    t4/dx_surrogates  (surrogates, variants, T, 40) for tau = 3 with decay_input, `surrogates` and
                      `alphas` read together

The scale is the one of a few for which the firing rate comes closest to a third and no |H - v_th|
lies below 1e-6. SpikingJelly has no spiking LIF node without a reset: reset "none" is put together
here from its own charge equation and surrogates.
"""

from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron, surrogate

FILE = Path(__file__).parents[1] / "references" / "lif_spikingjelly.npz"
NEURONS = 40
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
ATAN_ALPHA = 2.0
# Alphas off the defaults, so that alpha and alpha^2 or 1/alpha differ.
SURROGATES = (
    ("atan", surrogate.ATan, 3.0),
    ("sigmoid", surrogate.Sigmoid, 4.0),
    ("fast_sigmoid", surrogate.SoftSign, 2.5),
    ("triangle", surrogate.PiecewiseQuadratic, 1.5),
    ("rectangle", surrogate.Rect, 0.6),
)
SCALES = np.geomspace(0.5, 32, 25).round(2)


def lif(x, ds, tau, decay_input, variant, spike_function):
    """x, ds: (T, 40). Returns the spikes, H, V and dL/dx, each (T, 40)."""
    reset, v_reset, detach_reset = variant
    v_reset = v_reset if reset == "hard" else None
    x = torch.tensor(x, requires_grad=True)
    v = torch.full_like(x[0], v_reset or 0.0)  # (40,)
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
        return abs(s.mean() - 1 / 3) if np.abs(h - V_TH).min() > 1e-6 else np.inf

    return min(SCALES, key=distance_from_a_third)


def main():
    rng = np.random.default_rng(0)
    arrays = {
        "v_th": np.array(V_TH),
        "steps": np.array(STEPS),
        "taus": np.array(TAUS),
        "decay_inputs": np.array(DECAYS),
        "resets": np.array([variant[0] for variant in VARIANTS]),
        "v_resets": np.array([variant[1] for variant in VARIANTS]),
        "detach_resets": np.array([variant[2] for variant in VARIANTS]),
        "atan_alpha": np.array(ATAN_ALPHA),
        "surrogates": np.array([name for name, _, _ in SURROGATES]),
        "alphas": np.array([alpha for _, _, alpha in SURROGATES]),
        "versions": np.array([f"{name} {version(name)}" for name in ("torch", "spikingjelly")]),
    }
    atan = surrogate.ATan(ATAN_ALPHA)
    rates = []
    for steps in STEPS:
        x = rng.normal(0.3, 1, (steps, NEURONS))
        ds = rng.standard_normal((steps, NEURONS))
        grid = (len(TAUS), len(DECAYS), len(VARIANTS))
        scale = np.empty(grid)
        spikes, h, v, dx = (np.empty((*grid, steps, NEURONS)) for _ in range(4))
        for index in np.ndindex(grid):
            tau, decay_input, variant = (
                axis[i] for axis, i in zip((TAUS, DECAYS, VARIANTS), index, strict=True)
            )
            scale[index] = best_scale(x, ds, tau, decay_input, variant)
            spikes[index], h[index], v[index], dx[index] = lif(
                scale[index] * x, ds, tau, decay_input, variant, atan
            )
            rates.append(spikes[index].mean())
        arrays |= {f"t{steps}/x": x, f"t{steps}/ds": ds, f"t{steps}/scale": scale}
        arrays |= {f"t{steps}/spikes": spikes.astype(np.uint8), f"t{steps}/dx": dx}
        if steps == 4:
            arrays |= {"t4/h": h, "t4/v": v}
            dx_surrogates = np.empty((len(SURROGATES), len(VARIANTS), steps, NEURONS))
            pairs = product(enumerate(SURROGATES), enumerate(VARIANTS))
            for (i, (_, function, alpha)), (j, variant) in pairs:
                dx_surrogates[i, j] = lif(
                    scale[TAUS.index(3.0), 0, j] * x, ds, 3.0, True, variant, function(alpha)
                )[-1]
            arrays["t4/dx_surrogates"] = dx_surrogates
    if not 0.02 < min(rates) <= max(rates) < 0.98:
        raise SystemExit("a case is silent or saturated: change the seed or the scales")
    np.savez_compressed(FILE, **arrays)
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KiB, {len(rates)} cases")
    print(f"firing rates {min(rates):.1%} to {max(rates):.1%}, scales {SCALES[0]} to {SCALES[-1]}")


if __name__ == "__main__":
    main()
