"""A dev split that is drawn once: seeded, whole, and without a text that stands on both sides."""

import errno
import os

import pytest

from spikebert_np.cli import main
from spikebert_np.data.readers import read_corpus
from spikebert_np.data.split import split_corpus
from spikebert_np.errors import InputError

TEXTS = [
    f"{i % 3} {text} {i // 4}"
    for i, text in enumerate(['a "quoted", film', "le café\t, noir", "ni hao 你好", "plain"] * 15)
]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "reviews.txt"
    path.write_text("\n".join([*TEXTS, "0 plain  5", "0 PLAIN 5"]), encoding="utf-8")
    return path


def pairs(*splits):
    return sorted(pair for s in splits for pair in zip(s.labels.tolist(), s.texts, strict=True))


def test_nothing_is_lost_or_changed_and_twins_stay_together(corpus, tmp_path):
    for seed in range(5):
        folder = tmp_path / f"split{seed}"
        splits = split_corpus(corpus, folder, dev_fraction=0.3, seed=seed)
        read = read_corpus(folder)
        assert list(read) == ["train", "dev"]
        for name, split in read.items():
            assert split.texts == splits[name].texts
            assert split.labels.tolist() == splits[name].labels.tolist()
        whole = read_corpus(corpus)["train"]
        assert pairs(*read.values()) == pairs(whole)
        keys = [{" ".join(t.lower().split()) for t in split.texts} for split in read.values()]
        assert not keys[0] & keys[1]
        assert len(keys[1]) == 18  # 0.3 of the 60 different texts
        assert sum(len(s.texts) for s in read.values()) == 62


def test_the_seed_decides(corpus, tmp_path):
    first, again, other = (
        split_corpus(corpus, tmp_path / name, seed=seed)["dev"].texts
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other


def test_the_command_says_what_to_do_next(corpus, tmp_path, capsys):
    assert main(["data", "split", str(corpus), "--out", str(tmp_path / "new")]) == 0
    assert "train 56, dev 6; give this folder" in capsys.readouterr().out
    assert main(["data", "split", str(corpus), "--out", str(tmp_path / "new")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "options", "words"),
    [
        (["a film", "a plot"], {}, "has no labels"),
        (["0 a film", "1 a plot"], {}, "too few"),
        (["0 a film", "1 a plot"], {"dev_fraction": 1.5}, "between 0 and 1"),
    ],
)
def test_mistakes_leave_nothing_behind(tmp_path, lines, options, words):
    (tmp_path / "reviews.txt").write_text("\n".join(lines))
    with pytest.raises(InputError, match=words):
        split_corpus(tmp_path / "reviews.txt", tmp_path / "new", **options)
    assert os.listdir(tmp_path) == ["reviews.txt"]


def test_a_corpus_with_dev_is_not_cut_again(tmp_path):
    for name in ("train", "dev"):
        (tmp_path / f"{name}.txt").write_text("0 a film\n1 a plot\n")
    with pytest.raises(InputError, match="has the splits train, dev"):
        split_corpus(tmp_path, tmp_path / "new")


@pytest.mark.parametrize(
    ("stopped_by", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_full_disk_or_ctrl_c_leaves_nothing(corpus, tmp_path, monkeypatch, stopped_by, raised):
    def stop(*args):
        raise stopped_by

    monkeypatch.setattr(os, "rename", stop)
    with pytest.raises(raised, match="new: cannot be written" if raised is InputError else None):
        split_corpus(corpus, tmp_path / "new")
    assert os.listdir(tmp_path) == ["reviews.txt"]
