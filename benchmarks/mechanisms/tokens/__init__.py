"""Mechanisms of tokens, slots and correspondences."""
