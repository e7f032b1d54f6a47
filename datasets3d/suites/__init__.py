"""Several sets of the same objects under different laws of a view."""
