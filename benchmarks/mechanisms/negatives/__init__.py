"""Mechanisms of negatives and temperatures: which rows push, how hard, and rows that are made."""
