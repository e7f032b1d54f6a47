"""Benchmarks of networks on parts."""
