"""`spikebert teacher train`: a BERT from nothing but text."""

import hashlib
import shutil
from argparse import Namespace
from dataclasses import asdict

import numpy as np

from ..errors import InputError
from ..files import refuse_taken
from .teacher_run import RECORD, open_folder, train_into

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
    _pretrain(args, args.out.with_name(f"{args.out.name}-pretrained"), json_line=False)
    flags = dict.fromkeys(TEACHER_HELP) | {"seed": args.seed, "dropout": args.dropout}
    shared = {name: getattr(args, name) for name in ("data", "out", "max_tokens", "json", "quiet")}
    teacher = args.out.with_name(f"{args.out.name}-pretrained")
    run_finetune(Namespace(teacher=str(teacher), **flags, **shared))


def _pretrain(args, out, *, json_line):
    """Pre-train a BERT into `out`, unless this very run has ended there before."""
    from ..data.tokenizer import encode_texts, load_tokenizer
    from ..data.vocabulary import train_tokenizer
    from ..data.work_folder import read_record
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

    settings = dataclass_from(PretrainingSettings, chosen(args, PRETRAINING_HELP, {}), "flags")
    _check_shape(args)
    sentences, dev_sentences = _read_sentences(args.text, args.data, settings.seed)
    shape = {name: getattr(args, name) for name in ("layers", "hidden", "heads", "vocab_size")}
    digest = hashlib.sha256("\n".join([*sentences, "", *dev_sentences]).encode()).hexdigest()
    about = asdict(settings) | shape | {"max_tokens": args.max_tokens, "text_sha256": digest}
    if (out / RECORD).is_file():
        read_record(out / RECORD, about)
        print(f"{out}: is there already, from the same command", flush=True)
        return

    def prepare(folder):
        train_tokenizer(sentences, args.vocab_size).save(str(folder / "tokenizer.json"))

    with open_folder(out, about, prepare) as (folder, count), workers(count) as run:
        tokenizer = load_tokenizer(folder)
        config = _config(args, settings, tokenizer.get_vocab_size())
        write_bert_config(folder / "config.json", config)
        truncated, parts = 0, []
        for part in (sentences, dev_sentences):
            encoded = encode_texts(tokenizer, part, max_tokens=args.max_tokens)
            parts.append(_with_words(encoded.ids, encoded.offsets))
            truncated += encoded.truncated
        corpus, dev = parts
        if min(len(corpus.ids), len(dev.ids)) == 0:
            shutil.rmtree(folder)
            raise InputError(
                f"{args.text[0]}: no word can be masked with {tokenizer.get_vocab_size()} pieces; "
                "give more --text, or a larger --vocab-size"
            )
        params = init_bert(config, np.random.default_rng(settings.seed))
        memory = training_bytes(params, config, settings, count, corpus.offsets)
        print(
            f"{len(sentences):,} sentences, {len(corpus.ids):,} tokens of "
            f"{tokenizer.get_vocab_size():,} pieces; {truncated:,} cut to {args.max_tokens}; "
            f"{len(dev_sentences):,} more kept aside as dev\n"
            f"memory: about {memory / 1e6:,.0f} MB",
            flush=True,
        )
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


def _check_shape(args):
    from ..data.vocabulary import SPECIALS

    least = {"vocab_size": len(SPECIALS) + 1, "layers": 1, "hidden": 1, "heads": 1, "max_tokens": 3}
    for name, value in least.items():
        if getattr(args, name) < value:
            raise InputError(f"--{name.replace('_', '-')} must be at least {value}")
    if args.hidden % args.heads:
        raise InputError(f"--hidden {args.hidden} is no multiple of --heads {args.heads}")


def _config(args, settings, vocab_size):
    from ..models.bert import BertConfig

    return BertConfig(
        vocab_size=vocab_size,
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


def _read_sentences(paths, data, seed):
    """(sentences to learn from, sentences kept aside): of the train splits of all paths.

    data: a labelled corpus whose dev and test texts are left out, or None.
    """
    from ..data.readers import read_corpus
    from ..data.sentences import split_sentences
    from ..data.split import text_key

    held_out = set()
    for name, split in (read_corpus(data) if data else {}).items():
        held_out |= set() if name == "train" else {text_key(text) for text in split.texts}
    sentences, left_out = [], 0
    for path in paths:
        corpus = read_corpus(path)
        if "train" not in corpus:
            raise InputError(f"{path}: has no train split; nobody learns from dev or test")
        for text in corpus["train"].texts:
            if text_key(text) in held_out:
                left_out += 1
            else:
                sentences += split_sentences(text)
    if left_out:
        print(f"{left_out:,} texts left out: they are dev or test texts of {data}", flush=True)
    if len(sentences) < 2:
        raise InputError(f"{paths[0]}: holds fewer than two sentences; give more --text")
    order = np.random.default_rng(seed).permutation(len(sentences))
    aside = min(_DEV_SENTENCES, max(1, len(sentences) // _DEV_SHARE))
    return [[sentences[i] for i in np.sort(part)] for part in (order[aside:], order[:aside])]


def _with_words(ids, offsets):
    """The Corpus of the sentences that have more than special tokens: a word can be masked."""
    from ..data.batches import gather_offsets, gather_sentences
    from ..data.corpus import Corpus
    from ..data.vocabulary import SPECIALS

    words = np.add.reduceat(ids >= len(SPECIALS), offsets[:-1])
    index = np.flatnonzero(words)
    return Corpus(gather_sentences(ids, offsets, index), gather_offsets(offsets, index))
