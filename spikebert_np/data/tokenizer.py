"""Texts to packed token ids, by the WordPiece tokenizer of a BERT directory.

Letters: N packed tokens, B sentences.
"""

import json
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError

# Texts handed to the tokenizer at once: enough to keep its threads busy, few enough for a bar.
_CHUNK = 1000
_BAR_FROM = 10_000


class Encoded(NamedTuple):
    ids: np.ndarray  # (N,) int32, each sentence [CLS] ... [SEP]
    offsets: np.ndarray  # (B+1,) int64, sentence b is ids[offsets[b]:offsets[b+1]]
    truncated: int  # sentences that lost tokens to max_tokens


def load_tokenizer(path):
    """The tokenizer of a directory, or of one tokenizer.json, as a `tokenizers.Tokenizer`.

    A directory without tokenizer.json is read by its vocab.txt and by what tokenizer_config.json,
    if there is one, says of lower case, accents and Chinese characters (BERT's own defaults else).
    A tokenizer.json may switch on padding and truncation by itself; both are switched off here, as
    packed tokens have no padding and `encode_texts` truncates and counts. Raises InputError for a
    path that holds no tokenizer, or one that cannot be read.
    """
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    path = Path(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    vocabulary = path / "vocab.txt"
    try:
        if file.is_file():
            tokenizer = Tokenizer.from_file(str(file))
        elif vocabulary.is_file():
            tokenizer = BertWordPieceTokenizer(str(vocabulary), **_wordpiece_settings(path))
            tokenizer = Tokenizer.from_str(tokenizer.to_str())
        elif not path.is_dir():
            raise InputError(f"{path}: no tokenizer there; copy the folder anew, all of it")
        else:
            raise InputError(
                f"{path}: no tokenizer; give a directory that holds tokenizer.json or vocab.txt"
            )
    except InputError:
        raise
    except Exception as error:  # the library raises bare Exception for a file it cannot read
        raise InputError(
            f"{path}: its tokenizer cannot be read ({error}); copy or fetch the folder anew"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _wordpiece_settings(directory):
    file = directory / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {
        "lowercase": config.get("do_lower_case", True),
        "strip_accents": config.get("strip_accents"),
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
    }


def reduce_vocabulary(tokenizer, ids):
    """A BERT tokenizer that knows the special tokens and the pieces in `ids` (N,) alone.

    Texts whose ids are `ids` are cut into the same pieces by both: WordPiece takes the longest
    piece that it knows, and the longest of all is still there. Any other word is [UNK].
    Returns the tokenizer and the old ids (V',) of its pieces: new id i was old id kept[i].
    """
    from tokenizers import Tokenizer, processors

    spec = json.loads(tokenizer.to_str())
    special = [token["id"] for token in spec["added_tokens"]]
    kept = np.union1d(ids, special)  # (V',)
    new_id = {old: new for new, old in enumerate(kept.tolist())}
    vocabulary = spec["model"]["vocab"]
    spec["model"]["vocab"] = {
        piece: new_id[old] for piece, old in vocabulary.items() if old in new_id
    }
    for token in spec["added_tokens"]:
        token["id"] = new_id[token["id"]]
    reduced = Tokenizer.from_str(json.dumps(spec | {"post_processor": None}))
    ends = [(token, reduced.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    reduced.post_processor = processors.BertProcessing(*ends)
    return reduced, kept


def encode_texts(tokenizer, texts, *, max_tokens=128, quiet=False):
    """Encode B texts as packed tokens.

    A sentence longer than `max_tokens`, [CLS] and [SEP] included, keeps its first max_tokens - 1
    tokens and its [SEP]. A text without a word is [CLS] [SEP]. quiet: no progress bar, which else
    comes for many texts. Raises InputError for max_tokens below 3, which leaves no room for a word.
    """
    from tqdm import tqdm

    if max_tokens < 3:
        raise InputError(f"max_tokens is {max_tokens}; [CLS], one word and [SEP] need at least 3")
    pieces, lengths, truncated = [np.empty(0, np.int32)], [], 0
    hidden = quiet or len(texts) < _BAR_FROM
    with tqdm(total=len(texts), desc="tokenize", unit=" texts", disable=hidden) as bar:
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            sentences = [encoding.ids for encoding in tokenizer.encode_batch_fast(chunk)]
            for b, ids in enumerate(sentences):
                if len(ids) > max_tokens:
                    sentences[b] = [*ids[: max_tokens - 1], ids[-1]]
                    truncated += 1
            lengths += map(len, sentences)
            pieces.append(np.fromiter(chain.from_iterable(sentences), np.int32))
            bar.update(len(chunk))
    offsets = np.zeros(len(texts) + 1, np.int64)  # (B+1,)
    np.cumsum(lengths, out=offsets[1:])
    return Encoded(np.concatenate(pieces), offsets, truncated)  # ids (N,)
