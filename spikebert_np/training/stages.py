"""One stage of training, from a teacher cache to a run folder.

Letters: V vocabulary, D_emb embedding width, N packed tokens.
"""

import json
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np

from ..analysis.health import floor_warning
from ..errors import InputError
from ..models.kinds import KINDS, kind_of
from ..process import EVENTS_UP_TO, events_up_to
from .checkpoint import config_tables, dataclass_from, save_weights, write_config
from .checkups import Checkups, say
from .corpora import has_hidden, stage_corpora
from .loop import train
from .report import write_report
from .word_rows import starting_rows, teacher_word_rows

# What the cache decides of a student, whatever else is chosen.
FITTED = ("vocab_size", "classes", "embedding_width", "teacher_width")


# What a stage sets apart from TrainingSettings' own defaults, for a kind of model.
STAGE_DEFAULTS = {
    "pretrain": {"w_ce": 0.0, "w_kl": 0.0, "w_feat": 1.0, "w_emb": 1.0},
    "finetune": {},
}
KIND_DEFAULTS = {
    "textcnn": {"w_feat": 0.0, "w_emb": 0.0},
    "spiking_textcnn": {"w_feat": 0.0, "w_emb": 0.0},
}


def default_settings(stage, kind="spikebert"):
    """{name: value} of the TrainingSettings that a stage of a kind of model has of its own."""
    return KIND_DEFAULTS.get(kind, {}) | STAGE_DEFAULTS[stage]


def student_config(cache, *, kind="spikebert", where="the model's settings", **choices):
    """A config whose vocabulary, classes, widths and longest sentence fit the cache.

    kind: of `models/kinds.py`; the config is of its dataclass. choices: fields of it.
    where: names the origin of the choices in errors. Raises InputError as `dataclass_from` does.
    """
    cls = KINDS[kind].config
    vocab_size, teacher_width = cache.word_embeddings.shape
    bare = not choices.get("projection", True)
    width = choices.get("width", getattr(cls, "width", None))
    labels = 0 if cache.labels is None else int(cache.labels.max()) + 1
    fitted = {
        "vocab_size": vocab_size,
        "classes": max(2, labels, cache.manifest["counts"]["classes"]),
        "embedding_width": width if bare else teacher_width,
        "teacher_width": teacher_width,
    }
    known = {field.name for field in fields(cls)}
    fitted = {name: value for name, value in fitted.items() if name in known}
    longest = {"max_tokens": cache.manifest.get("max_tokens", cls.max_tokens)}
    # The choices are read first, so that a width that is no number is refused as the width.
    return dataclass_from(cls, choices | fitted | (longest | choices), where)


def new_student(cache, config, settings, body=None):
    """Starting parameters: random, but for the word embeddings if settings say so.

    body: parameters that are taken over in place of random ones, but for their words. Those of
    stage 1 are a general teacher's, which do not tell good from bad as a fine-tuned one's do.
    Warns on standard error where its neurons will hardly fire.
    """
    if kind_of(config).spikes and (warning := floor_warning(config.neuron, config.steps)):
        say(warning)
    params = kind_of(config).init(config, np.random.default_rng(settings.seed))
    if settings.embedding != "random":
        _check_embedding_width(cache, config)
        params["embedding.weight"] = starting_rows(cache, settings)
    return params | (body or {}) | {"embedding.weight": params["embedding.weight"]}


def _check_embedding_width(cache, config):
    teacher_width = cache.word_embeddings.shape[1]
    if config.embedding_width != teacher_width:
        raise InputError(
            f"the teacher's word embeddings are {teacher_width} wide, the student's "
            f"{config.embedding_width}: keep the projection, set --width {teacher_width}, or set "
            "--embedding random --w-emb 0"
        )


def check_fit(cache, stage, corpus, dev, config, settings):
    """Raises InputError where a loss asks for what cache or student do not have."""
    where = cache.tokenizer.parent
    for name in ("w_ce", "w_kl") if stage == "pretrain" else ():
        if getattr(settings, name):
            raise InputError(
                f"{name} = {getattr(settings, name)}: stage 1 sees no labels and no logits; leave "
                "it out, or use `spikebert finetune`"
            )
    if dev is not None and dev.labels is None:
        raise InputError(
            f"{where}: its dev split has sentences without a label, so that no epoch could be "
            "chosen by it; make the cache from a folder whose dev file is labelled"
        )
    if settings.w_ce and corpus.labels is None:
        raise InputError(
            f"{where}: its train split has sentences without a label; set --w-ce 0, or make the "
            "cache from a folder whose train file is labelled"
        )
    if settings.w_kl and corpus.logits is None:
        raise InputError(f"{where}: holds no teacher logits; set --w-kl 0")
    if settings.w_feat:
        if not (kind := kind_of(config)).taps:
            raise InputError(
                f"w_feat = {settings.w_feat}: a {kind.name} has no blocks to compare with the "
                "teacher's hidden states; set --w-feat 0 (and leave stage 1 to a spikebert)"
            )
        if not has_hidden(corpus):
            raise InputError(
                f"{where}: has hidden states for only part of these sentences; set --w-feat 0, "
                "or make the cache without --hidden-sentences"
            )
        if (last := max(settings.feature_targets(corpus.hidden))) >= config.blocks:
            raise InputError(
                f"{where}: maps a teacher's layer to block {last}, but the student has "
                f"{config.blocks} blocks; set --blocks {last + 1}, or cache fewer --layers"
            )
    if settings.w_rate and not (kind := kind_of(config)).spikes:
        raise InputError(
            f"w_rate = {settings.w_rate}: a {kind.name} has no spikes to penalise; set --w-rate 0"
        )
    if settings.w_emb:
        _check_embedding_width(cache, config)
    longest = max(int(np.diff(part.offsets).max()) for part in (corpus, dev) if part is not None)
    if getattr(config, "positions", False) and longest > config.max_tokens:
        raise InputError(
            f"{where}: has a sentence of {longest} tokens, but the student's max_tokens is "
            f"{config.max_tokens}; set it to {longest} in [model], or train a student anew"
        )


def make_run_folder(out):
    """Create a folder for runs. Raises InputError where it holds something or cannot be made."""
    out = Path(out)
    with _writing(out):
        if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: exists already; name another --out, or delete it first")
        out.mkdir(parents=True, exist_ok=True)
    return out


@contextmanager
def _writing(out):
    """An OSError of writing becomes an InputError that names `out`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); name another --out"
        ) from error


@contextmanager
def new_run_folder(out):
    """A hidden folder beside `out`, which takes its name when all went well, else is deleted."""
    made = [path for path in (out, *out.parents) if not os.path.lexists(path)]
    make_run_folder(out)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.training")
    try:
        with _writing(out):
            temporary.mkdir()
        yield temporary
        with _writing(out):
            out.rmdir()
            temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            for path in made:
                path.rmdir()
        raise


def run_tables(stage, cache, settings, *, name, more=(), init="", new_words=False):
    """The tables `training` and `data` of config.toml: what repeats a stage.

    name: of the cache. more: the names of further ones. init: the run that the weights are of,
    but for the words where they are new (see `new_student`).
    """
    data = {"stage": stage, "cache": str(name), "more": [*map(str, more)], "init": str(init)}
    if new_words:
        data["new_words"] = True
    data["embedding_scale"] = teacher_word_rows(cache)[1]
    if (share := events_up_to()) != EVENTS_UP_TO:
        data["events_up_to"] = share
    return {"training": asdict(settings), "data": data}


def run_stage(
    out,
    stage,
    cache,
    params,
    config,
    settings,
    *,
    more=(),
    tables,
    on_epoch=None,
    quiet=False,
    report=True,
):
    """Train one stage and write its run folder, whole or not at all; then its report.

    stage: "pretrain" or "finetune". more: as in `stage_corpora`. params: the start, changed in
    place. tables: what more stands in config.toml. on_epoch: called with each epoch's record.
    report: write report.md too, and its figures.
    Returns the parameters kept and the records. Raises InputError where the stage does not fit the
    cache, or `out` cannot be written.
    """
    out = Path(out)
    corpus, dev = stage_corpora(cache, stage, more)
    check_fit(cache, stage, corpus, dev, config, settings)
    word_rows = starting_rows(cache, settings) if settings.w_emb else None
    records, checkups = [], Checkups() if kind_of(config).spikes else None
    with new_run_folder(out.resolve()) as folder:
        with _writing(out):
            write_config(folder, config_tables(config) | tables)
            (folder / "metrics.jsonl").touch()

        def log(record):
            records.append(record)
            with _writing(out), open(folder / "metrics.jsonl", "a", encoding="utf-8") as metrics:
                metrics.write(json.dumps(record) + "\n")
            if on_epoch:
                on_epoch(record)

        params = train(
            params,
            config,
            settings,
            corpus,
            dev=dev,
            word_rows=word_rows,
            log=log,
            checkups=checkups,
            quiet=quiet,
        )
        with _writing(out):
            save_weights(folder, params, cache.tokenizer)
            if checkups:
                health = "".join(json.dumps(record) + "\n" for record in checkups.records)
                (folder / "health.jsonl").write_text(health, "utf-8")
    if report:  # of a run that is whole: not even Ctrl-C here costs a trained student
        write_report(out, stage, cache, dev, params, config, settings, tables, records, checkups)
    return params, records
