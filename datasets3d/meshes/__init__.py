"""Objects: folders of mesh files, procedural shapes, and variants of either."""
