"""One stage of training, from a teacher cache to a run folder.

Letters: V vocabulary, D_emb embedding width, N packed tokens.
"""

import json
from pathlib import Path

import numpy as np

from ..data.corpus import Corpus, slice_corpus
from ..errors import InputError
from ..models.spikebert import SpikeBertConfig, init_spikebert
from .checkpoint import save_run
from .loop import train
from .report import write_report


def cached_corpus(cache):
    """All sentences of a TeacherCache. Hidden states may cover only the first of them."""
    hidden = {cache.student_blocks[layer]: states for layer, states in cache.hidden.items()}
    return Corpus(cache.ids, cache.offsets, cache.labels, cache.logits, hidden)


def split_corpus(cache, name):
    """The sentences of one split. Raises InputError where the cache has no such split."""
    if name not in cache.splits:
        raise InputError(
            f"{cache.tokenizer.parent}: the cache has no {name} split; "
            "make it from a folder with train and dev files (`spikebert data split` makes one)"
        )
    return slice_corpus(cached_corpus(cache), *cache.splits[name])


def stage1_corpus(cache):
    """The sentences that have the teacher's hidden states; labels and logits play no part."""
    corpus = slice_corpus(cached_corpus(cache), 0, cache.manifest["counts"]["hidden_sentences"])
    return corpus._replace(labels=None, logits=None)


def teacher_word_rows(cache):
    """The teacher's word embeddings (V, D_emb) scaled to a standard deviation of 1, and the scale.

    MiniLM's rows have a standard deviation of 0.056: unscaled, the encoder's neurons would see a
    current far below their threshold wherever no layer norm stands between.
    """
    rows = cache.word_embeddings.astype(np.float32)
    scale = float(1 / rows.std())
    return rows * np.float32(scale), scale


def student_config(cache, **choices):
    """A SpikeBertConfig whose vocabulary, classes and widths fit the cache."""
    vocab_size, teacher_width = cache.word_embeddings.shape
    classes = max(2, cache.manifest["counts"]["classes"])
    projection = choices.get("projection", True)
    width = choices.get("width", SpikeBertConfig.width)
    try:
        return SpikeBertConfig(
            vocab_size=vocab_size,
            classes=classes,
            embedding_width=teacher_width if projection else width,
            teacher_width=teacher_width,
            **choices,
        )
    except ValueError as error:
        raise InputError(f"the model's settings: {error}") from None


def new_student(cache, config, settings):
    """Starting parameters: random, but for the teacher's word embeddings if settings say so."""
    params = init_spikebert(config, np.random.default_rng(settings.seed))
    if settings.embedding == "teacher":
        rows, _ = teacher_word_rows(cache)
        if rows.shape != params["embedding.weight"].shape:
            raise InputError(
                f"the teacher's word embeddings are {rows.shape[1]} wide, the student's "
                f"{config.embedding_width}: keep the projection, or set --embedding random"
            )
        params["embedding.weight"] = rows
    return params


def make_run_folder(out):
    """Create the folder of a run. Raises InputError where it holds something already."""
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; name another --out, or delete it first")
    out.mkdir(parents=True, exist_ok=True)
    return out


def check_hidden(cache, corpus, config, settings):
    """Raises InputError where a loss asks for what the cache does not hold."""
    where = cache.tokenizer.parent
    if settings.w_kl and corpus.logits is None:
        raise InputError(f"{where}: holds no teacher logits; set --w-kl 0")
    if settings.w_feat:
        tokens = int(corpus.offsets[-1])
        if not corpus.hidden or any(len(rows) < tokens for rows in corpus.hidden.values()):
            raise InputError(
                f"{where}: has hidden states for only part of these sentences; set --w-feat 0, "
                "or make the cache without --hidden-sentences"
            )
        if (last := max(corpus.hidden)) >= config.blocks:
            raise InputError(
                f"{where}: maps a teacher's layer to block {last}, but the student has "
                f"{config.blocks} blocks; set --blocks {last + 1}, or cache fewer --layers"
            )


def run_stage(out, stage, cache, params, config, settings, *, tables, on_epoch=None, quiet=False):
    """Train one stage and write its run folder.

    stage: "pretrain" or "finetune". params: the start, changed in place. tables: what more stands
    in config.toml. on_epoch: called with each epoch's record. Returns the parameters kept and the
    records.
    """
    out = make_run_folder(out)
    dev = None
    if stage == "pretrain":
        corpus = stage1_corpus(cache)
    else:
        corpus, dev = split_corpus(cache, "train"), split_corpus(cache, "dev")
    check_hidden(cache, corpus, config, settings)
    word_rows = teacher_word_rows(cache)[0] if settings.w_emb else None
    records = []
    with open(out / "metrics.jsonl", "w", encoding="utf-8") as metrics:

        def log(record):
            records.append(record)
            metrics.write(json.dumps(record) + "\n")
            metrics.flush()
            if on_epoch:
                on_epoch(record)

        params = train(
            params, config, settings, corpus, dev=dev, word_rows=word_rows, log=log, quiet=quiet
        )
    save_run(out, params, config, tables, cache.tokenizer)
    write_report(out, stage, config, settings, tables, records)
    return params, records
