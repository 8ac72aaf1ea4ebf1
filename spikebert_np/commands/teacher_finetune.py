"""`spikebert teacher finetune`: teach a BERT a labelled corpus."""

import hashlib
import shutil
from dataclasses import asdict

import numpy as np

from ..errors import InputError
from ..files import refuse_taken
from .teacher_run import open_folder, train_into

TEACHER_HELP = {
    "epochs": "passes over the train split",
    "batch_tokens": "tokens a batch at most; memory grows with it",
    "learning_rate": "AdamW's peak rate at the top of the network",
    "layer_decay": "each layer below learns at this share of the rate above it",
    "warmup": "share of the steps that warm up",
    "weight_decay": "AdamW's, on weight matrices only",
    "clip_norm": "largest gradient norm",
    "dropout": "of embeddings, attention maps, what each block adds, and the pooled sentence",
    "pooling": '"first": the classifier reads [CLS]; "mean": all tokens, which Hugging Face\'s '
    "classifier cannot do",
    "patience": "stop after this many epochs without a better dev accuracy",
    "seed": "seed of the classifier, the batches and dropout",
}


def run_finetune(args):
    """Fine-tune args.teacher into args.out."""
    from ..training.checkpoint import dataclass_from
    from ..training.finetune_teacher import TeacherSettings
    from .options import chosen

    refuse_taken(args.out)
    settings = dataclass_from(TeacherSettings, chosen(args, TEACHER_HELP, {}), "flags")
    finetune(
        args.teacher,
        args.data,
        args.out,
        settings,
        max_tokens=args.max_tokens,
        json_line=args.json,
        quiet=args.quiet,
    )


def finetune(teacher, data, out, settings, *, max_tokens, json_line=False, quiet=False):
    """Fine-tune a teacher (as `resolve_teacher` names it) on the corpus at the path `data`.

    settings: TeacherSettings. Writes the directory `out`, whole or not at all; raises InputError
    where something does not fit.
    """
    from ..data.corpus import Corpus
    from ..data.download import file_digest
    from ..data.pretrained import resolve_teacher
    from ..data.readers import corpus_digest
    from ..data.tokenizer import encode_texts
    from ..models.bert_checkpoint import write_bert_config
    from ..training.finetune_teacher import (
        learning_rate_scales,
        new_classifier,
        teacher_accuracy,
        teacher_gradients,
    )
    from ..training.teacher_loop import training_bytes
    from ..training.workers import workers
    from .teacher_cache import check_max_tokens, load_teacher, public_name

    source = resolve_teacher(teacher)
    config, params, tokenizer = load_teacher(source)
    check_max_tokens(max_tokens, config, source)
    corpus, classes = read_labelled(data)
    splits, truncated = {}, 0
    for name, split in corpus.items():
        encoded = encode_texts(tokenizer, split.texts, max_tokens=max_tokens, quiet=quiet)
        ids, offsets, cut = encoded
        splits[name], truncated = Corpus(ids, offsets, split.labels), truncated + cut
    config, params = new_classifier(params, config, classes, settings)
    counts = " and ".join(f"{name} {len(split.texts):,}" for name, split in corpus.items())
    print(f"{counts} sentences, {classes} classes; {truncated:,} cut to {max_tokens} tokens")

    def prepare(folder):
        write_bert_config(folder / "config.json", config)
        for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)

    about = asdict(settings) | {
        "max_tokens": max_tokens,
        "teacher": public_name(teacher, source),
        "teacher_sha256": file_digest(source / "model.safetensors", "sha256"),
        "tokenizer_sha256": hashlib.sha256(tokenizer.to_str().encode()).hexdigest(),
        "corpus_sha256": corpus_digest(corpus),
    }
    with open_folder(out, about, prepare) as (folder, count), workers(count) as run:
        longest = np.diff(splits["train"].offsets).max()
        memory = training_bytes(params, config, settings, count, longest)
        print(f"memory: about {memory / 1e6:,.0f} MB", flush=True)
        train_into(
            out,
            folder,
            params,
            config,
            settings,
            splits["train"],
            gradients=lambda batch, seed: teacher_gradients(
                params, config, batch, run, count, seed=seed
            ),
            measure=lambda: teacher_accuracy(params, config, splits["dev"], run),
            scales=learning_rate_scales(params, config.depth, settings.layer_decay),
            run=run,
            json_line=json_line,
            quiet=quiet,
        )


def read_labelled(path):
    """({"train": Split, "dev": Split}, C). Raises InputError where one is missing or unlabelled."""
    from ..data.readers import read_corpus

    corpus = read_corpus(path)
    splits = {name: corpus[name] for name in ("train", "dev") if name in corpus}
    for name in ("train", "dev"):
        if name not in splits:
            remedy = (
                f"make one with `spikebert data split {path} --out DIR` and give that DIR"
                if name == "dev"
                else "give the folder with the training file too"
            )
            raise InputError(f"{path}: has no {name} split; {remedy}")
        if splits[name].labels is None:
            raise InputError(f"{path}: its {name} texts have no labels; give a labelled corpus")
    classes = int(splits["train"].labels.max()) + 1
    if classes < 2:
        raise InputError(f"{path}: all its labels are 0; give texts of two classes or more")
    return splits, classes
