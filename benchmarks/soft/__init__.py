"""Soft equivariance: what each way of asking for a symmetry finds, and what it costs."""
