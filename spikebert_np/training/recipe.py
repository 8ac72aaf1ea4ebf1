"""A recipe: all settings of one task, from the teacher to the table, in one TOML file.

    [data]                what corpus, how to get it, its dev split where it has none; the
                          unlabelled text of its language
    [teacher]             source: a general teacher that is there already; or, for one from nothing,
                          [teacher.shape] and [teacher.pretraining]
    [teacher.finetuning]  how it learns the task
    [cache]               what is kept of what it says
    [stage1]              how many sentences of that text; [stage1.training]. May be absent
    [model] [neuron]      the student, in both stages and trained directly
    [stage2]              how many sentences of that text, and how many spans of each training text,
                          stage 2 learns from too, by the teacher's logits; [stage2.training]
    [direct.training] [textcnn.training] [spiking_textcnn.training]
    [textcnn.model] [spiking_textcnn.model] [spiking_textcnn.neuron]

The names are those of the commands' flags and config files, and the same dataclasses check them.
Longer than other files: one table after the other, read by itself.
"""

from dataclasses import MISSING, asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from ..data.hidden_rows import DTYPES
from ..errors import InputError
from ..models.kinds import KINDS
from ..models.spikebert import SpikeBertConfig
from .checkpoint import config_from, dataclass_from, model_choices, read_toml
from .finetune_teacher import TeacherSettings
from .loop import TrainingSettings
from .pretrain_teacher import PretrainingSettings, TeacherShape
from .stages import FITTED, default_settings


class Student(NamedTuple):
    """A model that is trained on the task's cache, once a seed."""

    label: str
    kind: str  # of models/kinds.py
    table: str  # whose training it is; the model too, where that is not the student
    distilled: bool = False


# Every row of the results that has seeds. A new baseline that is trained joins here.
STUDENTS = {
    "distilled": Student("student, distilled", "spikebert", "stage2", distilled=True),
    "direct": Student("the same student trained directly", "spikebert", "direct"),
    "textcnn": Student("TextCNN", "textcnn", "textcnn"),
    "spiking_textcnn": Student("spiking TextCNN", "spiking_textcnn", "spiking_textcnn"),
}
# Training without a teacher: what `spikebert finetune` calls these flags.
WITHOUT_TEACHER = {
    "w_ce": 1.0, "w_kl": 0.0, "w_feat": 0.0, "w_emb": 0.0, "w_rate": 0.0, "embedding": "random",
}  # fmt: skip


@dataclass(frozen=True)
class DataSettings:
    """task: such as "sentiment, 2 classes"; about: one line; get: how to come by the corpus.

    text: where unlabelled text of the kind lies, seen from the folder in which the corpus lies: for
    a teacher from nothing, for stage 1 and for more sentences in stage 2.
    """

    task: str
    about: str
    get: str
    dev_fraction: float = 0.1
    dev_seed: int = 0
    text: str = ""


@dataclass(frozen=True)
class CacheSettings:
    """As the flags of `spikebert teacher cache`; hidden_sentences 0: all."""

    layers: tuple
    dtype: str = "float16"
    hidden_sentences: int = 0
    max_tokens: int = 128

    def __post_init__(self):
        if self.dtype not in DTYPES:
            raise ValueError(f'dtype = "{self.dtype}": choose from {", ".join(DTYPES)}')
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layers = {list(self.layers)}: give different numbers")
        if self.hidden_sentences < 0 or self.max_tokens < 3:
            raise ValueError("hidden_sentences must be 0 or more, max_tokens 3 or more")


@dataclass(frozen=True)
class Stage1Settings:
    """sentences: so many of the text's sentences, drawn by seed 0; fewer are a part of more. Those
    among them that are dev sentences too are left out.
    """

    sentences: int

    def __post_init__(self):
        if self.sentences < 2:
            raise ValueError(f"sentences = {self.sentences}: it must be at least 2")


@dataclass(frozen=True)
class Stage2Settings:
    """What is learnt from as well, of which the fine-tuned teacher's logits are all that is known.

    sentences: so many of the unlabelled text, drawn as in stage 1.
    spans: so many runs of words of each training text (see `spans.py`).
    """

    sentences: int = 0
    spans: int = 0

    def __post_init__(self):
        for name in ("sentences", "spans"):
            if (value := getattr(self, name)) < 0:
                raise ValueError(f"{name} = {value}: it must be 0 or more")

    @property
    def more(self):
        """Whether there is more than the training texts."""
        return bool(self.sentences or self.spans)


@dataclass(frozen=True)
class Recipe:
    name: str
    data: DataSettings
    source: str  # "" for a teacher from nothing
    shape: TeacherShape | None
    pretraining: PretrainingSettings | None
    finetuning: TeacherSettings
    cache: CacheSettings
    stage1: Stage1Settings | None
    stage1_training: TrainingSettings | None
    stage2: Stage2Settings
    models: dict  # name in STUDENTS -> the choices of `student_config`
    training: dict  # name in STUDENTS -> TrainingSettings, the seed still to be set


def sketch_config(choices, where, *, vocab_size=1, embedding_width=384):
    """The config that `student_config` makes of choices, before there is a cache to fit it to."""
    if choices.get("projection") is False:
        embedding_width = choices.get("width", SpikeBertConfig.width)
    fitted = {"vocab_size": vocab_size, "embedding_width": embedding_width}
    return config_from(choices | fitted, where)


def plain_choices(choices):
    """The choices of `student_config` as plain values, for a record."""
    return {k: asdict(v) if k == "neuron" else v for k, v in choices.items()}


def recipe_names():
    """The names of the recipes in the package."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def recipe_path(name):
    """The file of a recipe in the package, or the path itself where the name ends in .toml.

    Raises InputError where the package has no such recipe.
    """
    if str(name).endswith(".toml"):
        return Path(name)
    if name not in recipe_names():
        raise InputError(
            f"{name}: no such recipe; choose from {', '.join(recipe_names())}, or give the path of "
            "a .toml file of your own (`spikebert recipes NAME` prints one to start from)"
        )
    return _folder() / f"{name}.toml"


def _folder():
    return Path(str(files("spikebert_np"))) / "recipes"


def load_recipe(name):
    """The Recipe of a name or path. Raises InputError naming the file, the table and the key."""
    path = recipe_path(name)
    tables = _Tables(path, read_toml(path))
    source, shape, pretraining = tables.take("teacher").pop("source", ""), None, None
    if type(source) is not str or bool(source) == ("pretraining" in tables.take("teacher")):
        raise InputError(
            f"{path} [teacher]: give either source, the name of a teacher, or the tables "
            "[teacher.shape] and [teacher.pretraining] for one from nothing"
        )
    if not source:
        shape = tables.read(TeacherShape, "teacher", "shape")
        pretraining = tables.read(PretrainingSettings, "teacher", "pretraining")
    finetuning = tables.read(TeacherSettings, "teacher", "finetuning")
    stage1 = stage1_training = None
    if "stage1" in tables.rest:
        pretrain = default_settings("pretrain")
        stage1_training = tables.read(TrainingSettings, "stage1", "training", pretrain)
        stage1 = tables.read(Stage1Settings, "stage1")
    models, training = tables.students()
    stage2 = tables.read(Stage2Settings, "stage2")
    data = tables.read(DataSettings, "data")
    if (stage1 or stage2.sentences) and not data.text:
        raise InputError(f"{path} [data]: lacks text, of which sentences are to be drawn")
    recipe = Recipe(
        name=path.stem,
        data=data,
        source=source,
        shape=shape,
        pretraining=pretraining,
        finetuning=finetuning,
        cache=tables.read(CacheSettings, "cache"),
        stage1=stage1,
        stage1_training=stage1_training,
        stage2=stage2,
        models=models,
        training=training,
    )
    tables.refuse_rest()
    _check_trainable(path, recipe)
    return recipe


class _Tables:
    """The tables of a file, taken out one by one, so that what is left is known to be misspelt."""

    def __init__(self, path, tables):
        self.path, self.rest = path, tables
        known = ["data", "teacher", "cache", "stage1", "model", "neuron"]
        known += [student.table for student in STUDENTS.values()]
        for name in tables:
            if name not in known:
                raise InputError(f"{path}: unknown table [{name}]; known are {', '.join(known)}")

    def take(self, table, part=None):
        """The dict of [table] or of [table.part], changed by whoever takes from it."""
        values = self.rest.setdefault(table, {})
        values = values if part is None else values.setdefault(part, {})
        if not isinstance(values, dict):
            raise InputError(
                f"{self.path}: {part} = {values!r} should be a table, [{table}.{part}]"
            )
        return values

    def read(self, cls, table, part=None, defaults=None):
        """The dataclass that a table holds."""
        label = table if part is None else f"{table}.{part}"
        values = (defaults or {}) | self.take(table, part)
        needed = [f.name for f in fields(cls) if f.name not in values and _is_needed(f)]
        if needed:
            raise InputError(f"{self.path} [{label}]: lacks {', '.join(needed)}")
        settings = dataclass_from(cls, values, f"{self.path} [{label}]")
        (self.rest if part is None else self.rest[table]).pop(label.split(".")[-1])
        return settings

    def students(self):
        """{name: model choices} and {name: TrainingSettings} of all STUDENTS."""
        model, neuron = self.rest.pop("model", {}), self.rest.pop("neuron", {})
        stage2 = dict(self.take("stage2", "training"))
        models, training = {}, {}
        for name, student in STUDENTS.items():
            where = f"{self.path} [{student.table}]"
            if student.kind == "spikebert":
                choices = model_choices(model, neuron, self.path)
            else:
                parts = [self.take(student.table).pop(part, {}) for part in ("model", "neuron")]
                choices = model_choices({"kind": student.kind} | parts[0], parts[1], where)
            models[name] = self._checked(choices, student)
            defaults = {} if student.distilled else stage2 | WITHOUT_TEACHER
            if "seed" in self.take(student.table, "training"):
                raise InputError(f"{where}: training.seed is given by --seed; leave it out")
            training[name] = self.read(TrainingSettings, student.table, "training", defaults)
        return models, training

    def _checked(self, choices, student):
        """The choices, which a config of the kind accepts, whatever the cache will be."""
        if choices["kind"] != student.kind:
            raise InputError(f"{self.path}: kind = {choices['kind']!r} should be {student.kind!r}")
        if fixed := [name for name in FITTED if name in choices]:
            raise InputError(f"{self.path}: {', '.join(fixed)} is set by the cache; leave it out")
        sketch_config(choices, self.path)
        return choices

    def refuse_rest(self):
        for table, values in self.rest.items():
            for key in values:
                raise InputError(f"{self.path} [{table}]: unknown key {key}")


def _is_needed(field):
    return field.default is MISSING and field.default_factory is MISSING


def _check_trainable(path, recipe):
    """What a run would find out hours later."""
    blocks = recipe.models["distilled"].get("blocks", SpikeBertConfig.blocks)
    uses = [recipe.training["distilled"], recipe.stage1_training]
    if any(used and used.w_feat for used in uses) and len(recipe.cache.layers) > blocks:
        raise InputError(
            f"{path} [cache]: layers are {len(recipe.cache.layers)}, but the student has {blocks} "
            "blocks to learn from them; cache fewer, or set blocks in [model]"
        )
    if recipe.cache.hidden_sentences and recipe.training["distilled"].w_feat:
        raise InputError(
            f"{path} [cache]: hidden_sentences = {recipe.cache.hidden_sentences} keeps the hidden "
            "states of only a part, but stage 2 learns from all; leave it out, or set w_feat = 0 "
            "in [stage2.training]"
        )
    for name, student in STUDENTS.items():
        needed = {"w_feat": KINDS[student.kind].taps, "w_rate": KINDS[student.kind].spikes}
        for weight, there in needed.items():
            if getattr(recipe.training[name], weight) and not there:
                raise InputError(
                    f"{path} [{student.table}.training]: a {student.kind} has nothing that "
                    f"{weight} weighs; leave it out"
                )
