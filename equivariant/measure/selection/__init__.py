"""Choosing among examples, and what players of a game are worth together."""
