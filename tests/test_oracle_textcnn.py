"""The two TextCNNs against PyTorch's autograd, sentence by sentence, on numbers nobody has seen.

python -m pytest -m oracles tests/test_oracle_textcnn.py
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from conftest import assert_fires, random_offsets
from test_textcnn import LENGTHS, PLAIN, SPIKING, random_params

from spikebert_np.checking.gradcheck import relative_error
from spikebert_np.layers.conv1d import conv1d_backward, conv1d_forward
from spikebert_np.layers.embedding import RowGradient
from spikebert_np.models.kinds import kind_of

pytestmark = pytest.mark.oracles


@pytest.fixture
def rng():
    seed = np.random.SeedSequence().entropy
    print(f"seed {seed}")  # shown where a test fails
    return np.random.default_rng(seed)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def conv1d_by_torch(torch, x, weight, bias):
    """x: (..., n, D_in) of one sentence, weight: (K*D_in, D_out) -> (..., n, D_out)."""
    D_in, D_out = x.shape[-1], weight.shape[-1]
    kernel = weight.reshape(-1, D_in, D_out).permute(2, 1, 0)  # (D_out, D_in, K)
    tokens_last = x.reshape(-1, *x.shape[-2:]).transpose(1, 2)  # (T, D_in, n)
    y = torch.nn.functional.conv1d(tokens_last, kernel, bias, padding="same").transpose(1, 2)
    return y.reshape(*x.shape[:-1], D_out)


def tensors(torch, arrays):
    return {name: torch.tensor(value, requires_grad=True) for name, value in arrays.items()}


def assert_same_gradients(grads, expected, bound):
    for name, tensor in expected.items():
        grad = grads[name].dense(11) if isinstance(grads[name], RowGradient) else grads[name]
        assert relative_error(grad, tensor.grad.numpy()) < bound, name


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8])
def test_convolution(torch, rng, width):
    _, offsets = random_offsets(rng, LENGTHS)
    arrays = {
        "x": rng.standard_normal((3, offsets[-1], 4)),
        "weight": rng.standard_normal((width * 4, 6)),
        "bias": rng.standard_normal(6),
    }
    y, cache = conv1d_forward(**arrays, offsets=offsets)
    dy = rng.standard_normal(y.shape)
    named = tensors(torch, arrays)
    x, weight, bias = named.values()
    sentences = [
        conv1d_by_torch(torch, x[:, start:end], weight, bias) for start, end in pairwise(offsets)
    ]
    expected = torch.cat(sentences, dim=1)
    expected.backward(torch.as_tensor(dy))
    assert relative_error(y, expected.detach().numpy()) < 1e-13
    grads = dict(zip(arrays, conv1d_backward(dy, cache), strict=True))
    assert_same_gradients(grads, named, 1e-13)


def textcnn_by_torch(torch, ids, params, config):
    """Logits (C,) of one sentence."""
    x = params["embedding.weight"][ids]
    pooled = [
        conv1d_by_torch(torch, x, params[f"convs.{K}.weight"], params[f"convs.{K}.bias"])
        .relu()
        .max(dim=0)
        .values
        for K in config.kernel_widths
    ]
    return torch.cat(pooled) @ params["head.weight"] + params["head.bias"]


def spiking_textcnn_by_torch(torch, ids, params, config):
    """Logits (C,) of one sentence, with SpikingJelly's neurons."""
    pytest.importorskip("spikingjelly")
    from spikingjelly.activation_based import neuron, surrogate

    n = config.neuron

    def fire(current):  # (T, n, D)
        node = neuron.LIFNode(
            tau=n.tau,
            decay_input=n.decay_input,
            v_threshold=n.v_th,
            v_reset=n.v_reset if n.reset == "hard" else None,
            surrogate_function=surrogate.ATan(alpha=n.alpha),
            detach_reset=n.detach_reset,
            step_mode="m",
        )
        return node(current)

    def norm(x, prefix):
        gain, bias = params[f"{prefix}norm.gain"], params[f"{prefix}norm.bias"]
        return torch.nn.functional.layer_norm(x, gain.shape, gain, bias, eps=1e-5)

    x = params["embedding.weight"][ids]
    x = x @ params["embedding.projection.weight"] + params["embedding.projection.bias"]
    x = fire(norm(x, "embedding.").expand(config.steps, -1, -1))  # (T, n, D)
    rates = []
    for K in config.kernel_widths:
        weight, bias = params[f"convs.{K}.weight"], params[f"convs.{K}.bias"]
        z = conv1d_by_torch(torch, x, weight, bias)
        rates.append(fire(norm(z, f"convs.{K}.")).mean(dim=1))  # (T, F)
    logits = torch.cat(rates, dim=-1) @ params["head.weight"] + params["head.bias"]
    return logits.mean(dim=0)


SOFT = replace(SPIKING, neuron=replace(SPIKING.neuron, reset="soft", tau=3.0, v_th=0.4))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(
    ("config", "by_torch"),
    [
        (PLAIN, textcnn_by_torch),
        (SPIKING, spiking_textcnn_by_torch),
        (SOFT, spiking_textcnn_by_torch),
    ],
    ids=["plain", "spiking", "spiking, soft reset"],
)
def test_a_whole_model(torch, rng, config, by_torch, backend):
    ids, offsets = random_offsets(rng, LENGTHS)
    params = random_params(config, rng)
    kind = kind_of(config)
    output, cache = kind.forward(ids, offsets, params, config, backend=backend)
    assert_fires(cache)
    dlogits = rng.standard_normal(output.logits.shape)
    named = tensors(torch, params)
    sentences = [
        torch.as_tensor(ids[start:end].astype(np.int64)) for start, end in pairwise(offsets)
    ]
    expected = torch.stack([by_torch(torch, sentence, named, config) for sentence in sentences])
    expected.backward(torch.as_tensor(dlogits))
    assert relative_error(output.logits, expected.detach().numpy()) < 1e-12
    assert_same_gradients(kind.backward(dlogits, [], cache), named, 1e-10)
