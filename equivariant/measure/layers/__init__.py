"""Which layer breaks equivariance: by attribution, by its weights, by replacing it."""
