"""Starting values of parameters, as dicts of float32 arrays.

Letters: D_in, D_out and D widths.
"""

import numpy as np


def init_linear(rng, width_in, width_out):
    """weight (D_in, D_out) and bias (D_out,), uniform in +-1/sqrt(D_in), as PyTorch's Linear."""
    bound = 1 / np.sqrt(width_in)
    return {
        "weight": rng.uniform(-bound, bound, (width_in, width_out)).astype(np.float32),
        "bias": rng.uniform(-bound, bound, width_out).astype(np.float32),
    }


def init_layernorm(width):
    """gain (D,) of ones and bias (D,) of zeros: the norm starts as the plain normalisation."""
    return {"gain": np.ones(width, np.float32), "bias": np.zeros(width, np.float32)}


def init_embedding(rng, rows, width):
    """(rows, D), standard normal: a current that reaches a threshold of 1 about once in six."""
    return rng.standard_normal((rows, width)).astype(np.float32)


def init_batchnorm(width):
    """The same, and `mean` zeros and `variance` ones: what evaluation normalises by."""
    statistics = {"mean": np.zeros(width, np.float32), "variance": np.ones(width, np.float32)}
    return init_layernorm(width) | statistics
