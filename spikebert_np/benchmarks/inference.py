"""Sentences a second, of a trained student.

Letters: B sentences.
"""

from ..training.inference import predict_logits, tokens_a_batch
from ..training.step import step_workers


def new_inference(student, backend="numba"):
    """A function of (Batch, ...) and `run`: its logits (B, C), a share of the batch by each worker.

    run: as of `predict_logits`.
    """
    count = step_workers()

    def infer(work, run=map):
        batch = work[0]
        return predict_logits(
            student.params,
            student.config,
            batch.ids,
            batch.offsets,
            max_tokens=tokens_a_batch(batch.offsets, count),
            backend=backend,
            run=run,
        )

    return infer
