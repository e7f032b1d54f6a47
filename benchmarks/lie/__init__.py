"""Lie group decomposition networks: what their sampling costs and what it is worth."""
