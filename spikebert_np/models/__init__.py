"""Floor 2: whole networks, each with a frozen config dataclass."""
