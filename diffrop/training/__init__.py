"""The training loop, the weight average, and checkpoints."""
