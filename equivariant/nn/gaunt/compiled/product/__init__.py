"""Kernels of products: sums over the coefficients that are not zero."""
