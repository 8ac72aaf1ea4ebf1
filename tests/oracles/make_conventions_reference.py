"""Makes tests/references/conventions.npz: what tutorials/conventions.md says of each library, found
by running the library.

    python tests/oracles/make_conventions_reference.py

    curve/{library} {call}       (U,) what its backward pass multiplies by at `u` (U,)
    faulty/{call}                (5,) the same at `faulty_u` in float32, or the error's name
    neuron/{library}/{probe}     one answer a row of the page's table of neurons: see `probe`
    soft/tau, soft/x             (taus,) and (T, M) input current, not divided by tau
    soft/{library}               (taus, T, M) uint8 spikes with a soft reset
    norse/x, norse/ds            (T, M); its constants are norse/tau, norse/v_th, norse/v_reset
    norse/{reset}/spikes, dx     (T, M), "tanh" with alpha = 2
    spytorch/h, spytorch/ds      (T, M); constants (alpha, beta, scale) in spytorch/constants
    spytorch/spikes, dx          (T, M)

"spytorch" is the code of a notebook and no package: it is written anew in libraries.py.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from libraries import (
    FAULTY_SPIKE_FUNCTIONS,
    SPIKE_FUNCTIONS,
    run_norse,
    run_snntorch,
    run_spikingjelly,
    run_spytorch,
    surrogate_curve,
)
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.functional.reset import reset_subtract, reset_value
from snntorch import Leaky
from spikingjelly.activation_based.neuron import LIFNode

FOLDER = Path(__file__).parents[1] / "references"
FAULTY_U = np.array([-4.0, -0.1, 0.1, 1.0, 2.0])
TAUS = (1.5, 2.0, 3.0, 10.0)
NORSE_TAU, NORSE_V_TH, NORSE_V_RESET = 3.0, 0.75, -0.25


def real(value):
    return torch.tensor(value, dtype=torch.float64)


def spikingjelly(x, ds, tau, reset, decay_input=True):
    """The libraries as they come, their defaults kept wherever the page does not name them."""
    node = LIFNode(
        tau, decay_input, v_reset=0.0 if reset == "hard" else None, step_mode="m", store_v_seq=True
    )
    return run_spikingjelly(node, x, ds)


def snntorch(x, ds, tau, reset, reset_delay=True):
    mechanism = "zero" if reset == "hard" else "subtract"
    leaky = Leaky(real(1 - 1 / tau), reset_mechanism=mechanism, reset_delay=reset_delay)
    return run_snntorch(leaky, x, ds)


def norse(x, ds, tau, reset):
    method = reset_value if reset == "hard" else reset_subtract
    return run_norse(LIFBoxParameters(real(1000 / tau), reset_method=method), x, ds)


def spytorch(x, ds, tau, reset):
    """Without the synaptic filter, and with the two steps that its input takes to arrive undone."""
    assert reset == "hard"
    steps = len(x)
    late = np.zeros((2, *x.shape[1:]))
    run = run_spytorch(
        (0.0, 1 - 1 / tau, 100.0), np.concatenate([x, late]), np.concatenate([late, ds])
    )
    return run._replace(spikes=run.spikes[2:], trace=run.trace[2:], dx=run.dx[:steps])


LIBRARIES = {
    "SpikingJelly": spikingjelly,
    "snnTorch": snntorch,
    "Norse": norse,
    "spytorch": spytorch,
}


def probe(layer, soft):
    """What one neuron (tau = 4, v_th = 1, from rest at 0) says of its conventions.

    layer: (x, ds, tau, reset) -> Run. soft: whether it has a soft reset.
    """

    def run(*x, ds=None, reset="hard"):
        x = np.array(x)[:, None]
        answer = layer(x, np.zeros_like(x) if ds is None else np.array(ds)[:, None], 4.0, reset)
        return [array[:, 0] for array in answer]

    _, (first, second), _ = run(0.5, 0.0)
    gain, leak = first / 0.5, second / first
    (tie,), _, _ = run(1 / gain)
    _, (at_spike, after), _ = run(1.5 / gain, 0.5 / gain)  # H = 1.5 fires, H = 0.5 does not
    _, _, (through_reset, _) = run(1.5 / gain, 1.25 / gain, ds=(0.0, 1.0))
    answers = {
        "gain": gain,
        "leak": leak,
        "tie": ">=" if tie else ">",
        "trace": "H" if at_spike == 1.5 else "V",
        "next input": "kept" if after == 0.5 else "lost",
        "reset gradient": "attached" if through_reset else "detached",
        "soft": "none",
    }
    if soft:
        # The next H is leak (1.5 - 1), or leak 1.5 - 1.
        _, (_, after), _ = run(1.5 / gain, 0.0, reset="soft")
        answers["soft"] = {0.375: "before leak", 0.125: "after leak"}[after]
    return answers


def soft_resets(rng):
    x = rng.normal(0.5, 1.0, (8, 500))
    ds = np.zeros_like(x)
    spikes = {name: [] for name in ("SpikingJelly", "snnTorch", "snnTorch undelayed", "Norse")}
    for tau in TAUS:
        for name, run in (
            ("SpikingJelly", spikingjelly(x, ds, tau, "soft", decay_input=False)),
            ("snnTorch", snntorch(x, ds, tau, "soft")),
            ("snnTorch undelayed", snntorch(x, ds, tau, "soft", reset_delay=False)),
            ("Norse", norse(tau * x, ds, tau, "soft")),
        ):
            spikes[name].append(run.spikes.astype(np.uint8))
    return {
        "soft/tau": np.array(TAUS),
        "soft/x": x,
        **{f"soft/{name}": np.array(of_taus) for name, of_taus in spikes.items()},
    }


def norse_runs(rng):
    x, ds = rng.normal(1.0, 3.0, (6, 40)), rng.standard_normal((6, 40))
    arrays = {"norse/x": x, "norse/ds": ds}
    for reset, method in (("hard", reset_value), ("soft", reset_subtract)):
        v_reset = NORSE_V_RESET if reset == "hard" else 0.0
        parameters = LIFBoxParameters(
            tau_mem_inv=real(1000 / NORSE_TAU),
            v_leak=real(v_reset),
            v_th=real(NORSE_V_TH),
            v_reset=real(v_reset),
            method="tanh",
            alpha=2.0,
            reset_method=method,
        )
        run = run_norse(parameters, x, ds)
        arrays |= {
            f"norse/{reset}/spikes": run.spikes.astype(np.uint8),
            f"norse/{reset}/dx": run.dx,
        }
    constants = {"tau": NORSE_TAU, "v_th": NORSE_V_TH, "v_reset": NORSE_V_RESET}
    return arrays | {f"norse/{name}": np.array(value) for name, value in constants.items()}


def spytorch_run(rng):
    constants = np.array([0.8, 0.9, 100.0])
    h, ds = rng.normal(0.3, 0.6, (12, 40)), rng.standard_normal((12, 40))
    run = run_spytorch(constants, h, ds)
    return {
        "spytorch/constants": constants,
        "spytorch/h": h,
        "spytorch/ds": ds,
        "spytorch/spikes": run.spikes.astype(np.uint8),
        "spytorch/dx": run.dx,
    }


def make():
    """File name -> its arrays."""
    rng = np.random.default_rng(4)
    u = np.sort(np.concatenate([[0.0], rng.normal(0, 0.05, 20), rng.normal(0, 1, 20)]))
    packages = ("torch", "spikingjelly", "snntorch", "norse")
    arrays = {
        "u": u,
        "faulty_u": FAULTY_U,
        "versions": np.array([f"{name} {version(name)}" for name in packages]),
    }
    for (library, call), spike_function in SPIKE_FUNCTIONS.items():
        arrays[f"curve/{library} {call}"] = surrogate_curve(spike_function, u)
    for call, spike_function in FAULTY_SPIKE_FUNCTIONS.items():
        try:
            answer = surrogate_curve(spike_function, FAULTY_U.astype(np.float32))
        except TypeError as error:
            answer = np.array(type(error).__name__)
        arrays[f"faulty/{call}"] = answer
    for library, layer in LIBRARIES.items():
        for name, answer in probe(layer, soft=library != "spytorch").items():
            arrays[f"neuron/{library}/{name}"] = np.array(answer)
    return {
        "conventions.npz": arrays | soft_resets(rng) | norse_runs(rng) | spytorch_run(rng),
    }


def main():
    for name, arrays in make().items():
        np.savez_compressed(FOLDER / name, **arrays)
        print(f"{name}: {(FOLDER / name).stat().st_size / 1024:.0f} KiB")
        for key, value in arrays.items():
            if key.startswith(("faulty/", "neuron")):
                print(f"{key:45} {value}")
        for library in ("snnTorch", "snnTorch undelayed", "Norse"):
            differ = arrays[f"soft/{library}"] != arrays["soft/SpikingJelly"]
            print(f"soft reset, {library}: {differ.mean(axis=(1, 2))}")
        print("rates", arrays["soft/SpikingJelly"].mean(axis=(1, 2)))
        for key in ("norse/hard/spikes", "norse/soft/spikes", "spytorch/spikes"):
            print(key, arrays[key].mean())


if __name__ == "__main__":
    main()
