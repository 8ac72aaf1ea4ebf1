"""A training step in PyTorch, with the same weights, losses and batches as ours.

AdamW is fused, that of the embedding sparse. A rival counts once `distance_from_ours` shows that it
computes the same.
"""

import numpy as np
import torch

from ..errors import InputError
from ..training.step import training_step
from .student_torch import TorchStudent, is_linear
from .students import SETTINGS
from .training_step import LEARNING_RATE

# The largest distance of logits, loss and gradients from ours, norm-wise an array, in float64;
# snnTorch's spikes are float32 even there.
BOUNDS = {"spikingjelly": 1e-9, "snntorch": 1e-4}


def new_rival_step(student, library):
    """A function of (Batch, Targets): one whole step of training, as `new_step` of ours."""
    rival = TorchStudent(student, library)
    words = rival.p["embedding.weight"]
    others = {key: p for key, p in rival.p.items() if p is not words}
    decay = [p for key, p in others.items() if key.endswith(".weight")]
    rest = [p for key, p in others.items() if not key.endswith(".weight")]
    dense = torch.optim.AdamW(
        [{"params": decay, "weight_decay": SETTINGS.weight_decay},
         {"params": rest, "weight_decay": 0.0}],
        lr=LEARNING_RATE,
        fused=True,
    )  # fmt: skip
    sparse = torch.optim.SparseAdam([words], lr=LEARNING_RATE)

    def step(work):
        loss, _ = rival.loss(*work, SETTINGS.loss_weights)
        loss.backward()
        words.grad = words.grad.coalesce()
        grads = [words.grad.values(), *(p.grad for p in others.values() if p.grad is not None)]
        norm = torch.nn.utils.get_total_norm(grads)
        torch._foreach_mul_(grads, torch.clamp(SETTINGS.clip_norm / norm, max=1.0))
        dense.step()
        sparse.step()
        dense.zero_grad()
        sparse.zero_grad()
        return loss.item()

    return step


def distance_from_ours(student, library, batch, targets):
    """The largest norm-wise distance of a rival's logits, loss and gradients from the reference's,
    both in float64 and without dropout. Raises InputError where it is above BOUNDS: a rival that
    computes something else is none."""
    double = {key: value.astype(np.float64) for key, value in student.params.items()}
    targets = targets._replace(
        logits=targets.logits.astype(np.float64),
        hidden={block: rows.astype(np.float64) for block, rows in targets.hidden.items()},
        word_rows=targets.word_rows.astype(np.float64) + 0.1,  # else its loss would be zero
    )
    ours = training_step(
        double, student.config, batch, targets, SETTINGS.loss_weights, rng=None, backend="numpy"
    )
    rival = TorchStudent(student._replace(params=double), library, "float64", dropout=False)
    their_loss, logits = rival.loss(batch, targets, SETTINGS.loss_weights)
    their_loss.backward()
    pairs = {
        "loss": (ours.loss, their_loss.item()),
        "logits": (ours.logits, logits.detach().numpy()),
    }
    for key, grad in ours.grads.items():
        theirs = rival.p[key].grad.to_dense().numpy()
        if key == "embedding.weight":
            grad = grad.dense(len(theirs))
        pairs[key] = grad, theirs.T if is_linear(key, grad) else theirs
    distances = {
        key: float(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max(), 1e-12))
        for key, (a, b) in pairs.items()
        if not key.endswith((".weight", ".bias")) or np.abs(a).max() > 1e-12
    }
    worst = max(distances, key=distances.get)
    if not distances[worst] <= BOUNDS[library]:
        raise InputError(
            f"{library}: its {worst} is {distances[worst]:.1e} from ours, so that it is no rival; "
            "measure a run without the options that only this project has, or leave --against out"
        )
    return distances[worst]
