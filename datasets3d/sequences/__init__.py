"""Sequences of views of one object, with the element of every step."""
