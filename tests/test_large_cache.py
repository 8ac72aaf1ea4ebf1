"""A cache in shards: int8, reads by memory map, a writer that is stopped anywhere and goes on."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_teacher_cache import (
    IDS,
    OFFSETS,
    STATES,
    D,
    reader,
    rewrite_manifest,
    write,
)

from spikebert_np.data import teacher_cache, teacher_cache_shards, teacher_cache_writer
from spikebert_np.data.batches import gather_sentences
from spikebert_np.data.hidden_rows import HiddenRows, decode_rows, encode_rows
from spikebert_np.data.teacher_cache import load_cache
from spikebert_np.data.teacher_cache_shards import plan_shards
from spikebert_np.errors import InputError
from spikebert_np.training.corpora import split_corpus
from spikebert_np.training.distill import LossWeights
from spikebert_np.training.loop import batch_targets


@pytest.fixture
def small_shards(monkeypatch):
    """Six tokens of two layers: the shards (0, 2), (2, 3), (3, 4) of sentences."""
    monkeypatch.setattr(teacher_cache_shards, "SHARD_BYTES", 6 * 2 * D * 2)


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@given(
    st.lists(st.integers(2, 40), min_size=1, max_size=30), st.integers(1, 400), st.integers(0, 30)
)
def test_shards_follow_each_other(lengths, bytes_a_token, hidden_sentences):
    offsets = np.cumsum([0, *lengths])
    hidden_sentences = min(hidden_sentences, len(lengths))
    shards = plan_shards(offsets, hidden_sentences, bytes_a_token << 20)
    assert [0, *(last for _, last in shards)] == [*(first for first, _ in shards), len(lengths)]
    assert hidden_sentences in (0, *(last for _, last in shards))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_shards_read_like_one_array(tmp_path, small_shards, dtype):
    cache = load_cache(write(tmp_path / "cache", hidden_dtype=dtype))
    suffixes = ("npy",) if dtype == "float16" else ("npy", "scale.npy")
    names = [f"hidden_{n}.{i:04d}.{s}" for n in (3, 6) for i in range(3) for s in suffixes]
    assert sorted(f for f in os.listdir(tmp_path / "cache") if f[:7] == "hidden_") == names
    for layer, states in STATES.items():
        rows = cache.hidden[layer]
        expected = decode_rows(*encode_rows(states, dtype))
        assert rows.shape == (14, D)
        assert len(rows) == 14
        assert all(isinstance(shard, np.memmap) for shard in rows.shards)
        np.testing.assert_array_equal(np.asarray(rows), expected)
        np.testing.assert_array_equal(np.asarray(rows[4:13][1:7]), expected[5:11])
        np.testing.assert_array_equal(rows[4:13][np.array([8, 0, 8, 3])], expected[[12, 4, 12, 7]])
        batch = gather_sentences(rows, OFFSETS, np.array([3, 0, 2]))
        order = [*range(11, 14), *range(4), *range(6, 11)]
        np.testing.assert_array_equal(batch, expected[order])
        error = cache.manifest["hidden_error"][str(layer)]
        assert error["max"] == pytest.approx(np.abs(expected.astype(float) - states).max())
        size = np.sqrt(np.square(expected.astype(float) - states).sum() / np.square(states).sum())
        assert error["relative_rms"] == pytest.approx(size, rel=1e-5)
        assert 1e-5 < error["relative_rms"] < (1e-3 if dtype == "float16" else 2e-2)


def test_a_student_trains_on_shards(tmp_path, small_shards):
    """The path of a batch's targets: a split of the corpus, then its sentences in any order."""
    cache = load_cache(write(tmp_path / "cache", hidden_dtype="int8"))
    corpus = split_corpus(cache, "train")
    weights = LossWeights(ce=1, feat=1)
    targets = batch_targets(corpus, np.array([2, 0]), weights, None, np.float32)
    for block, layer in ((0, 3), (1, 6)):
        expected = decode_rows(*encode_rows(STATES[layer], "int8"))[[*range(6, 11), *range(4)]]
        assert targets.hidden[block].dtype == np.float32
        np.testing.assert_array_equal(targets.hidden[block], expected)


def test_int8_errs_by_half_a_step_and_keeps_zeros(rng):
    rows = rng.standard_normal((50, 7)) * 10.0 ** rng.integers(-4, 6, (50, 1))
    rows[3] = 0
    narrow, scale = encode_rows(rows, "int8")
    assert (narrow.dtype, scale.dtype) == (np.int8, np.float32)
    wrong = np.abs(decode_rows(narrow, scale) - rows)
    assert (wrong <= 0.501 * np.abs(rows).max(axis=1, keepdims=True) / 127).all()
    assert not wrong[3].any()
    for bad in (np.nan, np.inf):
        rows[1, 1] = bad
        with pytest.raises(InputError, match="not finite"):
            encode_rows(rows, "int8")


def test_rows_outside_are_refused():
    rows = HiddenRows([np.zeros((3, 2), np.float16)], None)
    for wrong in ([-1], [3]):
        with pytest.raises(IndexError, match="from 0 to 2"):
            rows[wrong]
    with pytest.raises(IndexError, match="no steps"):
        rows[::2]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_one_flipped_byte_in_any_file_of_a_sharded_cache(tmp_path, small_shards, dtype):
    folder = write(tmp_path / "cache", hidden_dtype=dtype)
    for name, content in files(folder).items():
        for position in (0, len(content) // 2, len(content) - 2):
            changed = bytearray(content)
            changed[position] ^= 1
            (folder / name).write_bytes(changed)
            with pytest.raises(InputError, match=rf"{re.escape(name)}: "):
                load_cache(folder)
        (folder / name).write_bytes(content)
    load_cache(folder)


def test_hidden_states_that_together_are_large_are_hashed_on_request(
    tmp_path, small_shards, monkeypatch
):
    folder = write(tmp_path / "cache")
    path = folder / "hidden_6.0001.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    monkeypatch.setattr(teacher_cache, "HASHED_BYTES", 14 * D * 2 * 2 - 1)
    load_cache(folder)
    with pytest.raises(InputError, match=r"hidden_6\.0001\.npy: its sha256"):
        load_cache(folder, verify=True)


def test_the_first_format_is_still_read(tmp_path):
    folder = write(tmp_path / "cache")

    def as_of_old(manifest):
        manifest["format_version"] = 1
        for key in ("hidden_dtype", "hidden_shards", "hidden_error"):
            del manifest[key]

    rewrite_manifest(folder, as_of_old)
    np.testing.assert_array_equal(load_cache(folder).hidden[6], STATES[6].astype(np.float16))


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("renames", [1, 2, 3, 5, 6, 7, 11])
def test_stopped_anywhere_it_goes_on_to_the_same_bytes(
    tmp_path, small_shards, monkeypatch, renames, before
):
    """Ctrl-C at every so many renames of the writer, before or after the rename."""
    expected = files(write(tmp_path / "whole", hidden_dtype="int8"))
    replace, left, stops = os.replace, [renames], []

    def interrupted(*paths):
        left[0] -= 1
        if not left[0] and before:
            raise KeyboardInterrupt
        replace(*paths)
        if not left[0]:
            raise KeyboardInterrupt

    calls = []
    monkeypatch.setattr(os, "replace", interrupted)
    while not (tmp_path / "parts").exists() and len(stops) < 20:
        try:
            write(tmp_path / "parts", hidden_dtype="int8", read_shard=reader(calls=calls))
        except KeyboardInterrupt:
            left[0] = renames
            stops.append(len(calls))
    if not (tmp_path / "parts").exists():
        # A shard has six renames: who stops more often never ends one. But nothing is broken.
        assert renames - before < 6
        left[0] = 1000
        write(tmp_path / "parts", hidden_dtype="int8", read_shard=reader(calls=calls))
    else:
        assert stops
    assert files(tmp_path / "parts") == expected
    assert sorted(os.listdir(tmp_path)) == ["parts", "whole"]


def test_stopped_while_it_tidies_up(tmp_path, small_shards, monkeypatch):
    """The cache is there, and what was left beside it does no harm to the next one."""

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(teacher_cache_writer.shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "cache")
    expected = files(tmp_path / "cache")
    load_cache(tmp_path / "cache")
    os.rename(tmp_path / "cache", tmp_path / "other")
    assert files(write(tmp_path / "cache")) == expected


def test_shards_that_are_whole_are_not_read_again(tmp_path, small_shards):
    calls, found = [], []

    def stopped(first, last):
        if first == 2:
            raise KeyboardInterrupt
        return reader(calls=calls)(first, last)

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cache", read_shard=stopped)
    assert os.listdir(tmp_path) == [".cache.partial"]
    folder = write(tmp_path / "cache", read_shard=reader(calls=calls), found=found.append)
    assert calls == [(0, 2), (2, 3), (3, 4)]
    assert found == [6]
    assert load_cache(folder).hidden[3].shape == (14, D)


def test_another_cache_does_not_go_on(tmp_path, small_shards):
    def stopped(first, last):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cache", read_shard=stopped)
    for change, key in (({"ids": IDS[::-1]}, "ids_sha256"), ({"hidden_dtype": "int8"}, "dtype")):
        with pytest.raises(InputError, match=rf"\.cache\.partial: is of another run, with .*{key}"):
            write(tmp_path / "cache", **change)


def test_a_full_disk_costs_no_finished_shard(tmp_path, small_shards):
    """And a shard that was damaged meanwhile is read again."""
    expected = files(write(tmp_path / "whole"))
    calls = []

    def full(first, last):
        if first == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return reader(calls=calls)(first, last)

    with pytest.raises(InputError, match=r"No space left .* give the same command again"):
        write(tmp_path / "cache", read_shard=full)
    assert calls == [(0, 2), (2, 3)]
    damaged = tmp_path / ".cache.partial" / "cache" / "hidden_6.0000.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x7f")
    (tmp_path / ".cache.partial" / "shards" / "0001.json").write_text("{")
    assert files(write(tmp_path / "cache", read_shard=reader(calls=calls))) == expected
    assert calls[2:] == [(0, 2), (2, 3), (3, 4)]


@pytest.mark.skipif(os.name == "nt", reason="nothing is locked there")
def test_two_writers_of_one_cache(tmp_path, small_shards):
    """The second is refused, and does the first no harm."""

    def read_shard(first, last):
        with pytest.raises(InputError, match="another process is working in it"):
            write(tmp_path / "cache")
        return reader()(first, last)

    expected = files(write(tmp_path / "whole"))
    assert files(write(tmp_path / "cache", read_shard=read_shard)) == expected


SLOW_WRITER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from test_teacher_cache import reader, write
from spikebert_np.data import teacher_cache_shards
teacher_cache_shards.SHARD_BYTES = 6 * 2 * 6 * 2
from pathlib import Path
import os
replace = os.replace
def slow_replace(*paths):
    time.sleep(0.03)
    replace(*paths)
    time.sleep(0.03)
os.replace = slow_replace
print("ready", flush=True)
write(Path(sys.argv[2]), hidden_dtype="int8")
"""


@pytest.mark.slow
def test_killed_at_twenty_random_moments(tmp_path, small_shards):
    expected = files(write(tmp_path / "whole", hidden_dtype="int8"))
    rng = np.random.default_rng(20)
    kills = 0
    for run in range(20):
        folder = tmp_path / f"parts{run}"
        while not folder.exists():
            command = [sys.executable, "-c", SLOW_WRITER, os.path.dirname(__file__), str(folder)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            process.stdout.readline()
            time.sleep(rng.uniform(0, 1.5))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
        assert files(folder) == expected
    assert kills >= 20


def test_the_plan_is_of_numbers_alone(tmp_path, small_shards):
    def stopped(first, last):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cache", read_shard=stopped)
    plan = json.loads((tmp_path / ".cache.partial" / "plan.json").read_text())
    assert plan["shards"] == [[0, 2], [2, 3], [3, 4]]
    assert str(tmp_path) not in json.dumps(plan)
