"""Vector neurons: layers and networks whose channels are vectors of space."""
