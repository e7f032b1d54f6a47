"""Powers of a function on the sphere: many-body features."""
