"""What averaging over a group says of a model: the share of a loss, the irreps of features."""
