"""read_corpus(): formats told by content, encodings, splits, and what it refuses."""

import numpy as np
import pytest

from spikebert_np.data.readers import read_corpus, read_files
from spikebert_np.errors import InputError


def write(folder, **files):
    """Files given as name=bytes, where __ in a name stands for a dot."""
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def assert_split(split, texts, labels):
    assert split.texts == texts
    if labels is None:
        assert split.labels is None
    else:
        assert split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.labels, labels)


@pytest.mark.parametrize(
    ("data", "file_format", "encoding", "texts", "labels"),
    [
        (
            b'sentence\tlabel\r\na warm "film \t1\r\n\r\ndull\t0\r\n',
            "GLUE tsv",
            "UTF-8",
            ['a warm "film', "dull"],
            [1, 0],
        ),
        (b"index\tsentence\n0\ta warm film\n", "GLUE tsv", "UTF-8", ["a warm film"], None),
        (
            # The last line begins like no label file's; the last has no line end.
            "0 the -lrb- dull -rrb- sc\\/fi\n1 caf\u00e9 \\*\\*".encode(),
            "label text",
            "UTF-8",
            ["the ( dull ) sc/fi", "caf\u00e9 **"],
            [0, 1],
        ),
        (
            b"ABBR:exp What is UFO ?\nDESC:def Why ?\nENTY:food Tea ?\nHUM:ind Who ?\n"
            b"LOC:city W\xf3 ?\nNUM:date When ?\nDESC:manner How ?\n",
            "TREC COARSE:fine text",
            "cp1252",
            ["What is UFO ?", "Why ?", "Tea ?", "Who ?", "W\u00f3 ?", "When ?", "How ?"],
            [0, 1, 2, 3, 4, 5, 1],
        ),
        (
            '\ufefflabel,review\r\n1,"很好, ""真的""\r\n下次再来"\r\n0,\r\n0,太慢\r\n'.encode(),
            "csv",
            "UTF-8 with BOM",
            ['很好, "真的"\r\n下次再来', "太慢"],
            [1, 0],
        ),
        (
            # cp1252: an ellipsis (0x85, no line break), a byte that it leaves undefined, a dash.
            b"and then\x85 nothing\n2 hours \x81 \x96 no more\n\nend\n",
            "plain text lines",
            "cp1252",
            ["and then\u2026 nothing", "2 hours \x81 \u2013 no more", "end"],
            None,
        ),
    ],
)
def test_format_and_encoding_by_content(tmp_path, data, file_format, encoding, texts, labels):
    path = tmp_path / "corpus"
    path.write_bytes(data)
    assert_split(read_corpus(path)["train"], texts, labels)
    parsed = read_files(path)[0].parsed
    assert (parsed.format, parsed.encoding) == (file_format, encoding)
    assert len(parsed.empty_lines) == (1 if file_format in ("csv", "plain text lines") else 0) + (
        b"\r\n\r\n" in data
    )


def test_unicode_line_separators_do_not_split(tmp_path):
    (tmp_path / "a.txt").write_text("one\u2028line \x85 here\x0cstill\ntwo\n", encoding="utf-8")
    assert read_corpus(tmp_path / "a.txt")["train"].texts == [
        "one\u2028line \x85 here\x0cstill",
        "two",
    ]


def test_folder_gives_the_splits_its_names_say(tmp_path):
    folder = write(
        tmp_path,
        stsa__binary__train=b"0 dull\n1 fine\n",
        stsa__binary__dev=b"1 fair\n",
        README__md=b"about",
        README__txt=b"about",
    )
    corpus = read_corpus(folder)
    assert list(corpus) == ["train", "dev"]
    assert_split(corpus["train"], ["dull", "fine"], [0, 1])
    assert_split(corpus["dev"], ["fair"], [1])
    # A file alone is the split of its name, and a lone dev file may lack a class.
    assert list(read_corpus(folder / "stsa.binary.dev")) == ["dev"]


@pytest.mark.parametrize("names", [("cr.neg", "cr.pos"), ("subj.objective", "subj.subjective")])
def test_one_class_a_file(tmp_path, names):
    (tmp_path / names[0]).write_bytes(b"bad \nworse \n")
    (tmp_path / names[1]).write_bytes(b"caf\xe9\n")
    assert_split(read_corpus(tmp_path)["train"], ["bad", "worse", "caf\u00e9"], [0, 0, 1])
    with pytest.raises(InputError, match=r"cr.neg|subj.objective.*give the folder"):
        read_corpus(tmp_path / names[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1 good\n0 bad\nno label here\n", "line 3: 'no' is no class"),
        (b"-1 bad\n1 good\n", "line 1: '-1' is no class"),
        (b"1 bad\n2 good\n", "no training text has the label 0"),
        (b"sentence\tlabel\nfine\t1\nfine 0\n", "line 3: 1 fields where the header has 2"),
        (b"label,review\n1,fine\n1,well, fine\n", "line 3: 3 fields"),
        (b'label,review\n1,"fine\n0,bad\n', "not well-formed csv"),
        (b"HUM:ind Who ?\nLOC:city Where ?\nWHO:x Who ?\n", "line 3: 'WHO' is no class"),
        ("fine".encode("utf-16"), "zero bytes"),
        (b"\n \n", "holds no sentence"),
    ],
)
def test_bad_files_are_named(tmp_path, data, message):
    path = tmp_path / "corpus.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        read_corpus(path)
    assert "corpus.txt" in str(error.value)


def test_files_that_make_no_corpus(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_corpus(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no text file"):
        read_corpus(tmp_path)
    write(tmp_path, one__txt=b"a line\n", two__txt=b"a line\n")
    with pytest.raises(InputError, match=r"one\.txt, two\.txt are all"):
        read_corpus(tmp_path)


def test_dev_may_not_bring_a_class_that_train_lacks(tmp_path):
    write(tmp_path, train=b"0 dull\n1 fine\n", dev=b"2 odd\n")
    with pytest.raises(InputError, match="label 2"):
        read_corpus(tmp_path)
