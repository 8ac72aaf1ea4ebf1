"""Floor 5: what `spikebert bench` measures, one subject a file."""
