"""`spikebert teacher train`: a BERT from nothing but text."""

from dataclasses import asdict, fields

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
    from ..training.checkpoint import dataclass_from
    from ..training.finetune_teacher import TeacherSettings
    from ..training.pretrain_teacher import PretrainingSettings, TeacherShape
    from .options import chosen
    from .teacher_finetune import finetune, read_labelled

    refuse_taken(args.out)
    settings = dataclass_from(PretrainingSettings, chosen(args, PRETRAINING_HELP, {}), "flags")
    shape = {field.name: getattr(args, field.name) for field in fields(TeacherShape)}
    shape = dataclass_from(TeacherShape, shape, "flags")
    about = {"max_tokens": args.max_tokens, "quiet": args.quiet}
    if not args.data:
        pretrain(args.text, args.out, settings, shape, json_line=args.json, **about)
        return
    read_labelled(args.data)  # before hours of work
    pretrained = args.out.with_name(f"{args.out.name}-pretrained")
    if not pretrained.is_dir():
        pretrain(args.text, pretrained, settings, shape, **about)
    task = {"seed": settings.seed, "dropout": settings.dropout}
    finetune(pretrained, args.data, args.out, TeacherSettings(**task), json_line=args.json, **about)


def pretrain(text, out, settings, shape, *, max_tokens, json_line=False, quiet=False):
    """Pre-train a BERT on the train splits of the corpora at the paths `text`.

    settings: PretrainingSettings, shape: TeacherShape. Writes the directory `out`, whole or not at
    all; raises InputError where something does not fit.
    """
    from ..data.corpus import Corpus
    from ..data.tokenizer import encode_texts, load_tokenizer
    from ..data.vocabulary import train_tokenizer
    from ..models.bert_checkpoint import write_bert_config
    from ..training.pretrain_teacher import (
        init_bert,
        masked_word_accuracy,
        masked_word_gradients,
    )
    from ..training.teacher_loop import training_bytes
    from ..training.workers import workers

    config = bert_config(shape, settings, max_tokens)
    sentences, digest = training_sentences(text)
    about = asdict(settings) | asdict(shape) | {"max_tokens": max_tokens}

    def prepare(folder):
        train_tokenizer(sentences, shape.vocab_size).save(str(folder / "tokenizer.json"))
        write_bert_config(folder / "config.json", config)

    folder, count = open_folder(out, about | {"text_sha256": digest}, prepare)
    tokenizer = load_tokenizer(folder)
    ids, offsets, truncated = encode_texts(tokenizer, sentences, max_tokens=max_tokens)
    params = init_bert(config, np.random.default_rng(settings.seed))
    order = np.random.default_rng(settings.seed).permutation(len(sentences))
    held = min(_DEV_SENTENCES, max(1, len(sentences) // _DEV_SHARE))
    corpus, dev = (
        Corpus(*_gather(ids, offsets, np.sort(index))) for index in (order[held:], order[:held])
    )
    print(
        f"{len(sentences):,} sentences, {len(ids):,} tokens of {tokenizer.get_vocab_size():,} "
        f"pieces; {truncated:,} cut to {max_tokens}; {held:,} kept aside as dev\n"
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
            quiet=quiet,
        )


def bert_config(shape, settings, max_tokens):
    """The BertConfig of a TeacherShape."""
    from ..models.bert import BertConfig

    return BertConfig(
        vocab_size=shape.vocab_size,
        width=shape.hidden,
        depth=shape.layers,
        heads=shape.heads,
        mlp_width=4 * shape.hidden,
        max_positions=max_tokens,
        token_types=2,
        norm_eps=1e-12,
        dropout=settings.dropout,
        attention_dropout=settings.dropout,
    )


def training_sentences(paths):
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
