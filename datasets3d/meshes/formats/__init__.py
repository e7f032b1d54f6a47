"""Legal constructs of mesh files that the reader does not know, rewritten in ones it does."""
