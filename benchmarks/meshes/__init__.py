"""Readers of mesh files, compared construct by construct."""
