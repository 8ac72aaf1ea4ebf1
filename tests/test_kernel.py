"""The Numba kernels' cache: never stale, always somewhere, and nobody else's."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import spikebert_np
from spikebert_np.layers import kernel

DERIVATIVE_AT_0 = """
import numpy as np
from spikebert_np.layers.lif import LIFNeuron, lif_backward, lif_forward
neuron = LIFNeuron(tau=1.0, v_th=1.0, surrogate="fast_sigmoid", alpha=1.0)
s, cache = lif_forward(np.ones((1, 1)), neuron=neuron, backend="numba")
print(lif_backward(np.ones((1, 1)), cache)[0, 0])
"""


def run(folder, home):
    environment = {**os.environ, "SPIKEBERT_HOME": str(home)}
    for name in ("NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT"):
        environment.pop(name, None)
    command = [sys.executable, "-c", DERIVATIVE_AT_0]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_an_edit_of_what_a_kernel_inlines_is_used(tmp_path):
    package = tmp_path / "spikebert_np"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(spikebert_np.__file__).parent, package, ignore=ignore)
    assert run(tmp_path, tmp_path / "home") == 0.5
    assert list((tmp_path / "home" / "kernels").glob("*/*/*.nbc"))
    path = package / "layers" / "surrogate_numba.py"
    source = path.read_text(encoding="utf-8")
    line = "out[j] = scale / (w * w)"
    assert line in source
    path.write_text(source.replace(line, "out[j] = 3 * scale / (w * w)"), encoding="utf-8")
    assert run(tmp_path, tmp_path / "home") == 1.5


@pytest.mark.parametrize("users", ["", "mine"])
def test_where_the_folder_cannot_be_made_a_temporary_one_is_used(tmp_path, monkeypatch, users):
    (tmp_path / "file").touch()
    home, temporary = tmp_path / "file" / "home", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("SPIKEBERT_HOME", str(home))
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder = kernel.cache_folder(users and str(tmp_path / "file" / users))
    assert temporary in folder.parents
    assert (folder.parents[1].stat().st_mode & 0o077) == 0


def test_kernels_that_nobody_used_for_a_month_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKEBERT_HOME", str(tmp_path))
    folder = kernel.cache_folder()
    month = time.time() - kernel.UNUSED_SECONDS
    for name, age in (("a" * 64, -60), ("b" * 64, 60), (folder.name, -60), ("host's", -60)):
        (folder.parent / name / "inside").mkdir(parents=True, exist_ok=True)
        os.utime(folder.parent / name, (month + age, month + age))
    assert kernel.cache_folder() == folder
    assert {path.name for path in folder.parent.iterdir()} == {"b" * 64, folder.name, "host's"}
    # It was used just now, and stays.
    assert folder.stat().st_mtime > time.time() - 3600


def test_the_temporary_folder_of_somebody_else_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 12345, raising=False)
    (tmp_path / "spikebert_np-12345").mkdir()
    assert kernel._temporary_folder().name != "spikebert_np-12345"


def test_numbas_configuration_stays_as_the_host_set_it(tmp_path, monkeypatch):
    from numba import config

    monkeypatch.setenv("SPIKEBERT_HOME", str(tmp_path / "home"))
    for users, root in (("", "home"), (str(tmp_path / "mine"), "mine")):
        monkeypatch.setattr(config, "CACHE_DIR", users)
        monkeypatch.setattr(config, "DISABLE_JIT", 0)
        compiled = kernel.kernel()(run)
        assert tmp_path / root / "kernels" in Path(compiled.stats.cache_path).parents
        assert users == config.CACHE_DIR
