"""Methods to compute a product, one file each, their registry, and which is fastest."""
