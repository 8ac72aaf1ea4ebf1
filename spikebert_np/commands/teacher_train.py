"""`spikebert teacher train`: a BERT from nothing but text."""

from argparse import Namespace
from dataclasses import asdict

import numpy as np

from ..errors import InputError
from .teacher_run import open_folder, refuse_taken, train_into

PRETRAINING_HELP = {
    "epochs": "passes over the text",
    "batch_tokens": "tokens a batch at most; memory grows with it",
    "learning_rate": "AdamW's peak rate",
    "warmup": "share of the steps that warm up",
    "weight_decay": "AdamW's, on weight matrices only",
    "clip_norm": "largest gradient norm",
    "dropout": "of embeddings, attention maps and what each block adds",
    "patience": "stop after this many epochs without a better dev accuracy",
    "seed": "seed of the weights, the batches, the masks and dropout",
}
# One sentence in fifty is kept aside, at most this many: guessing their words is the dev accuracy.
_DEV_SHARE, _DEV_SENTENCES = 50, 2000


def run_train(args):
    """Pre-train; and fine-tune what came out, where --data asks for that."""
    from .teacher_finetune import TEACHER_HELP, read_labelled, run_finetune

    refuse_taken(args.out)
    if not args.data:
        _pretrain(args, args.out, json_line=args.json)
        return
    read_labelled(args.data)  # before hours of work
    pretrained = args.out.with_name(f"{args.out.name}-pretrained")
    if not pretrained.is_dir():
        _pretrain(args, pretrained, json_line=False)
    flags = dict.fromkeys(TEACHER_HELP) | {"seed": args.seed, "dropout": args.dropout}
    shared = {name: getattr(args, name) for name in ("data", "out", "max_tokens", "json", "quiet")}
    run_finetune(Namespace(teacher=str(pretrained), **flags, **shared))


def _pretrain(args, out, *, json_line):
    from ..data.corpus import Corpus
    from ..data.tokenizer import encode_texts, load_tokenizer
    from ..data.vocabulary import train_tokenizer
    from ..models.bert_checkpoint import write_bert_config
    from ..training.checkpoint import dataclass_from
    from ..training.pretrain_teacher import (
        PretrainingSettings,
        init_bert,
        masked_word_accuracy,
        masked_word_gradients,
    )
    from ..training.teacher_loop import training_bytes
    from ..training.workers import workers
    from .options import chosen

    refuse_taken(args.out)
    settings = dataclass_from(PretrainingSettings, chosen(args, PRETRAINING_HELP, {}), "flags")
    config = _config(args, settings)
    sentences, digest = _read_sentences(args.text)
    shape = {name: getattr(args, name) for name in ("layers", "hidden", "heads", "vocab_size")}
    about = asdict(settings) | shape | {"max_tokens": args.max_tokens}

    def prepare(folder):
        train_tokenizer(sentences, args.vocab_size).save(str(folder / "tokenizer.json"))
        write_bert_config(folder / "config.json", config)

    folder, count = open_folder(out, about | {"text_sha256": digest}, prepare)
    tokenizer = load_tokenizer(folder)
    ids, offsets, truncated = encode_texts(tokenizer, sentences, max_tokens=args.max_tokens)
    params = init_bert(config, np.random.default_rng(settings.seed))
    order = np.random.default_rng(settings.seed).permutation(len(sentences))
    held = min(_DEV_SENTENCES, max(1, len(sentences) // _DEV_SHARE))
    corpus, dev = (
        Corpus(*_gather(ids, offsets, np.sort(index))) for index in (order[held:], order[:held])
    )
    print(
        f"{len(sentences):,} sentences, {len(ids):,} tokens of {tokenizer.get_vocab_size():,} "
        f"pieces; {truncated:,} cut to {args.max_tokens}; {held:,} kept aside as dev\n"
        f"memory: about {training_bytes(params, config, settings, count) / 1e6:,.0f} MB",
        flush=True,
    )
    with workers(count) as run:
        train_into(
            out,
            folder,
            params,
            config,
            settings,
            corpus,
            gradients=lambda batch, seed: masked_word_gradients(
                params, config, batch, run, count, seed=seed
            ),
            measure=lambda: masked_word_accuracy(params, config, dev, run, seed=settings.seed),
            run=run,
            json_line=json_line,
            quiet=args.quiet,
        )


def _config(args, settings):
    from ..models.bert import BertConfig

    for name in ("vocab_size", "layers", "hidden", "heads"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1")
    if args.hidden % args.heads:
        raise InputError(f"--hidden {args.hidden} is no multiple of --heads {args.heads}")
    return BertConfig(
        vocab_size=args.vocab_size,
        width=args.hidden,
        depth=args.layers,
        heads=args.heads,
        mlp_width=4 * args.hidden,
        max_positions=args.max_tokens,
        token_types=2,
        norm_eps=1e-12,
        dropout=settings.dropout,
        attention_dropout=settings.dropout,
    )


def _read_sentences(paths):
    """(sentences, sha256) of the train splits of all paths; labels play no part."""
    import hashlib

    from ..data.readers import corpus_digest, read_corpus
    from ..data.sentences import split_sentences

    sentences, digest = [], hashlib.sha256()
    for path in paths:
        corpus = read_corpus(path)
        if "train" not in corpus:
            raise InputError(f"{path}: has no train split; nobody learns from dev or test")
        digest.update(corpus_digest({"train": corpus["train"]}).encode())
        sentences += [s for text in corpus["train"].texts for s in split_sentences(text)]
    if len(sentences) < 2:
        raise InputError(f"{paths[0]}: holds fewer than two sentences; give more --text")
    return sentences, digest.hexdigest()


def _gather(ids, offsets, index):
    from ..data.batches import gather_offsets, gather_sentences

    return gather_sentences(ids, offsets, index), gather_offsets(offsets, index)
