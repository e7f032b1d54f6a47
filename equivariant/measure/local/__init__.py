"""Errors of infinitesimal motions, and the symmetries that they show."""
