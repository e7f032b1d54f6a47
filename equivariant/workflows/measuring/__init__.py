"""Measurements of models: of runs, of other people, under moved parts, and what is kept of them."""
