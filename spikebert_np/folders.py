"""Where the package keeps what it fetches and compiles."""

import os
from pathlib import Path


def user_folder():
    """$SPIKEBERT_HOME, or ~/.cache/spikebert_np. Raises RuntimeError for a user without a home."""
    home = os.environ.get("SPIKEBERT_HOME")
    return Path(home) if home else Path.home() / ".cache" / "spikebert_np"
