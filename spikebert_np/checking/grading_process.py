"""A fresh process for a learner's code: begun, held to its limits, and ended for good."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from .grading_copy import PACKAGE, copy_package
from .grading_peer import Peer

STARTING = 60  # seconds, beside those of a cell, that a process has to begin
BEGIN = """
import sys
read, write, memory, seconds, folder, package, chapters, sys.path[:] = {settings}
from spikebert_np.checking.grading_worker import main
main(read, write, memory, seconds, folder, package, chapters)
"""


class Limits(NamedTuple):
    """What a notebook may use up."""

    seconds: float = 120  # of one cell, and of one answer
    total: float = 900  # seconds of a whole notebook
    memory: int = 4 << 30  # bytes of address space


class Late(BaseException):
    """The time is over. No `except Exception` catches it."""


@contextmanager
def alarm(seconds):
    """Raise Late within, after so many seconds. An alarm that was set before waits."""

    def ring(*_):
        raise Late

    handler = signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)


class Process:
    """The process. Its package is a copy, in which functions of the given names are emptied."""

    def __init__(self, names, limits, targets, run):
        """targets, run: of the Peer on this side."""
        self.folder = Path(tempfile.mkdtemp(prefix="spikebert-grade-")).resolve()
        try:
            self._begin(names, limits, targets, run)
        except BaseException:  # a full disk, Ctrl-C
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _begin(self, names, limits, targets, run):
        self.emptied = copy_package(self.folder, names)
        chapters = sorted(path.stem for path in Path(__file__).parent.glob("chapter_*.py"))
        theirs_read, write = os.pipe()
        read, theirs_write = os.pipe()
        cpu_seconds = int(limits.total) + STARTING
        settings = (
            theirs_read, theirs_write, limits.memory, cpu_seconds, str(self.folder),
            str(PACKAGE.resolve()), chapters, [str(self.folder), *sys.path],
        )  # fmt: skip
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        own = {"TMPDIR": str(self.folder), "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"}
        self.errors = (self.folder / "errors").open("w+", encoding="utf-8", errors="replace")
        # -I -S: it finds what `sys.path` says and no more; nothing of the user's runs at its start.
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", BEGIN.format(settings=settings)],
            cwd=self.folder,
            env=kept | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            pass_fds=(theirs_read, theirs_write),
            start_new_session=True,
        )
        os.close(theirs_read)
        os.close(theirs_write)
        self.peer = Peer(os.fdopen(read, "rb"), os.fdopen(write, "wb"), targets, run)

    def last_error(self):
        """The last line that it wrote on its standard error."""
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or ["no word of why"])[-1]

    def how_it_ended(self, end):
        """A sentence. end: the Ended that was raised."""
        try:
            status = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return f"Its process stopped to make sense ({end})."
        if status < 0:
            return f"Its process was ended by {signal.Signals(-status).name}."
        return f"It ended its process, with status {status}."

    def end(self):
        """End it, whatever it is at, and remove its folder."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.peer.reader, self.peer.writer, self.errors):
            with suppress(OSError):  # of what was not sent yet
                stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)
