"""Temperatures: fixed, scheduled, learned, or of single anchors and pairs."""
