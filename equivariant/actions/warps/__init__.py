"""Fields on a grid that are moved: scalar fields of the plane and of space, interpolated."""
