"""Parameters and gradients are flat dicts with dotted keys: `blocks.0.ssa.q.weight`."""


def select(params, prefix):
    """The entries whose key starts with prefix, under the rest of their key."""
    return {key[len(prefix) :]: value for key, value in params.items() if key.startswith(prefix)}


def with_prefix(grads, prefix):
    """The same entries with prefix put before each key."""
    return {prefix + key: value for key, value in grads.items()}
