"""Molecules with energies and forces: files, and graphs."""
