"""`spikebert teacher train`: a BERT from nothing but text."""

import hashlib
import shutil
from dataclasses import asdict, fields, replace

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
    pretrain(args.text, pretrained, settings, shape, data=args.data, **about)
    task = {"seed": settings.seed, "dropout": settings.dropout}
    finetune(pretrained, args.data, args.out, TeacherSettings(**task), json_line=args.json, **about)


def pretrain(text, out, settings, shape, *, max_tokens, data=None, json_line=False, quiet=False):
    """Pre-train a BERT into `out`, unless this very run has ended there before.

    text: paths of corpora, whose train splits are read. data: as in `training_sentences`. settings:
    PretrainingSettings, shape: TeacherShape. Raises InputError where something does not fit.
    """
    from ..data.tokenizer import encode_texts, load_tokenizer
    from ..data.vocabulary import train_tokenizer
    from ..data.work_folder import read_record
    from ..models.bert_checkpoint import write_bert_config
    from ..training.pretrain_teacher import (
        init_bert,
        masked_word_accuracy,
        masked_word_gradients,
    )
    from ..training.teacher_loop import training_bytes
    from ..training.workers import workers

    if max_tokens < 3:
        raise InputError("--max-tokens must be at least 3: [CLS], a word, [SEP]")
    everything, digest = training_sentences(text, data)
    about = asdict(settings) | asdict(shape) | {"max_tokens": max_tokens, "text_sha256": digest}
    if (out / RECORD).is_file():
        read_record(out / RECORD, about)
        print(f"{out}: is there already, from the same command", flush=True)
        return
    sentences, dev_sentences = _keep_aside(everything, settings.seed)

    def prepare(folder):
        train_tokenizer(sentences, shape.vocab_size).save(str(folder / "tokenizer.json"))

    with open_folder(out, about, prepare) as (folder, count), workers(count) as run:
        tokenizer = load_tokenizer(folder)
        pieces = tokenizer.get_vocab_size()
        config = replace(bert_config(shape, settings, max_tokens), vocab_size=pieces)
        write_bert_config(folder / "config.json", config)
        truncated, parts = 0, []
        for part in (sentences, dev_sentences):
            encoded = encode_texts(tokenizer, part, max_tokens=max_tokens, quiet=quiet)
            parts.append(_with_words(encoded.ids, encoded.offsets))
            truncated += encoded.truncated
        corpus, dev = parts
        if min(len(corpus.ids), len(dev.ids)) == 0:
            shutil.rmtree(folder)
            raise InputError(
                f"{text[0]}: no word can be masked with {pieces} pieces; "
                "give more --text, or a larger --vocab-size"
            )
        params = init_bert(config, np.random.default_rng(settings.seed))
        memory = training_bytes(params, config, settings, count, np.diff(corpus.offsets).max())
        print(
            f"{len(sentences):,} sentences, {len(corpus.ids):,} tokens of {pieces:,} pieces; "
            f"{truncated:,} cut to {max_tokens}; {len(dev_sentences):,} more kept aside as dev\n"
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
            quiet=quiet,
        )


def bert_config(shape, settings, max_tokens):
    """The BertConfig of a TeacherShape, whose vocabulary may turn out smaller."""
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


def training_sentences(paths, data=None):
    """(sentences, their sha256) of the train splits of all paths; labels play no part.

    data: a labelled corpus whose dev and test texts are left out, or None. Raises InputError where
    a path has no train split, or all of them hold fewer than two sentences.
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
        raise InputError(
            f"{paths[0]}: holds fewer than two sentences with a letter or digit; give more --text"
        )
    return sentences, hashlib.sha256("\n".join(sentences).encode()).hexdigest()


def _keep_aside(sentences, seed):
    """(sentences to learn from, sentences kept aside)."""
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
