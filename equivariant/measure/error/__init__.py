"""The equivariance error: drawn, gathered, summarized with intervals, and what limits it."""
