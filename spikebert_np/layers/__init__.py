"""Floor 0: one primitive a file, each a name_forward / name_backward pair."""
