"""The student in PyTorch, with the neurons of SpikingJelly or snnTorch: what a user would write.

It is given what is fast in PyTorch: an embedding with sparse gradients, and attention over all
sentences in one batched product, padded to the longest: a pad's q, k and v are silent, and without
a softmax silence adds nothing, so that no mask is needed. Attention is (q kᵀ) v, as published.

Letters: T spike steps, N packed tokens, B sentences, L tokens of the longest, K words of a window,
D width, H heads, E = D // H.
"""

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from ..errors import InputError
from ..layers.embedding import token_positions
from .neurons_torch import LIFS


class Layout:
    """Where the tokens of a packed batch stand, and how they are padded and packed again."""

    def __init__(self, offsets):
        self.lengths = np.diff(offsets)  # (B,)
        sentence = np.repeat(np.arange(len(self.lengths)), self.lengths)
        position = token_positions(offsets)
        self.sentence, self.position = map(torch.from_numpy, (sentence, position))  # (N,)
        self.size = (len(self.lengths), int(self.lengths.max()))  # (B, L)
        # Sentences of one length are padded as they lie.
        self.place = None
        if self.size[0] * self.size[1] > offsets[-1]:
            self.place = self.sentence * self.size[1] + self.position  # (N,) among B L

    def pad(self, x):
        """(T, N, D) -> (T, B, L, D), zeros where no token is."""
        if self.place is not None:
            empty = x.new_zeros(len(x), self.size[0] * self.size[1], x.shape[-1])
            x = empty.index_copy(1, self.place, x)
        return x.unflatten(1, self.size)

    def pack(self, x):
        """(T, B, L, D) -> (T, N, D)."""
        x = x.flatten(1, 2)
        return x if self.place is None else x.index_select(1, self.place)

    def mean(self, x):
        """(T, N, D) -> (T, B, D)."""
        if self.place is None:
            return x.unflatten(1, self.size).mean(dim=2)
        total = x.new_zeros(len(x), self.size[0], x.shape[-1]).index_add(1, self.sentence, x)
        return total / torch.from_numpy(self.lengths)[:, None]


def check_rival(student):
    """Raises InputError where neuron or model are none that a rival can be."""
    config = student.config
    neuron = config.neuron
    same = neuron.surrogate == "atan" and neuron.reset == "hard" and neuron.v_reset == 0
    usual = config.encoder == "lif" and config.projection and config.norm == "layer"
    if not (same and neuron.detach_reset and usual and config.tap == "linear_norm"):
        raise InputError(
            f"{student.origin}: bench has no rival for this neuron or model; give a run with the "
            "default ones, or leave --against out"
        )


class TorchStudent:
    """A student's parameters as tensors (linear weights as (D_out, D_in), PyTorch's way).

    library: "spikingjelly" or "snntorch". Raises InputError as check_rival does.
    """

    def __init__(self, student, library, dtype="float32", *, dropout=True):
        check_rival(student)
        config = student.config
        neuron = config.neuron
        self.config, self.dropout = config, config.dropout if dropout else 0.0
        self.p = {
            key: torch.tensor(
                value.T.copy() if is_linear(key, value) else value,
                dtype=getattr(torch, dtype),
                requires_grad=True,
            )
            for key, value in student.params.items()
        }
        make = LIFS[library]
        self.fire = make(neuron, dtype)
        self.fire_at_half = make(replace(neuron, v_th=neuron.v_th / 2), dtype)

    def windows(self, x, layout):
        """(N, D_emb) -> (N, K D_emb): each token and its neighbours, zeros where it has none."""
        width = self.config.kernel_width
        left, length = (width - 1) // 2, layout.size[1]
        x = F.pad(layout.pad(x[None])[0], (0, 0, left, width - 1 - left))  # (B, L + K - 1, D_emb)
        x = torch.cat([x[:, j : j + length] for j in range(width)], dim=-1)
        return layout.pack(x[None])[0]

    def norm(self, x, name):
        gain = self.p[f"{name}.gain"]
        return F.layer_norm(x, gain.shape, gain, self.p[f"{name}.bias"], eps=1e-5)

    def linear(self, x, name):
        return F.linear(x, self.p[f"{name}.weight"], self.p[f"{name}.bias"])

    def spiking_linear(self, x, name):
        return self.fire(self.norm(self.linear(x, name), f"{name}.norm"))

    def ssa(self, x, name, layout):
        def heads(s):  # (T, N, D) -> (T, B, H, L, E)
            return layout.pad(s).unflatten(-1, (self.config.heads, -1)).transpose(2, 3)

        q, k, v = (heads(self.spiking_linear(x, f"{name}.{part}")) for part in "qkv")
        y = (q @ k.transpose(-2, -1)) @ v * self.config.scale  # (T, B, H, L, E)
        y = layout.pack(y.transpose(2, 3).flatten(-2))  # (T, N, D)
        return self.spiking_linear(self.fire_at_half(y), f"{name}.out")

    def __call__(self, ids, layout):
        """(B, C) logits and a list of (N, D_teacher) taps, from ids (N,)."""
        config, p = self.config, self.p
        x = F.embedding(ids, p["embedding.weight"], sparse=True)  # (N, D_emb)
        x = self.windows(x, layout)  # (N, K D_emb)
        x = self.norm(self.linear(x, "embedding.projection"), "embedding.norm")  # (N, D)
        if config.positions:
            x = x + F.embedding(layout.position, p["embedding.positions"])
        x = self.fire(F.dropout(x, self.dropout).expand(config.steps, *x.shape))  # (T, N, D)
        taps = []
        for i in range(config.blocks):
            if config.attention:
                x = x + self.ssa(x, f"blocks.{i}.ssa", layout)
            hidden = self.spiking_linear(x, f"blocks.{i}.mlp.up")  # (T, N, F)
            x = x + self.spiking_linear(hidden, f"blocks.{i}.mlp.down")
            taps.append(self.norm(self.linear(x.mean(dim=0), f"taps.{i}"), f"taps.{i}.norm"))
        pooled = F.dropout(layout.mean(self.norm(x, "head.norm")), self.dropout)  # (T, B, D)
        return self.linear(pooled, "head").mean(dim=0), taps

    def loss(self, batch, targets, weights):
        """The weighted loss of `training.distill`, and the logits (B, C)."""
        ids = torch.from_numpy(batch.ids).long()
        logits, taps = self(ids, Layout(batch.offsets))

        def teacher(values):
            return torch.from_numpy(values).to(logits.dtype)

        tau = weights.temperature
        log_q = F.log_softmax(logits / tau, dim=-1)
        log_p = F.log_softmax(teacher(targets.logits) / tau, dim=-1)
        distinct = torch.unique(ids)
        words = F.embedding(distinct, self.p["embedding.weight"], sparse=True)
        loss = weights.ce * F.cross_entropy(logits, torch.from_numpy(targets.labels))
        kl = F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
        loss = loss + weights.kl * tau**2 * kl
        for block, hidden in targets.hidden.items():
            loss = loss + weights.feat * F.mse_loss(taps[block], teacher(hidden))
        rows = teacher(targets.word_rows[distinct.numpy()])
        return loss + weights.emb * F.mse_loss(words, rows), logits


def is_linear(key, value):
    """Whether a parameter is a linear layer's weight, and so stands transposed here."""
    return value.ndim == 2 and not key.startswith(("embedding.weight", "embedding.positions"))
