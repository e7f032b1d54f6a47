"""Kernels of powers: squares and cubes, and their weighted sums."""
