"""Floor 4: optimiser, schedule, checkpoints, distillation losses, the loop."""
