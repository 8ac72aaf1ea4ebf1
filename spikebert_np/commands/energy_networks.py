"""What `spikebert energy` compares: students and a teacher, each on the same sentences."""

import sys
from typing import NamedTuple

from ..errors import InputError


class Network(NamedTuple):
    label: str
    config: object
    params: dict
    encoded: tuple  # its Encoded sentences
    layers: list  # of LayerCount
    accuracy: float | None  # None where nothing can be scored
    firing_rate: float | None = None  # None for a teacher


def read_student(folder, texts, labels):
    """The Network of a run folder, or of the shipped student. Raises InputError for one without
    spikes."""
    from ..data.shipped import shipped_student
    from ..data.tokenizer import encode_texts, load_tokenizer
    from ..models.kinds import kind_of
    from ..training.checkpoint import load_run
    from ..training.inference import count_corpus

    run = load_run(folder or shipped_student())
    config = run.config
    if not (kind := kind_of(config)).spikes:
        raise InputError(f"{folder}: is a {kind.name}, which has no spikes to count")
    tokenizer = load_tokenizer(run.directory / "tokenizer.json")
    encoded = encode_texts(tokenizer, texts, max_tokens=config.max_tokens)
    counts = count_corpus(run.params, config, encoded.ids, encoded.offsets)
    depth = f", {config.blocks} blocks" if kind.name == "spikebert" else ""
    return Network(
        f"{folder or 'shipped student'} (T = {config.steps}{depth}, {config.width} wide)",
        config,
        run.params,
        encoded,
        counts.layers,
        _accuracy(counts.logits, labels),
        counts.firing_rate,
    )


def read_teacher(name, texts, labels, *, max_tokens):
    """The Network of a teacher; None where none was asked for and MiniLM is not there."""
    from ..analysis.operations import count_bert
    from ..data.pretrained import resolve_teacher
    from ..data.tokenizer import encode_texts
    from ..training.frozen_teacher import read_sentences
    from .teacher_cache import load_teacher, public_name

    try:
        folder = resolve_teacher(name or "minilm")
    except InputError as error:
        if name:
            raise
        print(f"without a teacher: {error}", file=sys.stderr)
        return None
    config, params, tokenizer = load_teacher(folder)
    encoded = encode_texts(tokenizer, texts, max_tokens=min(max_tokens, config.max_positions))
    layers = count_bert(
        encoded.offsets,
        depth=config.depth,
        width=config.width,
        mlp_width=config.mlp_width,
        classes=config.classes,
    )
    accuracy = None
    if config.classes:
        _, values = read_sentences(encoded.ids, encoded.offsets, params, config, [])
        accuracy = _accuracy(values["logits"], labels)
    label = f"{public_name(name or 'minilm', folder)} (BERT, {config.depth} blocks, "
    return Network(f"{label}{config.width} wide)", config, params, encoded, layers, accuracy)


def _accuracy(logits, labels):
    """None without labels, or where they are of other classes."""
    from ..training.inference import accuracy

    if labels is None or labels.max() >= logits.shape[1]:
        return None
    return accuracy(logits, labels)
