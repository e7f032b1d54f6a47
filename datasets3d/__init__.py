"""Data sets of 3D objects whose transformations are known."""
