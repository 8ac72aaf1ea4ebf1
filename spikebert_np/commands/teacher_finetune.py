"""`spikebert teacher finetune`: teach a BERT a labelled corpus."""

import json
import os
import shutil
from dataclasses import asdict
from time import perf_counter

from ..errors import InputError

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
    from ..data.corpus import Corpus
    from ..data.pretrained import resolve_teacher
    from ..data.tokenizer import encode_texts
    from ..models.bert_checkpoint import write_bert_tensors
    from ..training.checkpoint import dataclass_from, write_atomically
    from ..training.finetune_teacher import (
        TeacherSettings,
        finetune_teacher,
        new_classifier,
        training_bytes,
    )
    from ..training.workers import worker_count, workers
    from .options import chosen
    from .teacher_cache import check_max_tokens, load_teacher

    started = perf_counter()
    if os.path.lexists(args.out):
        raise InputError(f"{args.out}: exists already; name another --out, or delete it first")
    settings = dataclass_from(TeacherSettings, chosen(args, TEACHER_HELP, {}), "flags")
    source = resolve_teacher(args.teacher)
    config, params, tokenizer = load_teacher(source)
    check_max_tokens(args.max_tokens, config, source)
    corpus, classes = _read_labelled(args.data)
    splits, truncated = {}, 0
    for name, split in corpus.items():
        ids, offsets, cut = encode_texts(tokenizer, split.texts, max_tokens=args.max_tokens)
        splits[name], truncated = Corpus(ids, offsets, split.labels), truncated + cut
    config, params = new_classifier(params, config, classes, settings)
    count = worker_count()
    counts = " and ".join(f"{name} {len(split.texts):,}" for name, split in corpus.items())
    print(
        f"{counts} sentences, {classes} classes; {truncated:,} cut to {args.max_tokens} tokens\n"
        f"memory: about {training_bytes(params, config, settings, count) / 1e6:,.0f} MB",
        flush=True,
    )
    folder = _open_folder(args, settings, source, config, corpus, count)

    def keep_best(params):
        write_atomically(
            folder / "model.safetensors", lambda path: write_bert_tensors(path, params, config)
        )

    def log(records):
        text = "".join(json.dumps(record) + "\n" for record in records)
        write_atomically(folder / "metrics.jsonl", lambda path: path.write_text(text, "utf-8"))
        record = records[-1]
        print(
            f"epoch {record['epoch']}: loss {record['loss']:.4f}  "
            f"train {record['train_accuracy']:.4f}  dev {record['dev_accuracy']:.4f}  "
            f"{record['seconds']:.0f} s, {record['tokens_per_second']:,.0f} tokens/s",
            flush=True,
        )

    with workers(count) as run:
        records = finetune_teacher(
            params,
            config,
            settings,
            splits["train"],
            splits["dev"],
            folder=folder,
            run=run,
            workers=count,
            keep_best=keep_best,
            log=log,
            quiet=args.quiet,
        )
    os.rename(folder, args.out)
    (args.out / "checkpoint.npz").unlink()
    best = max(records, key=lambda record: record["dev_accuracy"])
    print(
        f"{args.out}: written, epoch {best['epoch']} with dev accuracy {best['dev_accuracy']:.4f}"
    )
    if args.json:
        about = {"teacher": str(args.out), "epochs": len(records), "seed": settings.seed}
        print(json.dumps(best | about | {"seconds": perf_counter() - started}))


def _read_labelled(path):
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
    return splits, int(splits["train"].labels.max()) + 1


def _open_folder(args, settings, source, config, corpus, workers):
    """The hidden folder that the run works in: a new one, or that of the same run stopped before.

    Raises InputError where it belongs to another run, or cannot be made.
    """
    from ..data.download import file_digest
    from ..data.readers import corpus_digest
    from ..models.bert_checkpoint import write_bert_config
    from ..training.checkpoint import write_atomically
    from .teacher_cache import public_name

    about = asdict(settings) | {
        "max_tokens": args.max_tokens,
        "teacher": public_name(args.teacher, source),
        "teacher_sha256": file_digest(source / "model.safetensors", "sha256"),
        "corpus_sha256": corpus_digest(corpus),
        "workers": workers,
    }
    folder = args.out.with_name(f".{args.out.name}.partial")
    record = folder / "finetune.json"
    if record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))
        for key, value in about.items():
            if before.get(key) != value:
                raise InputError(
                    f"{folder}: holds a run that was stopped, with {key} {before.get(key)} where "
                    f"this one has {value}; give its settings again to go on, or delete it"
                )
        print(f"{folder}: going on with the run that was stopped", flush=True)
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot be written ({error.strerror}); give another --out"
        ) from error
    write_bert_config(folder / "config.json", config)
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    text = json.dumps(about, indent=2) + "\n"
    write_atomically(record, lambda path: path.write_text(text, "utf-8"))
    return folder
