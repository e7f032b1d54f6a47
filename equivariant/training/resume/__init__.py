"""Stopping and going on exactly: checkpoints, what has to agree, random numbers of a step."""
