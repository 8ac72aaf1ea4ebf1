"""What importing the package and the command line set of the process, and what they leave alone."""

import os
import subprocess
import sys

import pytest

from spikebert_np import process

TIMEOUT = "import os; print(os.environ.get('OPENBLAS_THREAD_TIMEOUT'))"


def run(code, **variables):
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_the_package_first_sends_blas_to_sleep():
    assert run(f"import spikebert_np.layers.lif; {TIMEOUT}") == "4"


def test_what_is_set_already_stays():
    timeout = run(f"import spikebert_np.layers.lif; {TIMEOUT}", OPENBLAS_THREAD_TIMEOUT="20")
    assert timeout == "20"


def test_after_numpy_nothing_is_set_and_nothing_said():
    """NumPy's threads have read the variable by then: it would only mislead."""
    assert run(f"import numpy, spikebert_np.layers.lif; {TIMEOUT}") == "None"


def test_results_of_numpy_are_the_same():
    product = (
        "import numpy as n; a = n.random.default_rng(0).random((300, 300)); print((a @ a).sum())"
    )
    assert run(f"import spikebert_np; {product}") == run(product)


FAULTS = """
import resource
import numpy as np
from spikebert_np import process

kept = process.keep_freed_memory()
np.ones(1 << 22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(1 << 22)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's own")
def test_freed_memory_is_used_again_unless_the_environment_says_otherwise():
    # NumPy would ask for large pages, whose faults are few.
    kept, faults = run(FAULTS, NUMPY_MADVISE_HUGEPAGE="0").split()
    if kept == "False":
        pytest.skip("no glibc")
    assert int(faults) < 100
    left, faults = run(FAULTS, NUMPY_MADVISE_HUGEPAGE="0", MALLOC_TRIM_THRESHOLD_="131072").split()
    assert left == "False"
    assert int(faults) > 10_000


def test_where_there_is_no_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(process.ctypes, "CDLL", lambda name: object())
    for name in list(os.environ):
        if name.startswith(("MALLOC_", "GLIBC_TUNABLES")):
            monkeypatch.delenv(name)
    assert process.keep_freed_memory() is False
