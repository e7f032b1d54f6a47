"""Convolutions of features with filters on the edges of a graph."""
