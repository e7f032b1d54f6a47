"""Kernels for the CPU, compiled by Numba: products, edges, powers."""
