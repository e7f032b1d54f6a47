"""Networks on clouds of points, and the layers that they share."""
