"""What a training step computes: a loss from a batch, and its parts for the log."""
