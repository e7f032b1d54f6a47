"""Clouds of points on surfaces."""
