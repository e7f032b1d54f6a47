"""Experiments of the papers, made of the parts below."""
