"""Geometric deep learning with symmetry.

One idea holds the package together: a representation is a vector with a declared action of a
group, (g, z) ↦ ρ(g) z. Losses move by that action, and measurements compare with it.
"""

__version__ = "0.1.0"
