"""Data sets that are there: whether they are whole, what mends them, and how they grow."""
