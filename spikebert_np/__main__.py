"""`python -m spikebert_np` is `spikebert`."""

from .cli import main

raise SystemExit(main())
