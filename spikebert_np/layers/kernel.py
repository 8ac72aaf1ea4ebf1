"""How the Numba twins are compiled: at the first call, and kept on disk for the next process.

Numba compiles anew where the file of a kernel has changed. A kernel also holds what it inlines from
other files, `surrogate_numba.py` above all, and of those Numba sees no change: an edited backward
pass would silently not run. So each state of all the kernels' files has a cache folder of its own.
One that no process has begun with for 30 days is deleted; a process that still runs has its kernels
in memory, and Numba makes the folder again for the next one it compiles.

The first compilation, which takes about a minute in all, is announced by one line.

A kernel runs on the thread that calls it and starts no other, so that Numba's own threads, which
would fight with those of the matrix products and allow one caller at a time, never come to life.
Any number of Python's threads may call kernels at once: `training/workers.py` has one a core.

A division by zero gives infinity or NaN, as in NumPy. Python's exception instead would be a branch
in every loop that divides, and no such loop vectorises: layer norm + LIF then takes three times as
long.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from ..errors import InputError
from ..folders import user_folder

PACKAGE = Path(__file__).parents[1]
UNUSED_SECONDS = 30 * 24 * 3600


def kernel(**options):
    """A decorator: `numba.njit` that lets go of the GIL, cached in `cache_folder`."""
    from numba import config, njit

    _announce_compilation()

    def decorate(function):
        # Numba settles where a function is cached while it decorates it. The host's own kernels
        # go where they went before.
        users = config.CACHE_DIR
        config.CACHE_DIR = str(cache_folder(users))
        try:
            return njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        finally:
            config.CACHE_DIR = users

    return decorate


@cache
def _announce_compilation():
    """Have the first kernel that is compiled, and not read from disk, say so on standard error."""
    from numba.core import event

    event.register("numba:compile", announcer())


def announcer():
    """A listener to Numba's compilations, which speaks once, of this package's kernels alone."""
    from numba.core import event

    class Announcer(event.Listener):
        said = False

        def on_start(self, event):
            module = event.data["dispatcher"].py_func.__module__ or ""
            if sys.stderr and not self.said and module.startswith(__package__.partition(".")[0]):
                self.said = True
                print(
                    "Compiling kernels, each once: up to a minute ...",
                    file=sys.stderr,
                    flush=True,
                )

        def on_end(self, event):
            pass

    return Announcer()


def cache_folder(users=""):
    """kernels/<digest of every *_numba.py>, made, in the first of these that can be written to:
    users ($NUMBA_CACHE_DIR, where it is set; else `user_folder()`), a temporary folder."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*_numba.py")):
        digest.update(path.read_bytes() + b"\0")
    inside = Path("kernels") / digest.hexdigest()
    try:
        return _writable((Path(users) if users else user_folder()) / inside)
    except (OSError, InputError):
        return _writable(_temporary_folder() / inside)


def _writable(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
    os.utime(folder)
    _delete_unused(folder.parent)
    return folder


def _delete_unused(kernels):
    # Two processes may do so at once, and a folder may be none of ours.
    for folder in kernels.iterdir():
        with suppress(OSError):
            unused = time.time() - folder.stat().st_mtime > UNUSED_SECONDS
            if unused and re.fullmatch("[0-9a-f]{64}", folder.name):
                shutil.rmtree(folder)


def _temporary_folder():
    """One for each user: what is read from it is run, so nobody else may have written it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"spikebert_np-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder if folder.lstat().st_uid == user else Path(tempfile.mkdtemp())
