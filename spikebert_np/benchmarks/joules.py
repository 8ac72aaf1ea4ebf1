"""What the machine itself says of the energy or the work that was spent: joules, or instructions.

Joules are those of the whole processor package, by RAPL (Running Average Power Limit): other work
on the machine is in them. Where there is no RAPL, or it may not be read, as in most virtual
machines, the instructions of the calling thread are counted, in user mode, by Linux's
perf_event_open; where the processor does not let them be counted either, there is only time.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

RAPL = Path("/sys/class/powercap")

# Of linux/perf_event.h.
HARDWARE_INSTRUCTIONS = (0, 1)  # type, config
_SYSTEM_CALL = {"x86_64": 298, "aarch64": 241}
_SIZE = 64  # of the first version of perf_event_attr
_EXCLUDE_KERNEL = 1 << 5


class Meter(NamedTuple):
    unit: str  # "joules" or "instructions"
    read: Callable[[], float]  # so far; only differences count


def find_meter():
    """The Meter of this machine, or None where there is none."""
    if read := rapl_reader():
        return Meter("joules", read)
    if read := perf_reader(*HARDWARE_INSTRUCTIONS):
        return Meter("instructions", read)
    return None


def rapl_reader(root=RAPL):
    """A function that gives the joules of all processor packages so far, or None."""
    domains = []
    for folder in sorted(root.glob("intel-rapl:*")):
        if folder.name.count(":") == 1:  # its parts, such as intel-rapl:0:0, are in it
            try:
                if not (folder / "name").read_text().startswith("package"):
                    continue  # psys, the whole machine: the packages are in it
                wraps = int((folder / "max_energy_range_uj").read_text())
                domains.append([folder / "energy_uj", wraps, _microjoules(folder / "energy_uj"), 0])
            except OSError:  # the file is the administrator's alone
                return None

    def read():
        for domain in domains:
            path, wraps, last, _ = domain
            domain[2] = _microjoules(path)
            domain[3] += (domain[2] - last) % (wraps + 1)  # the counter begins again at 0
        return sum(total for *_, total in domains) * 1e-6

    return read if domains else None


def _microjoules(path):
    return int(path.read_text())


def perf_reader(kind, config):
    """A function that gives what a counter of perf_event_open counted so far of the calling thread,
    or None where the system has no such counter. kind, config: as in linux/perf_event.h."""
    number = _SYSTEM_CALL.get(platform.machine())
    if not number or platform.system() != "Linux":
        return None
    # type, size, config, sample_period, sample_type, read_format, flags
    fields = kind, _SIZE, config, 0, 0, 0, _EXCLUDE_KERNEL
    event = struct.pack("=IIQQQQQ", *fields).ljust(_SIZE, b"\0")
    # This thread (0) on any processor (-1), in no group (-1), closed on exec (8).
    handle = ctypes.CDLL(None, use_errno=True).syscall(number, event, 0, -1, -1, 8)
    if handle < 0:
        return None
    return lambda: float(struct.unpack("=Q", os.read(handle, 8))[0])
