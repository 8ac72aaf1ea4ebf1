"""Where the time of a training step goes, by part, forward and backward.

The model knows nothing of it: for the time of a profile, names in its modules stand for functions
that keep a clock. A part's time is its own, without that of the parts that it calls.
"""

import importlib
from contextlib import ExitStack, contextmanager
from time import process_time
from unittest.mock import patch

# (module, function without _forward or _backward, part), from the outside in.
BOTH_WAYS = (
    ("models.spikebert", "spike_input", "embedding"),
    ("blocks.spike_input", "spike_encoding", "spike encoder"),
    ("models.spikebert", "encoder_block", "residual sums"),
    ("blocks.ssa", "spiking_linear", "q, k, v, out: products"),
    ("blocks.mlp", "spiking_linear", "mlp: products"),
    ("blocks.spiking_linear_numba", "norm_lif", "layer norm + LIF"),
    ("blocks.ssa", "lif", "attention's LIF"),
    ("blocks.ssa", "attention", "attention"),
    ("models.spikebert", "distillation_tap", "taps"),
    ("models.spikebert", "classifier_head", "head"),
    ("training.step", "distillation", "losses"),
)
ONCE = (
    ("training.optim", "clip_gradients", "update"),
    ("training.optim", "adamw_step", "update"),
)
REST = "all else"


class Parts:
    """Seconds of all threads by part and direction, and a stack of the parts that now run."""

    def __init__(self):
        self.seconds = {}
        self._running = []

    def timed(self, function, part, direction):
        """The function, keeping its own time."""

        def call(*args, **kwargs):
            with self.time(part, direction):
                return function(*args, **kwargs)

        return call

    @contextmanager
    def time(self, part, direction):
        started, children = process_time(), [0.0]
        self._running.append(children)
        try:
            yield
        finally:
            self._running.pop()
            took = process_time() - started
            if self._running:
                self._running[-1][0] += took
            key = part, direction
            self.seconds[key] = self.seconds.get(key, 0.0) + took - children[0]


def profile_step(step, works):
    """{(part, "forward", "backward" or ""): core-seconds a step} of a step on each of the works.

    step: of `new_step`, on one thread; it has been called before, so that all is compiled.
    """
    parts = Parts()
    with ExitStack() as patches:
        for module, name, part in BOTH_WAYS:
            for direction in ("forward", "backward"):
                _patch(patches, parts, module, f"{name}_{direction}", part, direction)
        for module, name, part in ONCE:
            _patch(patches, parts, module, name, part, "")
        for work in works:
            with parts.time(REST, ""):
                step(work)
    return {key: seconds / len(works) for key, seconds in parts.seconds.items()}


def _patch(patches, parts, module, name, part, direction):
    # __package__ and not its name: the package may be read under another.
    home = importlib.import_module(f"{__package__.rpartition('.')[0]}.{module}")
    timed = parts.timed(getattr(home, name), part, direction)
    patches.enter_context(patch.object(home, name, timed))
