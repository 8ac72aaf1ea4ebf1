"""The Numba kernels' cache: never stale, always somewhere, and nobody else's."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

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


THREADS = """
import threading
import numpy as np
from spikebert_np.layers.lif import LIFNeuron, lif_backward, lif_forward
from spikebert_np.layers.linear import linear_backward, linear_forward

def work(seed):
    rng = np.random.default_rng(seed)
    x, weight = rng.standard_normal((3, 40, 16)), rng.standard_normal((16, 8))
    s, cache = lif_forward(x, neuron=LIFNeuron(), backend="numba")
    y, linear_cache = linear_forward(s, weight, np.zeros(8), backend="events")
    ds, *_ = linear_backward(y, linear_cache)
    return lif_backward(ds, cache)

seeds = range(8)
found = {}
# All of them meet at the first call, which loads or compiles the kernels, too.
threads = [threading.Thread(target=lambda i=i: found.update({i: work(i)})) for i in seeds]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert all((found[i] == work(i)).all() for i in seeds), found.keys()

from numba.np.ufunc import parallel
print(float(parallel._is_initialized))
"""


def test_kernels_called_by_many_threads_at_once_need_no_lock_and_start_no_threads(tmp_path):
    command = [sys.executable, "-c", THREADS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0.0\n"


def kernels():
    """All compiled functions of the package."""
    import importlib
    import pkgutil

    for module in pkgutil.walk_packages(spikebert_np.__path__, "spikebert_np."):
        if module.name.endswith("_numba"):
            for value in vars(importlib.import_module(module.name)).values():
                if hasattr(value, "py_func"):
                    yield value


@pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="kernels are plain functions then")
def test_no_kernel_asks_for_numbas_threads():
    found = list(kernels())
    assert len(found) > 10
    assert not any(kernel.targetoptions.get("parallel") for kernel in found)


def test_only_our_own_kernels_are_announced(capsys):
    from numba.core import event

    listener = kernel.announcer()
    for module, said in (
        ("else.where", ""),
        ("spikebert_np.layers.lif_numba", "Compiling"),
        (None, ""),
    ):
        dispatcher = SimpleNamespace(py_func=SimpleNamespace(__module__=module))
        for status in event.EventStatus:
            listener.notify(event.Event("numba:compile", status, {"dispatcher": dispatcher}))
        assert capsys.readouterr().err[: len("Compiling")] == said


def test_the_first_compilation_is_announced_once_and_later_ones_are_not(tmp_path):
    said = []
    for _ in range(2):
        environment = {**os.environ, "SPIKEBERT_HOME": str(tmp_path)}
        for name in ("NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT"):
            environment.pop(name, None)
        command = [sys.executable, "-c", DERIVATIVE_AT_0]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        said.append(done.stderr)
    assert said == ["Compiling kernels, each once: up to a minute ...\n", ""]


COUNT = """
import sys
hits = misses = 0
for name, module in list(sys.modules.items()):
    if name.startswith("spikebert_np.") and name.endswith("_numba"):
        for kernel in vars(module).values():
            if hasattr(kernel, "stats"):
                hits += sum(kernel.stats.cache_hits.values())
                misses += sum(kernel.stats.cache_misses.values())
print(hits, misses)
"""


WARM_UP = """
from spikebert_np.commands import demo
from spikebert_np.data.shipped import TOY, open_cache
demo._compile(open_cache(TOY))
"""
DEMO = """
import sys
from spikebert_np.cli import main
from spikebert_np.commands import demo
demo.MODEL = {**demo.MODEL, "width": 16, "mlp_width": 16, "heads": 2}
demo.STAGE1, demo.STAGE2 = {**demo.STAGE1, "epochs": 1}, {**demo.STAGE2, "epochs": 1}
assert main(["demo", "--out", sys.argv[1]]) == 0
"""


@pytest.mark.slow
def test_what_a_demo_begins_with_is_all_that_it_compiles_and_a_second_one_compiles_nothing(
    tmp_path,
):
    counts = []
    for code in (WARM_UP, DEMO):
        command = [sys.executable, "-c", code + COUNT, str(tmp_path / "demo")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        counts.append([int(count) for count in done.stdout.split()[-2:]])
    (hits, misses), (hits_of_demo, misses_of_demo) = counts
    assert misses_of_demo == 0
    assert hits_of_demo == hits + misses > 5


DRIVE = """
import importlib, sys
from pathlib import Path

import numpy as np
from numba.core.dispatcher import Dispatcher
from tiny import make_cache

import spikebert_np
from spikebert_np.cli import main
from spikebert_np.layers.activations_numba import normal_cdf

folder = Path(sys.argv[1])
make_cache(folder)
for norm in ("layer", "batch"):
    out = str(folder / norm)
    command = ["finetune", "--cache", str(folder / "cache"), "--out", out, "--norm", norm]
    assert main([*command, "--width", "8", "--heads", "2", "--epochs", "1", "--quiet"]) == 0
normal_cdf(np.ones(3, np.float32))
package = Path(spikebert_np.__file__).parent
for path in package.rglob("*_numba.py"):
    module = importlib.import_module(f"spikebert_np.{path.parent.name}.{path.stem}")
    for name, function in vars(module).items():
        if isinstance(function, Dispatcher) and function.py_func.__module__ == module.__name__:
            for signature, compiled in function.overloads.items():
                types = compiled.type_annotation.typemap.items()
                double = [variable for variable, kind in types if "float64" in str(kind)]
                print(f"{path.stem}.{name}", *double)
"""


@pytest.mark.slow
def test_no_kernel_computes_float32_in_float64(tmp_path):
    """One Python number in a kernel would promote all that follows it, and take twice as long."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop("NUMBA_DISABLE_JIT", None)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", DRIVE, str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if "_numba._" in line]
    assert len(lines) >= 12
    assert [line for line in lines if len(line) > 1] == []
