"""One worker a core: threads that share a batch, or a parameter update, and no lock between them.

NumPy and the compiled kernels let go of Python's lock while they compute, so threads run side by
side. Each worker's matrix products are single-threaded: products that share their threads wait for
the slowest of them each time, and leave it the other core for everything that is no product.

Letters: B sentences, N packed tokens, V vocabulary, D width.
"""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

import numpy as np

from ..layers.embedding import RowGradient


def worker_count():
    """The cores that this process may use: no more than NumPy's matrix products may, so that
    OPENBLAS_NUM_THREADS says it for all."""
    from threadpoolctl import threadpool_info

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min([cores, *pools])


@contextmanager
def workers(count):
    """`with workers(2) as run:` gives a `map` that works on `count` items at once, in order."""
    from threadpoolctl import threadpool_limits

    with (
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(count) as pool,
    ):

        def run(function, *items):
            # Each item in a copy of the caller's context, so that its np.errstate counts.
            contexts = (copy_context() for _ in itertools.count())
            return pool.map(lambda context, *item: context.run(function, *item), contexts, *items)

        yield run


def split_batch(offsets, count):
    """(first, last) sentence ranges that cut a batch into at most `count` parts of about as many
    tokens, none empty. offsets: (B + 1,).
    """
    goals = offsets[-1] * np.arange(1, count) / count
    cuts = np.searchsorted(offsets, goals)
    edges = np.unique([0, *cuts, len(offsets) - 1])
    return list(itertools.pairwise(edges))


def sum_gradients(parts):
    """The sum of dicts of gradients of the same keys; the arrays of the first one are changed."""
    total = parts[0]
    for part in parts[1:]:
        for key, grad in part.items():
            if isinstance(grad, RowGradient):
                total[key] = _sum_rows(total[key], grad)
            else:
                total[key] += grad
    return total


def _sum_rows(a, b):
    """The sum of two RowGradients, over the ids of either."""
    ids = np.union1d(a.ids, b.ids)  # (R,)
    rows = np.zeros((len(ids), a.rows.shape[1]), a.rows.dtype)  # (R, D)
    for part in (a, b):
        rows[np.searchsorted(ids, part.ids)] += part.rows
    return RowGradient(ids, rows)
