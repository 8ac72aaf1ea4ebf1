"""A training step against its own dense matrix products.

The dense floor is the time of the fewest matrix products that any dense implementation of the step
needs, each into a buffer that is warm: of a linear layer the forward product, dX and dW; of the
attention six small ones a sentence, in the cheaper of its two orders; q, k and v, which read one
input, as one product; where every time step has the same input (the heaviside encoder's first
block) once and not T times. Nothing else of a step is in it: no neuron, norm, loss or update.

Letters: T spike steps, N packed tokens, n tokens of one sentence, B sentences, D width, H heads,
E = D // H, F MLP width, C classes.
"""

import numpy as np

from ..training.optim import adamw_init, update
from ..training.step import training_step
from .students import SETTINGS

# So small that the student stays the one that was trained, and its spikes with it.
LEARNING_RATE = 1e-6


def new_step(student, backend="numba", settings=SETTINGS):
    """A function of (Batch, Targets) and `run`: one whole step of training, as `training.loop`
    takes it. student: has a config and params. run: as of `training.step`. It returns the Step."""
    # The training loop's backend but for the products, where that is asked for.
    own = "numpy" if backend == "numpy" else "numba"
    params = {key: value.copy() for key, value in student.params.items()}
    state, rng = adamw_init(params), np.random.default_rng(0)

    def step(work, run=map):
        nonlocal state
        result = training_step(
            params, student.config, *work, settings.loss_weights, rng=rng, backend=backend, run=run
        )
        state, _ = update(
            params, result.grads, state, LEARNING_RATE, settings, backend=own, run=run
        )
        return result

    return step


def linear_products(config, tokens, sentences):
    """(rows, D_in, D_out) of each linear product of the forward pass."""
    rows, width = config.steps * tokens, config.width
    if config.projection:
        yield tokens, config.kernel_width * config.embedding_width, width
    for i in range(config.blocks):
        if config.attention:
            same = i == 0 and config.encoder == "heaviside"
            yield tokens if same else rows, width, 3 * width  # q, k, v
            yield rows, width, width  # out
        yield rows, width, config.mlp_width
        yield rows, config.mlp_width, width
        if config.teacher_width and config.tap != "none":
            yield tokens, width, config.teacher_width  # of the mean over time
    yield sentences, width, config.classes  # of the mean over tokens and time


class DenseFloor:
    """All matrix products of one batch's step; calling it does them."""

    def __init__(self, config, offsets):
        self._arrays, self._rng = {}, np.random.default_rng(0)
        self._jobs = []  # (a, b, out) of np.matmul
        for shape in linear_products(config, int(offsets[-1]), len(offsets) - 1):
            self._add_linear(*shape)
        if config.attention:
            for tokens in np.diff(offsets):
                for _ in range(config.blocks):
                    self._add_attention(config, int(tokens))

    def _array(self, role, *shape):
        """One for each role and shape: what a product reads is then warm too."""
        if (role, shape) not in self._arrays:
            self._arrays[role, shape] = self._rng.standard_normal(shape, np.float32)
        return self._arrays[role, shape]

    def _add_linear(self, rows, width_in, width_out):
        x, dx = (self._array(role, rows, width_in) for role in ("x", "dx"))
        y, dy = (self._array(role, rows, width_out) for role in ("y", "dy"))
        w, dw = (self._array(role, width_in, width_out) for role in ("w", "dw"))
        self._jobs += [(x, w, y), (dy, w.T, dx), (x.T, dy, dw)]

    def _add_attention(self, config, tokens):
        maps, head_width = config.steps * config.heads, config.width // config.heads
        q, k, v, y, dy = (self._array(role, maps, tokens, head_width) for role in "qkvyd")
        side = min(tokens, head_width)
        a = self._array("a", maps, side, side)  # (T H, n, n) or (T H, E, E)

        def turned(x):
            return x.swapaxes(-1, -2)

        if tokens <= head_width:
            # y = (q kᵀ) v, and da, dv, dq, dk
            self._jobs += [(q, turned(k), a), (a, v, y)]
            self._jobs += [(dy, turned(v), a), (turned(a), dy, y), (a, k, y), (turned(a), q, y)]
        else:
            # y = q (kᵀ v), and dq, da, dk, dv
            self._jobs += [(turned(k), v, a), (q, a, y)]
            self._jobs += [(dy, turned(a), y), (turned(q), dy, a), (v, turned(a), y), (k, a, y)]

    def operations(self):
        """Multiplications and additions of all products."""
        return sum(2 * out.size * a.shape[-1] for a, _, out in self._jobs)

    def __call__(self):
        for a, b, out in self._jobs:
            np.matmul(a, b, out=out)
