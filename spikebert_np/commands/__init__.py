"""What each `spikebert` command does; cli.py parses and calls."""
