"""Mechanisms that train in stages or episodes."""
