"""Renderers: arrays in, arrays out."""
