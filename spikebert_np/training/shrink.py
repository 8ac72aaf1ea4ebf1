"""A trained student made small: without its taps, and with the pieces of words that occur most.

Letters: V vocabulary.
"""

import json
from dataclasses import replace

import numpy as np

from ..data.tokenizer import encode_texts, reduce_vocabulary
from ..data.vocabulary import SPECIALS
from .shards import quantise

# What a run folder holds beside its weights and the pieces: config, report, the tokenizer's rules.
_FRAME_BYTES = 16 << 10


def without_taps(params, config):
    """The same SpikeBERT without its distillation taps, which only training reads.

    Returns params and config.
    """
    params = {key: value for key, value in params.items() if not key.startswith("taps.")}
    return params, replace(config, teacher_width=0)


def rank_pieces(tokenizer, texts, *, max_tokens):
    """[(piece, id), ...] of the whole vocabulary, the most useful first, and how many must stay.

    Those are the special tokens, and the letters `x` and `##x`: a word whose piece is gone falls
    apart into smaller ones, down to letters. Behind them the pieces stand by how often the texts
    have them; of two as rare, the lower id first, as BERT's vocabulary goes from frequent to rare;
    last its places [unused0], ..., which no text can reach.
    """
    encoded = encode_texts(tokenizer, texts, max_tokens=max_tokens)
    vocabulary = tokenizer.get_vocab()
    count = np.bincount(encoded.ids, minlength=max(vocabulary.values()) + 1)  # (V,)

    def must_stay(piece):
        return piece in SPECIALS or len(piece.removeprefix("##")) == 1

    def place(item):
        piece, number = item
        return not must_stay(piece), piece.startswith("[unused"), -count[number], number

    return sorted(vocabulary.items(), key=place), sum(map(must_stay, vocabulary))


def pieces_that_fit(ranked, params, max_bytes):
    """How many of the ranked pieces a run folder of max_bytes has room for."""
    from safetensors.numpy import save

    rows = params["embedding.weight"]  # (V, D_emb)
    rest, width = save(quantise(params | {"embedding.weight": rows[:0]})), rows.shape[1]
    # Of a piece: a row of int8, its float32 scale, and `"piece":id,` in tokenizer.json.
    cost = [
        width + 4 + len(f"{json.dumps(piece, ensure_ascii=False)}:{number},".encode())
        for piece, number in ranked
    ]
    room = max_bytes - len(rest) - _FRAME_BYTES
    return int(np.searchsorted(np.cumsum(cost), room, side="right"))


def prune(params, config, tokenizer, ids):
    """params, config and tokenizer with the pieces `ids` of the vocabulary alone."""
    reduced, kept = reduce_vocabulary(tokenizer, ids)
    params = params | {"embedding.weight": params["embedding.weight"][kept]}
    return params, replace(config, vocab_size=len(kept)), reduced
