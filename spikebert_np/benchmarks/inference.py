"""Sentences a second, of a trained student.

Letters: B sentences.
"""

from ..training.inference import predict_logits


def new_inference(student, backend="numba"):
    """A function of (Batch, ...): its logits (B, C), the whole batch at once."""

    def infer(work):
        batch = work[0]
        return predict_logits(
            student.params,
            student.config,
            batch.ids,
            batch.offsets,
            max_tokens=len(batch.ids),
            backend=backend,
        )

    return infer
