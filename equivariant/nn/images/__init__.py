"""Encoders of images, and weights published for them."""
