"""Kernels of convolutions: gather, multiply, add up, edge by edge."""
