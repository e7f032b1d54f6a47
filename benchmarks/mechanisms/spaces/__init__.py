"""Experiments on what shapes a space: fixed directions, whitening, temperatures, weights, heads."""
