"""Mechanisms on graphs of points and meshes."""
