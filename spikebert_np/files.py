"""Files read and written so that neither a damaged one nor a kill ends in a riddle."""

import json
import os

from .errors import InputError


def read_json(path, *, remedy, missing=None):
    """The object in a JSON file, a dict. Raises InputError, which ends with `remedy`, or where
    there is no file with `missing`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {missing or remedy}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); {remedy}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object; {remedy}")
    return value


def write_atomically(path, write):
    """Call write(temporary path), then rename: a reader never sees half a file, and one that could
    not be written leaves nothing behind.

    Raises InputError for a path that is a folder or a device, which a rename would replace.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a file; name another")
    temporary = path.with_name(path.name + ".part")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:  # not behind the rename: the name may be another writer's by then
        temporary.unlink(missing_ok=True)
        raise


def refuse_unwritable(flag, path, endings):
    """Raises InputError where the file that a flag names cannot be made: before the work it is to
    hold, not behind it. endings: those that it may have, such as .png, in any case."""
    if path.suffix.lower() not in endings:
        raise InputError(f"{flag} {path}: end it in {', '.join(endings[:-1])} or {endings[-1]}")
    if not path.parent.is_dir():
        raise InputError(f"{flag} {path}: there is no folder {path.parent}; make it")
    if path.exists() and not path.is_file():
        raise InputError(f"{flag} {path}: is not a file; name another")


def refuse_taken(out):
    """Raises InputError where a path that is to be made is there already."""
    if os.path.lexists(out):
        raise InputError(f"{out}: exists already; name another --out, or delete it first")
