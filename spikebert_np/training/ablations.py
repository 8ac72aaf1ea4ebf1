"""The ablations of `spikebert ablate`: a small base, and what each variant changes of it.

The base learns in both stages, as a recipe does; a variant of another shape, or of another loss on
features, has a stage 1 of its own, which its seeds share. (To leave stage 1 out everywhere would be
cheaper by a fifth, and would measure taps and feature losses where they count least.)

Letters: T spike steps, D_teacher the teacher's width.
"""

from dataclasses import asdict, dataclass
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
    """width: D of the base, which has 2 blocks and 4 steps. epochs: of stage 2. sentences: of
    stage 1's text, which stage 1 reads once; 0 leaves stage 1 out of every variant.

    Raises ValueError where a number is out of range.
    """

    width: int = 128
    epochs: int = 3
    sentences: int = 10_000

    def __post_init__(self):
        check_ranges(self, above_zero="width epochs", from_zero="sentences")


class Variant(NamedTuple):
    """One row of the table. The dicts hold what differs from the base, under the fields' names."""

    name: str
    label: str
    model: dict = MappingProxyType({})
    neuron: dict = MappingProxyType({})
    training: dict = MappingProxyType({})  # of both stages
    stage2: dict = MappingProxyType({})  # of stage 2 alone
    stage1: bool = True
    beside: str = "base"  # the variant that it is compared with


# One block and two steps, so that a student as wide as its teacher keeps to the budget too.
_WIDE = {"width": TEACHERS, "blocks": 1, "steps": 2}

_FIRST, _LAST = ({"feature_blocks": which} for which in ("first", "last"))

VARIANTS = (
    Variant("base", "the base"),
    Variant("no-stage1", "without stage 1", stage1=False),
    Variant("no-ce", "without cross-entropy", stage2={"w_ce": 0.0}),
    Variant("no-kl", "without KL", stage2={"w_kl": 0.0}),
    Variant("no-feat", "without features in stage 2", stage2={"w_feat": 0.0}),
    Variant("no-feat-at-all", "without features and stage 1", stage2={"w_feat": 0.0}, stage1=False),
    Variant("no-emb", "without the embedding loss", training={"w_emb": 0.0}),
    Variant("direct", "from labels alone, no teacher", stage2=WITHOUT_TEACHER, stage1=False),
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
    *(Variant(f"depth-{n}", f"{n} blocks", model={"blocks": n}) for n in (3, 4, 6)),
    Variant("heaviside", "the published encoder, Θ(embedding)", model={"encoder": "heaviside"}),
    Variant("no-positions", "without positions", model={"positions": False}),
    Variant("no-attention", "without attention", model={"attention": False}),
    Variant("soft-reset", "soft reset", neuron={"reset": "soft"}),
    Variant("batch-norm", "batch norm for layer norm", model={"norm": "batch"}),
)


class Setup(NamedTuple):
    """A variant at a budget. model: as `student_config` takes it."""

    variant: Variant
    model: dict
    stage1: TrainingSettings | None  # None without stage 1
    stage1_of: str  # the first variant that has the same; "" without
    stage2: TrainingSettings  # the seed still to be set

    @property
    def plain_model(self):
        """The model's choices as plain values, for a record."""
        return self.model | {"neuron": asdict(self.model["neuron"])}


def setups(budget, teacher_width):
    """{name: Setup} of VARIANTS, for a teacher of width D_teacher.

    A variant that comes to the same as one before it is left out: without stage 1, several do.
    """
    found = {}
    for variant in VARIANTS:
        setup = _setup(variant, budget, teacher_width)
        twins = [known for known in found.values() if known.model == setup.model]
        if any((twin.stage1, twin.stage2) == (setup.stage1, setup.stage2) for twin in twins):
            continue
        if setup.stage1:
            owners = [twin.stage1_of for twin in twins if twin.stage1 == setup.stage1]
            setup = setup._replace(stage1_of=[*owners, variant.name][0])
        found[variant.name] = setup
    return found


def _setup(variant, budget, teacher_width):
    model = {"width": budget.width, "blocks": 2, "steps": 4} | variant.model
    model["width"] = model["width"] or teacher_width
    model = {"heads": gcd(8, model["width"]), "neuron": LIFNeuron(**variant.neuron)} | model
    stage1 = None
    if variant.stage1 and budget.sentences:
        stage1 = TrainingSettings(epochs=1, **default_settings("pretrain") | variant.training)
    stage2 = TrainingSettings(epochs=budget.epochs, **variant.training | variant.stage2)
    return Setup(variant, model, stage1, "", stage2)


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
