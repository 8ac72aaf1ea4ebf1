"""All that `spikebert bench` measures, row by row, each of A against B.

Letters: B sentences, L tokens of a padded sentence.
"""

from importlib import import_module
from typing import NamedTuple

import numpy as np

from ..data.batches import Batch
from ..data.pretrained import resolve_teacher
from ..data.tokenizer import encode_texts, load_tokenizer
from ..models.bert_checkpoint import load_bert
from ..training.workers import worker_count
from . import lif
from .inference import new_inference
from .students import BATCH_SENTENCES, draw_batches, draw_targets
from .timing import Ratio, alternate, by_workers, median_seconds, ratio
from .training_step import DenseFloor, new_step

SHAPES = ((256, 2), (384, 2), (256, 6), (384, 6))  # width, blocks
PADDED = 128  # tokens: what the published training pads every sentence to
TORCH = ("spikingjelly", "snntorch")
RIVALS = (*TORCH, "onnxruntime")
_MODULES = {
    "spikingjelly": ("torch", "spikingjelly.activation_based.neuron"),
    "snntorch": ("torch", "snntorch"),
    "onnxruntime": ("onnx", "onnxruntime"),
}


class Row(NamedTuple):
    key: str  # in the JSON
    shape: str  # of the student, where the JSON has one ratio for each
    label: str
    ratio: Ratio
    rate: float  # the share of the measured neurons that fire
    detail: str


def is_installed(rival):
    """Whether one of RIVALS can be imported, with all that it needs."""
    try:
        for module in _MODULES[rival]:
            import_module(module)
    except ImportError:
        return False
    return True


def _milliseconds(times, *sides):
    return ", ".join(f"{side} {1e3 * median_seconds(times[side]):,.1f} ms" for side in sides)


def step_rows(student, rounds):
    """The training step against its dense floor, with events and without."""
    works = draw_batches(student, rounds)
    floors = {id(work): DenseFloor(student.config, work[0].offsets) for work in works}
    sides = {
        "events": by_workers(new_step(student)),
        "dense": by_workers(new_step(student, "dense")),
        "floor": lambda work: floors[id(work)](),
    }
    times = alternate(sides, works)
    seconds = median_seconds(times["floor"])
    speed = np.median([floor.operations() for floor in floors.values()]) / seconds / 1e9
    detail = f"{_milliseconds(times, *sides)} ({speed:.0f} GFLOP/s)"
    name, rate = student.name, student.rates["all"]
    for key, label, side in (
        ("step_over_floor", "step / dense floor", "events"),
        ("dense_step_over_floor", "step without events / dense floor", "dense"),
    ):
        yield Row(key, name, f"{label}, {name}", ratio(times[side], times["floor"]), rate, detail)


def rival_rows(student, rounds, libraries):
    """The same step by each of the libraries, on the same packed batches."""
    from .rivals_torch import distance_from_ours, new_rival_step

    works = draw_batches(student, rounds)
    small = draw_batches(student, 1, sentences=4)[0]
    sides, distances = {"ours": by_workers(new_step(student))}, {}
    for library in libraries:
        distances[library] = distance_from_ours(student, library, *small)
        sides[library] = new_rival_step(student, library)
    times = alternate(sides, works)
    for library in libraries:
        detail = (
            f"{_milliseconds(times, 'ours', library)}; logits, loss and gradients within "
            f"{distances[library]:.0e}"
        )
        vs = ratio(times[library], times["ours"])
        label = f"step vs {library}, {student.name}, same packed batch"
        yield Row(f"vs_{library}", "", label, vs, student.rates["all"], detail)


def pad(student, work, length=PADDED):
    """The same sentences as the published training reads them: each of `length` tokens, B L in all,
    cut or filled up with the id 0, which attention and mean then see."""
    batch = work[0]
    length = min(length, student.config.max_tokens)
    ids = np.zeros((len(batch.index), length), batch.ids.dtype)  # (B, L)
    for row, start, stop in zip(ids, batch.offsets, batch.offsets[1:], strict=False):
        row[: stop - start] = batch.ids[start : min(stop, start + length)]
    padded = Batch(ids.ravel(), np.arange(len(ids) + 1) * length, None, batch.index)
    return draw_targets(student, padded, np.random.default_rng(0))


def epoch_rows(student, rounds):
    """An epoch of the student's corpus here, packed, and by SpikingJelly, padded."""
    from .rivals_torch import new_rival_step

    works = [(work, pad(student, work)) for work in draw_batches(student, rounds)]
    ours, theirs = by_workers(new_step(student)), new_rival_step(student, "spikingjelly")
    times = alternate(
        {"ours": lambda work: ours(work[0]), "padded": lambda work: theirs(work[1])}, works
    )
    sentences = len(student.offsets) - 1
    batches = sentences / BATCH_SENTENCES
    ours_s, theirs_s = (batches * median_seconds(times[side]) for side in ("ours", "padded"))
    detail = (
        f"{sentences:,} sentences of {student.offsets[-1] / sentences:.1f} tokens, extrapolated: "
        f"{ours_s:,.0f} s, {theirs_s:,.0f} s"
    )
    label = f"epoch vs spikingjelly, {student.name}, padded to {PADDED}"
    vs = ratio(times["padded"], times["ours"])
    yield Row("epoch_vs_padded", "", label, vs, student.rates["all"], detail)


def lif_rows(rounds, libraries):
    """The neuron alone; each round brings currents of its own, as a network does."""
    works = [lif.draw_currents(seed) for seed in range(rounds)]
    x, ds = works[0]
    move = lif.BytesMover(x)
    sides = {"ours": lambda work: lif.run_lif(*work), "copy": lambda _: move()}
    for library in libraries:
        from .neurons_torch import new_rival_lif

        rival = new_rival_lif(library, lif.NEURON)
        sides[library] = lambda work, rival=rival: rival(*work)
    times = alternate(sides, works)
    rate = float(lif.run_lif(x, ds)[0].mean())
    size = f"T {lif.STEPS}, {lif.NEURONS:,} neurons"
    over = ratio(times["ours"], times["copy"])
    gigabytes = lif.ARRAYS * x.nbytes / median_seconds(times["copy"]) / 1e9
    detail = f"{_milliseconds(times, 'ours', 'copy')} ({gigabytes:.1f} GB/s); {size}"
    yield Row("lif_over_bandwidth", "", "LIF / moving its bytes", over, rate, detail)
    for library in libraries:
        vs = ratio(times[library], times["ours"])
        detail = f"{_milliseconds(times, 'ours', library)}; {size}"
        yield Row(f"lif_vs_{library}", "", f"LIF vs {library}", vs, rate, detail)


def inference_rows(student, rounds, texts):
    """Sentences a second at batch 32 and 1, against our dense path; with texts, those of the
    student's corpus or None, also against MiniLM under onnxruntime."""
    sides = {
        "ours": by_workers(new_inference(student)),
        "dense": by_workers(new_inference(student, "dense")),
    }
    if texts:
        tokenizer, sides["onnxruntime"] = _teacher_inference(texts)
    names = {"dense": "our dense path", "onnxruntime": "minilm in onnxruntime"}
    for sentences, suffix in ((BATCH_SENTENCES, ""), (1, "_batch1")):
        works = []
        # A single sentence is short work: more of them.
        more = rounds if sentences > 1 else 5 * rounds
        for batch, _ in draw_batches(student, more, sentences=sentences):
            # The teacher may have a tokenizer of its own.
            read = encode_texts(tokenizer, [texts[i] for i in batch.index]) if texts else None
            works.append((batch, read))
        times = alternate(sides, works)
        detail = "; ".join(
            f"{side} {sentences / median_seconds(times[side]):,.0f} sentences/s" for side in sides
        )
        for side in list(sides)[1:]:
            vs = ratio(times[side], times["ours"])
            label = f"inference vs {names[side]}, {student.name}, batch {sentences}"
            yield Row(f"inference_vs_{side}{suffix}", "", label, vs, student.rates["all"], detail)


def _teacher_inference(texts):
    """MiniLM's tokenizer, and a function of (..., Encoded): its last hidden states."""
    from .teacher_onnx import distance_from_ours, new_teacher_inference

    directory = resolve_teacher("minilm")
    config, params = load_bert(directory)
    tokenizer = load_tokenizer(directory)
    infer = new_teacher_inference(config, params, worker_count())
    sample = encode_texts(tokenizer, texts[:4])
    distance_from_ours(infer, config, params, sample.ids, sample.offsets)
    return tokenizer, lambda work: infer(work[1].ids, work[1].offsets)
