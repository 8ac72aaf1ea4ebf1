"""The ablations of `spikebert ablate`: a small base, and what each variant changes of it.

The base learns as the recipes have it: from labels, logits, features and words, without a stage 1,
which is a variant. So each row costs one run, and none hangs on what another has learnt.

Letters: T spike steps, D_teacher the teacher's width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from types import MappingProxyType
from typing import NamedTuple

from ..layers.lif import LIFNeuron
from .loop import TrainingSettings
from .ranges import check_ranges
from .recipe import WITHOUT_TEACHER
from .stages import default_settings

TEACHERS = 0  # as a width: the teacher's


@dataclass(frozen=True)
class Budget:
    """width: D of the base, which has 2 blocks and 4 steps. epochs: of stage 2.

    Raises ValueError where a number is out of range.
    """

    width: int = 128
    epochs: int = 3

    def __post_init__(self):
        check_ranges(self, above_zero="width epochs")


class Variant(NamedTuple):
    """One row of the table. The dicts hold what differs from the base, under the fields' names."""

    name: str
    label: str
    model: Mapping = MappingProxyType({})
    neuron: Mapping = MappingProxyType({})
    training: Mapping = MappingProxyType({})
    stage1: float = 0.0  # the share of stage 1's text that it reads first, once
    beside: str = "base"  # the variant that it is compared with


# One block and two steps, so that a student as wide as its teacher keeps to the budget too.
_WIDE = {"width": TEACHERS, "blocks": 1, "steps": 2}

_FIRST, _LAST = ({"feature_blocks": which} for which in ("first", "last"))

VARIANTS = (
    Variant("base", "the base"),
    Variant("stage1-fifth", "with stage 1, of a fifth of its text", stage1=0.2),
    Variant("stage1", "with stage 1, of all its text", stage1=1.0),
    Variant("no-ce", "without cross-entropy", training={"w_ce": 0.0}),
    Variant("no-kl", "without KL", training={"w_kl": 0.0}),
    Variant("no-feat", "without features", training={"w_feat": 0.0}),
    Variant("no-emb", "without the embedding loss", training={"w_emb": 0.0}),
    Variant("direct", "from labels alone, no teacher", training=WITHOUT_TEACHER),
    Variant("teacher-words", "words from the teacher's rows", training={"embedding": "teacher"}),
    Variant("random-words", "words from random rows", training={"embedding": "random"}),
    Variant("tap-linear", "features by linear, no layer norm", model={"tap": "linear"}),
    Variant("cosine", "features by cosine", training={"feature_loss": "cosine"}),
    Variant("sentence", "features by sentence mean", training={"feature_loss": "sentence"}),
    Variant("first-block", "features of the first block alone", training=_FIRST),
    Variant("last-block", "features of the last block alone", training=_LAST),
    Variant("wide", "the teacher's width, 1 block, T = 2", model=_WIDE, beside="wide"),
    Variant("wide-linear", "as wide, features by linear", _WIDE | {"tap": "linear"}, beside="wide"),
    Variant("wide-no-tap", "as wide, features as they are", _WIDE | {"tap": "none"}, beside="wide"),
    *(Variant(f"steps-{T}", f"T = {T}", model={"steps": T}) for T in (1, 2, 8)),
    *(Variant(f"tau-{tau:g}", f"tau = {tau:g}", neuron={"tau": tau}) for tau in (1.5, 3.0, 5.0)),
    Variant("threshold", "threshold 0.5", neuron={"v_th": 0.5}),
    Variant("depth-1", "1 block", model={"blocks": 1}),
    *(Variant(f"depth-{n}", f"{n} blocks", model={"blocks": n}) for n in (3, 4, 5, 6)),
    Variant("heaviside", "the published encoder, Θ(embedding)", model={"encoder": "heaviside"}),
    Variant("no-positions", "without positions", model={"positions": False}),
    Variant("no-windows", "words by themselves, no windows", model={"kernel_width": 1}),
    Variant("no-order", "neither positions nor windows", {"kernel_width": 1, "positions": False}),
    Variant("no-attention", "without attention", model={"attention": False}),
    Variant("soft-reset", "soft reset", neuron={"reset": "soft"}),
    *(
        Variant(f"rate-{w:g}", f"firing penalised, w = {w:g}", training={"w_rate": w})
        for w in (1.0, 3.0)
    ),
    Variant("batch-norm", "batch norm for layer norm", model={"norm": "batch"}),
)


class Setup(NamedTuple):
    """A variant at a budget. model: as `student_config` takes it."""

    variant: Variant
    model: dict
    training: TrainingSettings  # of stage 2, the seed still to be set


def stage1_settings():
    """The TrainingSettings of a variant's stage 1."""
    return TrainingSettings(epochs=1, **default_settings("pretrain") | {"embedding": "contextual"})


def setups(budget, teacher_width):
    """{name: Setup} of VARIANTS, for a teacher of width D_teacher."""
    return {variant.name: _setup(variant, budget, teacher_width) for variant in VARIANTS}


def _setup(variant, budget, teacher_width):
    model = {"width": budget.width, "blocks": 2, "steps": 4} | variant.model
    model["width"] = model["width"] or teacher_width
    model = {"heads": gcd(4, model["width"]), "neuron": LIFNeuron(**variant.neuron)} | model
    learnt = {"w_feat": 0.3, "embedding": "contextual"} | variant.training
    return Setup(variant, model, TrainingSettings(epochs=budget.epochs, **learnt))


def spread(cache, blocks):
    """The TeacherCache with its L layers spread over the student's blocks, the last on the last.

    Layer i of L is what block (i + 1) blocks // L - 1 learns from: blocks 1 and 3 of 4, where a
    cache made for two blocks has two layers. Of several layers for one block the first is taken.
    """
    layers = sorted(cache.student_blocks)
    at = {}
    for i, layer in enumerate(layers):
        at.setdefault((i + 1) * blocks // len(layers) - 1, layer)
    at.pop(-1, None)  # before the first block
    return cache._replace(
        student_blocks={layer: block for block, layer in at.items()},
        hidden={layer: cache.hidden[layer] for layer in at.values()},
    )
