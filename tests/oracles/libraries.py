"""One LIF layer of each PyTorch library behind one call: what makes the references, and what the
live tests run.

    spikes, trace, dx = run_LIBRARY(neuron of that library, x, ds)

x, ds: (T, M) float64 input current and upstream gradient dL/dS. All three answers are NumPy
float64 (T, M); `trace` is the membrane that the library records.
"""

from typing import NamedTuple

import numpy as np
import torch
from norse.torch.functional import lif_box
from norse.torch.functional.threshold import threshold
from snntorch import surrogate as snntorch_surrogate
from spikingjelly.activation_based import functional
from spikingjelly.activation_based import surrogate as spikingjelly_surrogate


class Run(NamedTuple):
    spikes: np.ndarray  # (T, M)
    trace: np.ndarray  # (T, M)
    dx: np.ndarray  # (T, M)


def _run(steps, x, ds):
    """steps: x tensor (T, M) -> spikes and trace tensors (T, M)."""
    x = torch.tensor(x, requires_grad=True)
    s, trace = steps(x)
    (dx,) = torch.autograd.grad((s * torch.as_tensor(ds)).sum(), x)
    return Run(*(array.detach().numpy().astype(np.float64) for array in (s, trace, dx)))


def run_spikingjelly(node, x, ds):
    """node: a LIFNode or IFNode with step_mode="m" and store_v_seq=True, fresh or to be reset."""

    def steps(x):
        functional.reset_net(node)
        return node(x), node.v_seq

    return _run(steps, x, ds)


def run_snntorch(leaky, x, ds):
    """leaky: a Leaky with init_hidden=False. Its spikes are float32 even for float64 input."""

    def steps(x):
        membrane = torch.zeros_like(x[0])
        answers = []
        for current in x:
            spikes, membrane = leaky(current, membrane)
            answers.append((spikes, membrane))
        return map(torch.stack, zip(*answers, strict=True))

    return _run(steps, x, ds)


def run_norse(parameters, x, ds, dt=0.001):
    """parameters: LIFBoxParameters, the neuron without a synaptic filter."""

    def steps(x):
        v = torch.zeros_like(x[0]) + parameters.v_leak
        state = lif_box.LIFBoxFeedForwardState(v=v)
        answers = []
        for current in x:
            spikes, state = lif_box.lif_box_feed_forward_step(current, state, parameters, dt)
            answers.append((spikes, state.v))
        return map(torch.stack, zip(*answers, strict=True))

    return _run(steps, x, ds)


class _SpytorchSpike(torch.autograd.Function):
    """Fires at u > 0; backward 1 / (scale |u| + 1)^2."""

    @staticmethod
    def forward(ctx, u, scale):
        ctx.save_for_backward(u)
        ctx.scale = scale
        return (u > 0).to(u)

    @staticmethod
    def backward(ctx, ds):
        (u,) = ctx.saved_tensors
        return ds / (ctx.scale * u.abs() + 1) ** 2, None


def run_spytorch(constants, x, ds):
    """constants: (alpha, beta, scale). The equations of spytorch's first tutorial, written anew:

    out = spike(mem - 1);  rst = out, detached
    syn' = alpha syn + h;  mem' = (beta mem + syn) (1 - rst)
    """
    alpha, beta, scale = constants

    def steps(x):
        syn, mem = torch.zeros_like(x[0]), torch.zeros_like(x[0])
        answers = []
        for current in x:
            s = _SpytorchSpike.apply(mem - 1, scale)
            answers.append((s, mem))
            mem = (beta * mem + syn) * (1 - s.detach())
            syn = alpha * syn + current
        return map(torch.stack, zip(*answers, strict=True))

    return _run(steps, x, ds)


# The surrogates of tutorials/conventions.md: (library, call) -> its spike function of u = H - v_th.
SPIKE_FUNCTIONS = {
    ("SpikingJelly", "ATan(2)"): spikingjelly_surrogate.ATan(2.0),
    ("SpikingJelly", "Sigmoid(4)"): spikingjelly_surrogate.Sigmoid(4.0),
    ("SpikingJelly", "SoftSign(2)"): spikingjelly_surrogate.SoftSign(2.0),
    ("SpikingJelly", "SuperSpike(1)"): spikingjelly_surrogate.SuperSpike(1.0),
    ("SpikingJelly", "PiecewiseQuadratic(1)"): spikingjelly_surrogate.PiecewiseQuadratic(1.0),
    ("SpikingJelly", "Rect(1)"): spikingjelly_surrogate.Rect(1.0),
    ("snnTorch", "atan(2)"): snntorch_surrogate.atan(2.0),
    ("snnTorch", "fast_sigmoid(25)"): snntorch_surrogate.fast_sigmoid(25),
    ("Norse", "super(100)"): lambda u: threshold(u, "super", 100.0),
    ("Norse", "tanh(2)"): lambda u: threshold(u, "tanh", 2.0),
    ("Norse", "triangle(100)"): lambda u: threshold(u, "triangle", 100.0),
    ("spytorch", "SurrGradSpike(100)"): lambda u: _SpytorchSpike.apply(u, 100.0),
}
# snnTorch's that are the gradient of nothing, or stand in the wrong place.
FAULTY_SPIKE_FUNCTIONS = {
    "sigmoid(25)": snntorch_surrogate.sigmoid(25),
    "triangular(1)": snntorch_surrogate.triangular(1),
    "LSO(0.1)": snntorch_surrogate.LSO(0.1),
    "SFS(25, 1)": snntorch_surrogate.SFS(25, 1),
    "spike_rate_escape(1, 25)": snntorch_surrogate.spike_rate_escape(1, 25),
}


def surrogate_curve(spike_function, u):
    """What the library's backward pass multiplies by at each u, found by running it; u's dtype."""
    u = torch.tensor(u, requires_grad=True)
    (slope,) = torch.autograd.grad(spike_function(u).sum(), u)
    return slope.numpy()
