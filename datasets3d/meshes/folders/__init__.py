"""What folders of mesh files need: names of objects, archives that are unpacked."""
