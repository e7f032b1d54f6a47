"""Equivariance by canonicalization: move an image to where an energy is least, then look at it."""
