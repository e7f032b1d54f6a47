"""Vectors that stand for classes, clusters or words, and target distributions over them."""
