"""Mechanisms that make views, trained or exact."""
