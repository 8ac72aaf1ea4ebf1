"""Checks of hand-written gradients, used by tests and tutorials."""
