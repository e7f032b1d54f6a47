"""Terms on columns of embeddings: variance, covariance, cross-correlation, whitening."""
