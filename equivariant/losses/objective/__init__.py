"""Objectives as data: terms, steps before them, and their weighted sum."""
