"""How a process is set up for training: what its threads wait for, what it does with memory, and
where its products change from events to dense.

A setting that the environment has already is left alone, and but for the last nothing here changes
a result.

Threads. The compiled kernels run on the thread that calls them and start no others; only the matrix
products have a pool, OpenBLAS's. After each product its idle threads spin for 2^26 processor cycles
in case of another, which costs a core 25 ms; a network's next product is further off than that, or
at once. `let_blas_sleep` sends them to sleep after 2^4 cycles, by OPENBLAS_THREAD_TIMEOUT, which
OpenBLAS reads while NumPy is first imported: importing `spikebert_np` before NumPy is enough, and
after it changes nothing.

Memory. glibc gives a large array's pages back to the system when the array is freed and asks for
new ones, cleared, for the next: a tenth of a training step's time. `keep_freed_memory` has it keep
them for the next array. This is for the command line, whose process is ours; a program that imports
the package decides for itself.

Products. Those of spikes go by events where few of them fire, and else are dense (`linear_numba`).
The two add up in another order and so round differently: which share is the last for events decides
the last bits of a training run, and by them, after enough steps, its epochs. So it is one number
for all machines, and nothing measures one and changes it by itself; SPIKEBERT_EVENTS_UP_TO does, if
the user sets it, and belongs to a run as its seed does.
"""

import ctypes
import os
import sys
from contextlib import suppress

from .errors import InputError

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEPT_BYTES = 1 << 30

# The share of non-zeros above which BLAS is faster, forward pass and dW together: one thread each,
# float32, 3,000 rows, widths from 256 to 1536.
EVENTS_UP_TO = 0.22


def let_blas_sleep():
    """Idle threads of matrix products sleep, if NumPy is not imported yet."""
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")


def keep_freed_memory():
    """Freed arrays are used again; True where the C library can do so and was let."""
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no glibc: macOS, Windows, musl
        return False
    # One heap for all threads: that of another thread is capped, so that an array would not fit.
    done = [
        mallopt(name, value) for name, value in ((M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 1))
    ]
    # Before 2.35 glibc refuses a threshold above 32 MiB.
    done.append(mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) or mallopt(M_MMAP_THRESHOLD, 32 << 20))
    return all(done)


def give_freed_memory_back():
    """What is kept of freed arrays goes back to the system, where the C library can do so."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def events_up_to():
    """The share of non-zeros up to which a product of spikes goes by events: EVENTS_UP_TO, or what
    the variable SPIKEBERT_EVENTS_UP_TO says. Raises InputError where that is no share."""
    text = os.environ.get("SPIKEBERT_EVENTS_UP_TO")
    if not text:
        return EVENTS_UP_TO
    with suppress(ValueError):
        if 0 <= (share := float(text)) <= 1:
            return share
    raise InputError(
        f"SPIKEBERT_EVENTS_UP_TO = {text}: set it to a share from 0 to 1, such as {EVENTS_UP_TO}, "
        "or unset it"
    )
