"""Floor 3: reads models and trains nothing."""
