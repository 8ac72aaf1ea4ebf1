"""A tiny corpus, tokenizer and teacher cache, made of seeded random numbers."""

import json

import numpy as np

from spikebert_np.data.teacher_cache import load_cache
from spikebert_np.data.teacher_cache_writer import write_cache
from spikebert_np.data.tokenizer import encode_texts, load_tokenizer
from spikebert_np.models.spikebert import SpikeBertConfig, init_spikebert
from spikebert_np.training.checkpoint import config_tables, save_weights, write_config

WORDS = ["the", "film", "plot", "is", "not", "but", "good", "bad", "warm", "cold"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TEACHER_WIDTH = 6


def write_tokenizer(path):
    """A WordPiece tokenizer.json whose vocabulary is SPECIAL + WORDS."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocab = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    tokenizer.save(str(path))


def texts(rng, count):
    """Sentences of 3 to 8 words; the label says whether "good" stands in them."""
    sentences = [" ".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(count)]
    return sentences, np.array([int("good" in s.split()) for s in sentences])


def make_cache(
    folder,
    *,
    train=40,
    dev=12,
    layers=(1, 2),
    hidden_sentences=None,
    seed=7,
    labelled=True,
    word_embeddings=None,
):
    """Write a cache of a made-up teacher into folder / "cache" and load it."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / "tokenizer.json")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    sentences, labels = texts(rng, train + dev)
    encoded = encode_texts(tokenizer, sentences)
    tokens = len(encoded.ids)
    hidden = {layer: rng.standard_normal((tokens, TEACHER_WIDTH)) for layer in layers}
    teacher_logits = np.stack([-labels, labels], axis=1) + 0.1 * rng.standard_normal(
        (len(labels), 2)
    )
    words = 0.05 * rng.standard_normal((len(SPECIAL + WORDS), TEACHER_WIDTH))
    directory = write_cache(
        folder / "cache",
        ids=encoded.ids,
        offsets=encoded.offsets,
        splits={"train": (0, train), "dev": (train, train + dev)},
        labels=labels if labelled else None,
        tokenizer=(folder / "tokenizer.json").read_text("utf-8"),
        word_embeddings=words if word_embeddings is None else word_embeddings,
        layers=list(layers),
        read_shard=lambda first, last: (
            {
                layer: rows[encoded.offsets[first] : encoded.offsets[last]]
                for layer, rows in hidden.items()
            },
            {},
        ),
        hidden_sentences=hidden_sentences,
        logits=lambda values: (teacher_logits, "made up"),
        about={"teacher": {"id": "made up"}},
    )
    return load_cache(directory)


def make_run(folder, *, seed=3, **settings):
    """The run folder of an untrained student of these words, folder / "run"."""
    write_tokenizer(folder / "tokenizer.json")
    vocab = len(SPECIAL + WORDS)
    config = SpikeBertConfig(
        vocab_size=vocab, **{"width": 8, "heads": 2, "embedding_width": 6, **settings}
    )
    (folder / "run").mkdir()
    write_config(folder / "run", config_tables(config))
    params = init_spikebert(config, np.random.default_rng(seed))
    save_weights(folder / "run", params, folder / "tokenizer.json")
    return folder / "run"


def last_json(text):
    """The last line of a command's output, as JSON."""
    return json.loads(text.strip().splitlines()[-1])
