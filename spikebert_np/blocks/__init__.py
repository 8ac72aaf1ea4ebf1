"""Floor 1: compositions of layers, each with its own hand-written backward pass."""
