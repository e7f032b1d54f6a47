"""Functions on the sphere: real harmonics, exact grids, coupling coefficients, Wigner matrices."""
