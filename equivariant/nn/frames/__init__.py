"""Equivariance by frames: the principal axes of a cloud, and means over them."""
