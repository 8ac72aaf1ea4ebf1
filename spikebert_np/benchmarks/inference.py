"""Sentences a second, of a trained student.

Letters: B sentences.
"""

import numpy as np

from ..training.inference import predict_logits
from ..training.workers import worker_count


def new_inference(student, backend="numba"):
    """A function of (Batch, ...) and `run`: its logits (B, C), a share of the batch by each worker.

    run: as of `predict_logits`.
    """
    count = worker_count()

    def infer(work, run=map):
        batch = work[0]
        longest = int(np.diff(batch.offsets).max())
        return predict_logits(
            student.params,
            student.config,
            batch.ids,
            batch.offsets,
            max_tokens=len(batch.ids) // count + (longest if count > 1 else 0),
            backend=backend,
            run=run,
        )

    return infer
