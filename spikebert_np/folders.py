"""Where the package keeps what it fetches and compiles."""

import os
from pathlib import Path

from .errors import InputError


def user_folder():
    """$SPIKEBERT_HOME, or ~/.cache/spikebert_np. Raises InputError for a user without a home."""
    if home := os.environ.get("SPIKEBERT_HOME"):
        return Path(home)
    try:
        return Path.home() / ".cache" / "spikebert_np"
    except RuntimeError:
        raise InputError("this user has no home folder; set SPIKEBERT_HOME to a folder") from None
