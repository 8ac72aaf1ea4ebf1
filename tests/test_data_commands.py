"""`spikebert data check` and `spikebert data get sst2`, as a user runs them."""

import argparse
import functools
import hashlib
import json
import os
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spikebert_np.commands import data
from spikebert_np.data import sst2
from spikebert_np.data.check import check_corpus
from spikebert_np.data.readers import read_corpus
from spikebert_np.data.toy_reviews import SIZES
from spikebert_np.errors import InputError

FILES = {
    "train.tsv": b"sentence\tlabel\na warm film \t1\na dull film \t0\n",
    "dev.tsv": b"sentence\tlabel\na fine film \t1\n",
}


def run(*words):
    parser = argparse.ArgumentParser()
    data.register(parser.add_subparsers())
    args = parser.parse_args(["data", *map(str, words)])
    return args.run(args)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A small SST-2.zip, whose digests stand for those of the published one."""
    path = tmp_path / "published" / "SST-2.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**FILES, "test.tsv": b"index\tsentence\n0\tso\n"}.items():
            file.writestr(f"SST-2/{name}", content)
    monkeypatch.setattr(sst2, "ARCHIVE_MD5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(sst2, "FILE_MD5", {n: hashlib.md5(c).hexdigest() for n, c in FILES.items()})
    return path


def assert_unpacked(folder):
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == FILES


def test_get_from_a_zip_into_the_default_folder(archive, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("get", "sst2", "--from", archive)
    assert_unpacked(tmp_path / "data" / "sst2")
    assert "spikebert data check" in capsys.readouterr().out
    assert archive.exists()
    archive.unlink()
    run("get", "sst2", "--from", archive)  # complete already: the archive is not needed


def test_get_leaves_nothing_where_a_file_cannot_be_written(archive, tmp_path):
    out = tmp_path / "out"
    (out / "dev.tsv").mkdir(parents=True)
    with pytest.raises(InputError, match=r"dev\.tsv: is not a file; name another"):
        sst2.get_sst2(out, from_zip=archive)
    assert sorted(path.name for path in out.iterdir()) == ["dev.tsv", "train.tsv"]


def test_get_by_download(archive, tmp_path):
    with pytest.raises(InputError, match=r"resumes it \(without a network: .* --from"):
        sst2.get_sst2(tmp_path / "out", url="http://127.0.0.1:9/SST-2.zip")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    serve = functools.partial(Handler, directory=archive.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/SST-2.zip"
        assert sst2.get_sst2(tmp_path / "out", url=url) == tmp_path / "out"
        server.shutdown()
    assert_unpacked(tmp_path / "out")


def test_get_refuses_another_archive(archive, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setitem(sst2.FILE_MD5, "dev.tsv", "0" * 32)
    with pytest.raises(InputError, match=r"dev\.tsv has the md5"):
        run("get", "sst2", "--out", out, "--from", archive)
    archive.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"SST-2\.zip: .* cannot be read"):
        run("get", "sst2", "--out", out, "--from", archive)
    with pytest.raises(InputError, match="cannot be read"):
        run("get", "sst2", "--out", out, "--from", tmp_path / "absent.zip")
    assert not out.exists()


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "train.txt").write_bytes(
        b"1 a caf\xe9 of a film\n0 dull\n0 Dull \n\n0 not so fine\n1 fine , warm and funny\n"
    )
    (tmp_path / "dev.txt").write_bytes(b"0 DULL\n1 lovely\n")
    return tmp_path


def test_check_counts(corpus, capsys):
    run("check", corpus, "--json")
    output = capsys.readouterr().out
    assert output.count("\n") == 1
    report = json.loads(output)
    train, dev = report["splits"]["train"], report["splits"]["dev"]
    assert train == {
        "sentences": 5,
        "labels": {"0": 3, "1": 2},
        "words": {"min": 1, "median": 3, "p95": 5, "max": 5},
        "duplicates": 1,
        "in_train": None,
    }
    assert (dev["duplicates"], dev["in_train"]) == (0, 1)
    files = {file["name"]: file for file in report["files"]}
    assert files["train.txt"]["encoding"] == "cp1252"
    assert files["train.txt"]["empty_lines"] == [4]
    assert files["dev.txt"]["format"] == "label text"


def test_check_report_for_a_reader(corpus, capsys):
    run("check", corpus)
    output = capsys.readouterr().out
    for part in ("cp1252", "caf\u00e9", "label 0: 3 (60.0 %)", "(line 4)", "also in train: 1"):
        assert part in output


def test_check_knows_the_shipped_corpus(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("check", "toy_reviews", "--json")
    report = json.loads(capsys.readouterr().out)
    assert {name: split["sentences"] for name, split in report["splits"].items()} == SIZES
    assert (report["path"], report["files"]) == ("toy_reviews", [])
    run("check", "toy_reviews")
    assert "also in train: 0" in capsys.readouterr().out


def test_check_without_labels_counts_chinese_characters(tmp_path):
    (tmp_path / "reviews.txt").write_text("房间很好 ok 𠀀𠮷\n", encoding="utf-8")
    split = check_corpus(tmp_path / "reviews.txt").splits["train"]
    assert split.labels is None
    assert split.words["max"] == 7  # also those beyond the 65,536 first of Unicode


# (folder, file or folder to read, classes of train, texts by split) as the corpora were published
# less the lines held out.
CORPORA = [
    ("sst2", 2, {"train": 6920, "dev": 872}),
    ("sst2-glue", 2, {"train": 67349, "dev": 872}),
    ("sst5", 5, {"train": 8544, "dev": 1101}),
    ("mr", 2, {"train": 9585}),
    ("subj", 2, {"train": 9011}),
    ("chnsenti", 2, {"train": 7002}),
    ("waimai", 2, {"train": 10737}),
    ("cr", 2, {"train": 3412}),
    ("trec", 6, {"train": 5452}),
    ("unlabeled/imdb_unsup.txt", None, {"train": 25000}),
    ("unlabeled/zh_shopping.txt", None, {"train": 52773}),
]


@pytest.mark.parametrize(("name", "classes", "counts"), CORPORA, ids=[c[0] for c in CORPORA])
def test_real_corpora(name, classes, counts):
    path = Path(os.environ.get("SPIKEBERT_DATA", "")) / name
    if not os.environ.get("SPIKEBERT_DATA") or not path.exists():
        pytest.skip(f"SPIKEBERT_DATA names no folder that holds {name}")
    corpus = read_corpus(path)
    assert {split: len(corpus[split].texts) for split in corpus} == counts
    labels = corpus["train"].labels
    assert (None if labels is None else labels.max() + 1) == classes


def test_sst2_reads_the_same_from_both_publications():
    root = os.environ.get("SPIKEBERT_DATA")
    if not root or not (Path(root) / "sst2-glue").exists():
        pytest.skip("SPIKEBERT_DATA names no folder that holds sst2 and sst2-glue")
    first, second = (read_corpus(Path(root) / name)["dev"] for name in ("sst2", "sst2-glue"))
    assert sorted(zip(*first, strict=True)) == sorted(zip(*second, strict=True))
