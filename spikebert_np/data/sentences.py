"""Texts to sentences, for stage 1: reviews run to hundreds of words, a student reads sentences."""

import re

from ..errors import InputError
from .readers import Split

# A sentence ends behind . ! ? (and a quote or bracket that closes there) before white space and
# what can begin a sentence, which a lower-case letter cannot; behind a Chinese mark at once; and at
# a line break, one of HTML too.
_END = re.compile(
    r"""<br\s*/?>(?:\s*<br\s*/?>)*|\n+"""
    r"""|(?<=[。！？；…])(?![。！？；…”’」』）])"""
    r"""|(?<=[。！？；…][”’」』）])(?![。！？；…”’」』）])"""
    r"""|(?<=[.!?])\s+(?=[^\sa-z])|(?<=[.!?]["')\]])\s+(?=[^\sa-z])"""
)
_ABBREVIATION = re.compile(
    r"""(?:^|[\s("'])(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|Prof|Gen|Lt|Col|Capt|Sgt|vs|No|Vol|[A-Z])\.$"""
)
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# A Chinese character is a word by itself, as BERT's tokenizer has it; another ends at white space.
WORD = re.compile(rf"[{_HAN}]|[^\s{_HAN}]+")
SAYS_SOMETHING = re.compile(r"\w")


def split_sentences(text):
    """The sentences of a text, in order; together they are the text but for white space and <br>.

    A rule, not a model: "Mr. Smith" and "J. Smith" stay whole, and pieces without a letter or digit
    are left out.
    """
    sentences, begin = [], ""
    for piece in _END.split(text):
        piece = f"{begin} {piece.strip()}".strip()
        if _ABBREVIATION.search(piece):
            begin = piece
            continue
        begin = ""
        sentences.append(piece)
    sentences.append(begin)
    return [sentence for sentence in sentences if SAYS_SOMETHING.search(sentence)]


def split_texts(path, corpus):
    """The same corpus, {name: Split}, with a sentence where a text was.

    Raises InputError where it has labels: they are of whole texts.
    """
    if any(split.labels is not None for split in corpus.values()):
        raise InputError(
            f"{path}: has labels, and a label is of a whole text, not of each sentence; leave out "
            "--sentences"
        )
    return {
        name: Split([s for text in split.texts for s in split_sentences(text)], None)
        for name, split in corpus.items()
    }
