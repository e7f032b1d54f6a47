"""Positives and negatives that no data holds: mixed, extrapolated, perturbed."""
