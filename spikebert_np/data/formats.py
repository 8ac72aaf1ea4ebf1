"""One text file of sentences, its format and encoding told by its content."""

import csv
import io
import re
from typing import NamedTuple

from ..errors import InputError

GLUE, LABEL_TEXT, TREC, CSV, PLAIN = (
    "GLUE tsv",
    "label text",
    "TREC COARSE:fine text",
    "csv",
    "plain text lines",
)
# The coarse classes of Li & Roth 2002 in sorted order: class c is TREC_CLASSES[c], whichever of
# them a file happens to hold.
TREC_CLASSES = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")

# cp1252 leaves five bytes undefined; like latin-1, and like web browsers, we let each be the
# control character of its own number, so that every byte string decodes.
_CP1252 = {byte: bytes([byte]).decode("cp1252", "ignore") or byte for byte in range(0x80, 0xA0)}
# The Penn Treebank's escapes in stsa.*; GLUE's files hold the same sentences without them.
_TREEBANK_ESCAPES = {"-lrb-": "(", "-rrb-": ")", r"\/": "/", r"\*": "*"}
_TREEBANK_ESCAPE = re.compile("|".join(map(re.escape, _TREEBANK_ESCAPES)))


class ParsedFile(NamedTuple):
    format: str  # GLUE, LABEL_TEXT, TREC, CSV or PLAIN
    encoding: str  # "UTF-8", "UTF-8 with BOM" or "cp1252"
    texts: list[str]
    labels: list[int] | None  # None where the format has no labels
    empty_lines: list[int]  # 1-based numbers of the lines left out because they hold no text


def parse_file(path):
    """Read one file of sentences into a ParsedFile.

    Formats: GLUE tsv (header with the column `sentence`, and `label` unless it is a test set),
    `label text` (stsa.*), `COARSE:fine text` (TREC), csv with the columns `label` and `review`,
    and plain lines without labels. Lines end at \\n only (in cp1252 the byte 0x85 is an ellipsis,
    no line break). White space around a text is dropped and the rest stands as published, except
    that `label text` has the Penn Treebank's escapes -lrb- -rrb- \\/ \\* turned back into ( ) / *:
    with that, stsa.binary.dev and GLUE's dev.tsv give the same words.

    Raises InputError for a file that is absent, binary or without text, and for a bad line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    text, encoding = decode_text(data, path)
    lines = text.split("\n")
    file_format = _detect_format(lines)
    texts, labels, empty_lines = [], [], []
    for number, label, sentence in _ROWS[file_format](path, text, lines):
        sentence = sentence.strip()
        if not sentence:
            empty_lines.append(number)
            continue
        texts.append(sentence)
        if label is not None:
            labels.append(_class_number(label.strip(), file_format, path, number))
    if not texts:
        raise InputError(f"{path}: holds no sentence; give a file with one text a line")
    return ParsedFile(file_format, encoding, texts, labels or None, empty_lines)


def decode_text(data, name):
    """Bytes as (text, encoding): UTF-8, else cp1252. Raises InputError for a zero byte, which no
    text in either has; `name` names its origin."""
    if b"\0" in data:
        raise InputError(
            f"{name}: not a text file in UTF-8 or cp1252 (it holds zero bytes); "
            "unpack it or save it as UTF-8"
        )
    try:
        text, encoding = data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError:
        return data.decode("latin-1").translate(_CP1252), "cp1252"
    return (text[1:], "UTF-8 with BOM") if text.startswith("\ufeff") else (text, encoding)


def _detect_format(lines):
    header = lines[0].strip()
    if "sentence" in header.split("\t"):
        return GLUE
    if {"label", "review"} <= set(_csv_columns(header.split(","))):
        return CSV
    # A majority decides: a plain sentence may open with a number, and a labelled file may have a
    # line without its label, which must be reported and not turn the whole into plain text.
    head = [line for line in lines[:1000] if line.strip()]
    if sum(bool(re.match(r"[-+]?\d+\s", line)) for line in head) > len(head) / 2:
        return LABEL_TEXT
    if sum(bool(re.match(r"[A-Z]+:[a-z]+\s", line)) for line in head) > len(head) / 2:
        return TREC
    return PLAIN


def _class_number(label, file_format, path, number):
    if file_format == TREC:
        if label in TREC_CLASSES:
            return TREC_CLASSES.index(label)
        remedy = f"begin it with one of {', '.join(TREC_CLASSES)} and a colon"
    else:
        if re.fullmatch(r"[0-9]{1,4}", label):
            return int(label)
        remedy = "number the classes 0, 1, 2, ..."
    raise InputError(f"{path}, line {number}: {label[:20]!r} is no class; {remedy}")


# Each of the following yields (1-based line number, label or None, text) for every data row; a row
# of white space is a row with an empty text.


def _glue_rows(path, text, lines):
    columns = lines[0].strip().split("\t")
    sentence_at = columns.index("sentence")
    label_at = columns.index("label") if "label" in columns else None
    for number, line in _numbered(lines, start=2):
        fields = line.split("\t") if line.strip() else [""] * len(columns)
        if len(fields) != len(columns):
            raise InputError(
                f"{path}, line {number}: {len(fields)} fields where the header has {len(columns)}; "
                "separate them with one tab"
            )
        yield number, None if label_at is None else fields[label_at], fields[sentence_at]


def _csv_rows(path, text, lines):
    rows = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    try:
        columns = _csv_columns(next(rows))
        label_at, review_at = columns.index("label"), columns.index("review")
        for row in rows:
            if row and len(row) != len(columns):
                raise InputError(
                    f"{path}, line {rows.line_num}: {len(row)} fields where the header has "
                    f"{len(columns)}; put quotes around a text that holds a comma"
                )
            yield rows.line_num, *((row[label_at], row[review_at]) if row else ("", ""))
    except csv.Error as error:
        raise InputError(
            f"{path}, line {rows.line_num}: not well-formed csv ({error}); "
            'write a quote inside a quoted text as ""'
        ) from error


def _csv_columns(fields):
    return [field.strip(' "\r') for field in fields]


def _label_text_rows(path, text, lines):
    for number, line in _numbered(lines):
        label, _, sentence = line.strip().replace("\t", " ", 1).partition(" ")
        yield number, label, _TREEBANK_ESCAPE.sub(lambda m: _TREEBANK_ESCAPES[m[0]], sentence)


def _trec_rows(path, text, lines):
    for number, line in _numbered(lines):
        label, _, question = line.strip().partition(" ")
        yield number, label.partition(":")[0], question


def _plain_rows(path, text, lines):
    for number, line in _numbered(lines):
        yield number, None, line


def _numbered(lines, start=1):
    """(number, line) from line `start` on; the end after the last \\n is no line."""
    stop = len(lines) if lines[-1] else len(lines) - 1
    return enumerate(lines[start - 1 : stop], start)


_ROWS = {
    GLUE: _glue_rows,
    LABEL_TEXT: _label_text_rows,
    TREC: _trec_rows,
    CSV: _csv_rows,
    PLAIN: _plain_rows,
}
