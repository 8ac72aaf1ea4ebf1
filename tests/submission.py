"""A learner's notebook of three exercises of chapter 04, for the tests of `spikebert grade`."""

import json
import time

from spikebert_np.checking.grading import grade_notebook
from spikebert_np.checking.grading_process import Limits
from spikebert_np.checking.grading_session import Session

LIMITS = Limits(seconds=300, total=1800)  # a busy machine takes its time

IMPORTS = """
import numpy as np
from spikebert_np.checking import exercises as checks
from spikebert_np.checking.chapter_04 import BUGS, NEURON, flow
from spikebert_np.layers.surrogate import SURROGATES
"""
RIGHT_STEP = """
def lif_step_backward(ds, dv, h, s, neuron):
    dh = dv * (1 - s) + ds * SURROGATES[neuron.surrogate].derivative(h - neuron.v_th, neuron.alpha)
    return dh / neuron.tau, dh * (1 - 1 / neuron.tau)
"""
LOOP = """
def lif_backward(ds, cache):
    dx, dv = np.empty_like(ds), np.zeros_like(ds[0])
    for t in reversed(range(len(ds))):
        dx[t], dv = step_back(ds[t], dv, cache.h[t], cache.s[t], cache.neuron)
    return dx
"""
WRONG_LOOP = LOOP.replace("dx[t], dv =", "dx[t], _ =")  # no gradient goes back in time
PREDICTION = """
def read_flow():
    return {"detached, neuron 0": 0, "detached, neuron 1": 2, "detached, neuron 2": 4,
            "detached, neuron 3": 5, "attached, neuron 1": 0}
"""
STUB = "def lif_step_backward(ds, dv, h, s, neuron):\n    raise NotImplementedError\n"


def code(source, exercise=""):
    metadata = {"exercise": exercise, "answer": "?"} if exercise else {}
    return {"cell_type": "code", "metadata": metadata, "source": source}


def write(path, cells):
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4}), encoding="utf-8")
    return path


def notebook(path, *, first="", last="", step=RIGHT_STEP, loop=LOOP, flow=PREDICTION):
    """Three exercises of chapter 04 and their checkers, between two cells of a learner's own."""
    return write(path / "ada.ipynb", [
        code(IMPORTS), code(first), code(step, "4.1"),
        code("step_back = checks.ex_04_1(lif_step_backward).use"), code(loop, "4.2"),
        code("checks.ex_04_2(lif_backward)"), code(flow, "4.6"), code(last),
    ])  # fmt: skip


def marks(path, limits=LIMITS):
    """{exercise: Row}"""
    return {row.exercise: row for row in grade_notebook("ada", path, limits)}


def statuses(path, *exercises, limits=LIMITS):
    found = marks(path, limits)
    return [found[number].status for number in exercises]


def session(*numbers):
    """A process for the exercises of these numbers, in which the usual imports have run."""
    return _Session(numbers, LIMITS, time.monotonic() + LIMITS.total)


class _Session(Session):
    def __enter__(self):
        super().__enter__()
        assert self.run_cell(0, IMPORTS) == ("", None)
        return self
