"""What a view knows beside its picture: depth, masks, surface points, cameras, and what follows."""
