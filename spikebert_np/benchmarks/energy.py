"""What reading a sentence costs this machine: a student against its teacher, by turns.

All on one thread: that is what a counter of instructions sees, and cores at rest cost joules too.

Letters: B sentences of a round.
"""

from dataclasses import replace
from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

from ..data.batches import make_batch
from ..models.bert import bert_forward
from ..training.inference import predict_logits
from .timing import alternate

SIDES = {
    "events": "student, event-driven",
    "dense": "student, dense",
    "one_step": "student, dense, T = 1",
    "teacher": "teacher",
    "onnxruntime": "teacher, onnxruntime",
}


def measure_energy(student, teacher, meter, *, sentences, rounds):
    """{side of SIDES: {unit: what a sentence costs, the median over the rounds}}

    student, teacher: have a config, params and their Encoded sentences, the same ones; teacher may
    be None. meter: a Meter, or None; CPU seconds are always measured. sentences: B, read at once.
    "one_step" is the student without time, which costs about what it would without spikes;
    "onnxruntime" the teacher's fastest rival here, where it is installed.
    """

    def reading(backend, **settings):
        config = replace(student.config, **settings)
        return lambda index: predict_logits(
            student.params, config, *_gather(student, index), backend=backend
        )

    sides = {
        "events": reading("events"),
        "dense": reading("dense"),
        "one_step": reading("dense", steps=1),
    }
    if teacher:
        sides["teacher"] = lambda index: bert_forward(
            *_gather(teacher, index), teacher.params, teacher.config, backend="numba"
        )
        if rival := _teacher_in_onnxruntime(teacher):
            sides["onnxruntime"] = rival
    rng, count = np.random.default_rng(0), len(student.encoded.offsets) - 1
    works = [rng.choice(count, sentences, replace=count < sentences) for _ in range(rounds)]  # (B,)
    counters = {"cpu_seconds": process_time} | ({meter.unit: meter.read} if meter else {})
    with threadpool_limits(limits=1):
        spent = alternate(
            sides, works, clocks=lambda: np.array([read() for read in counters.values()])
        )
    return {
        side: dict(zip(counters, np.median(values / sentences, axis=0).tolist(), strict=True))
        for side, values in spent.items()
    }


def _teacher_in_onnxruntime(teacher):
    """Its side, or None where onnxruntime is not installed."""
    try:
        from .teacher_onnx import new_teacher_inference
    except ImportError:
        return None
    infer = new_teacher_inference(teacher.config, teacher.params, threads=1)
    return lambda index: infer(*_gather(teacher, index))


def _gather(network, index):
    """ids and offsets of some of its sentences."""
    batch = make_batch(network.encoded.ids, network.encoded.offsets, None, index)
    return batch.ids, batch.offsets


def measured_unit(spent):
    """What a machine is to be judged by: the best that it can say."""
    units = next(iter(spent.values()))
    return next(unit for unit in ("joules", "instructions", "cpu_seconds") if unit in units)
