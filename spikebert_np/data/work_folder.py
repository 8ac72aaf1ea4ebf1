"""The hidden folder that long work is done in, `.NAME.partial` beside its own `NAME`.

A record in it says what is being made. A worker that was killed at any moment, or met a full disk,
goes on where it was when it is called again for the same; another is refused.
"""

import json
import os
from contextlib import contextmanager

from ..errors import InputError
from ..files import read_json, refuse_taken, write_atomically

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def work_folder(out, record, about, prepare=None):
    """`with work_folder(...) as (folder, before):`, before None in a new folder, else its record.

    record: the file name of the record, about: what it says, a dict of plain numbers, strings and
    lists. prepare: called with a new folder, if given; what it returns is added to the record.

    Raises InputError where `out` is taken, where the folder holds something else, is worked in by
    another process, or cannot be made; and, with the folder kept, for an OSError in the body.
    """
    refuse_taken(out)
    folder = out.with_name(f".{out.name}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot be written ({error.strerror}); give another --out"
        ) from error
    try:
        with _locked(folder):
            refuse_taken(out)  # a process that has just ended
            path = folder / record
            before = None
            if path.exists():
                before = read_record(path, about)
            else:
                _begin(folder, path, about, prepare)
            yield folder, before
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: {error.strerror or error}; make room there, and give the "
            "same command again: it goes on where it was"
        ) from error


def read_record(path, about):
    """The record at a path. Raises InputError where it says something else than `about`."""
    folder = path.parent
    record = read_json(path, remedy=f"delete {folder} to start from the beginning")
    for key, value in json.loads(json.dumps(about)).items():
        if record.get(key) != value:
            raise InputError(
                f"{folder}: is of another run, with {key} {_short(record.get(key))} where this one "
                f"has {_short(value)}; give its settings again, or delete it"
            )
    return record


def _begin(folder, path, about, prepare):
    if prepare:
        about = about | prepare(folder)
    text = json.dumps(about, indent=2) + "\n"
    write_atomically(path, lambda part: part.write_text(text, "utf-8"))


def _short(value):
    text = str(value)
    return text if len(text) < 100 else f"{text[:100]}..."


@contextmanager
def _locked(folder):
    """Only one process at a time is inside; a killed one is not. (On Windows nothing is locked.)"""
    if not fcntl:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another process is working in it; wait for it, or name another --out"
            ) from None
        yield
    finally:
        os.close(handle)
