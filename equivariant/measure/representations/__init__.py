"""What a representation knows: retrieval, probes, scores, collapse."""
