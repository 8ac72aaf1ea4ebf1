"""Our neuron by SpikingJelly and by snnTorch: the same spikes, and by autograd the same gradients.

Letters: T spike steps, M neurons; any shape may follow T.
"""

import numpy as np
import torch

from ..training.workers import worker_count

# A rival has as many threads as NumPy's matrix products.
torch.set_num_threads(worker_count())


def spikingjelly_lif(neuron, dtype):
    """A function (T, ...) -> spikes (T, ...), from rest at each call."""
    from spikingjelly.activation_based import functional, surrogate
    from spikingjelly.activation_based.neuron import LIFNode

    node = LIFNode(
        tau=neuron.tau,
        decay_input=neuron.decay_input,
        v_threshold=neuron.v_th,
        v_reset=neuron.v_reset,
        surrogate_function=surrogate.ATan(alpha=neuron.alpha),
        detach_reset=True,
        step_mode="m",
    )

    def run(x):
        functional.reset_net(node)
        return node(x)

    return run


def snntorch_lif(neuron, dtype):
    """A function (T, ...) -> spikes (T, ...), from rest at each call."""
    from snntorch import Leaky, surrogate

    # It fires above its threshold and not at it: the next number below ours does the same.
    v_th = np.nextafter(np.dtype(dtype).type(neuron.v_th), np.dtype(dtype).type(0))
    leaky = Leaky(
        beta=torch.tensor(1 - 1 / neuron.tau, dtype=getattr(torch, dtype)),
        threshold=torch.tensor(v_th),
        spike_grad=surrogate.atan(neuron.alpha),
        reset_mechanism="zero",
    )
    share = 1 / neuron.tau if neuron.decay_input else 1.0

    def run(x):
        spikes, membrane = [], torch.zeros_like(x[0])
        for current in x * share:
            s, membrane = leaky(current, membrane)
            spikes.append(s.to(x.dtype))
        return torch.stack(spikes)

    return run


LIFS = {"spikingjelly": spikingjelly_lif, "snntorch": snntorch_lif}


def new_rival_lif(library, neuron):
    """A function of (x, ds), both (T, M): spikes and dx by autograd, as `run_lif` of ours."""
    fire = LIFS[library](neuron, "float32")

    def run(x, ds):
        x = torch.from_numpy(x).requires_grad_()
        s = fire(x)
        s.backward(torch.from_numpy(ds))
        return s.detach().numpy(), x.grad.numpy()

    return run
