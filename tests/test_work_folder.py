"""The hidden folder of long work: one process at a time, the same work, kept on a full disk."""

import errno
import os

import pytest

from spikebert_np.data.work_folder import work_folder
from spikebert_np.errors import InputError
from spikebert_np.files import write_atomically

ABOUT = {"seed": 1, "shards": [(0, 2), (2, 3)]}


def test_a_new_folder_is_prepared_and_an_old_one_gone_on_with(tmp_path):
    prepared = []

    def prepare(folder):
        prepared.append(folder)
        return {"workers": 2}

    for before in (None, {"seed": 1, "shards": [[0, 2], [2, 3]], "workers": 2}):
        with work_folder(tmp_path / "a" / "out", "about.json", ABOUT, prepare) as (folder, found):
            assert folder == tmp_path / "a" / ".out.partial"
            assert found == before
    assert prepared == [folder]


@pytest.mark.skipif(os.name == "nt", reason="nothing is locked there")
def test_two_at_once_are_one_too_many(tmp_path):
    with (
        work_folder(tmp_path / "out", "about.json", ABOUT),
        pytest.raises(InputError, match=r"\.out\.partial: another process is working in it"),
        work_folder(tmp_path / "out", "about.json", ABOUT),
    ):
        pass
    with work_folder(tmp_path / "out", "about.json", ABOUT) as (_, before):
        assert before


def test_other_work_and_a_taken_name_are_refused(tmp_path):
    with work_folder(tmp_path / "out", "about.json", ABOUT):
        pass
    with (
        pytest.raises(InputError, match=r"\.out\.partial: is of another run, with seed 1 where"),
        work_folder(tmp_path / "out", "about.json", ABOUT | {"seed": 2}),
    ):
        pass
    record = tmp_path / ".out.partial" / "about.json"
    for damaged in (record.read_text()[:-3], "[]", "[" * 100_000):
        record.write_text(damaged)
        with (
            pytest.raises(InputError, match=r"about\.json: .*JSON.*; delete .*\.out\.partial to"),
            work_folder(tmp_path / "out", "about.json", ABOUT),
        ):
            pass
    (tmp_path / "out").touch()
    with (
        pytest.raises(InputError, match="out: exists already"),
        work_folder(tmp_path / "out", "about.json", ABOUT),
    ):
        pass


def test_a_full_disk_leaves_the_folder(tmp_path):
    with (
        pytest.raises(InputError, match=r"\.out\.partial: No space .*; make room there, and give"),
        work_folder(tmp_path / "out", "about.json", ABOUT),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with work_folder(tmp_path / "out", "about.json", ABOUT) as (_, before):
        assert before


def test_what_could_not_be_written_leaves_nothing(tmp_path):
    def write(part):
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("before")
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "file", write)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match="is not a file; name another"):
            write_atomically(path, lambda part: part.write_text("new"))
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
