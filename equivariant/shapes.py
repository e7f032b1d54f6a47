"""Named tensor annotations (jaxtyping). They document; under pytest they are checked.

Batch axes lead and are written ``...``; an element of a group is a square matrix.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

Matrix = Float[Tensor, "... n n"]
"""Elements of a matrix group."""

RepresentationMatrix = Float[Tensor, "... dim dim"]
"""Matrices of a representation."""

Coordinates = Float[Tensor, "... d"]
"""Coordinates in the basis of a Lie algebra."""

Rotation = Float[Tensor, "... 3 3"]
"""Rotation matrices acting on columns."""

Quaternion = Float[Tensor, "... 4"]
"""Unit quaternions; the order of components stands in the function's name."""

Vector3 = Float[Tensor, "... 3"]
"""Vectors or triples of angles."""

Vector = Float[Tensor, "... dim"]
"""Vectors of a representation space."""

Scalar = Float[Tensor, "..."]
"""Numbers, one per batch entry."""

Grid = Float[Tensor, "..."]
"""Fields sampled on a regular grid, channels first: (..., channels, *sizes)."""

Mask = Bool[Tensor, "..."]
"""Which places of a grid count."""

Images = Float[Tensor, "batch channel height width"]
"""Images as a network sees them."""

__all__ = [
    "Bool", "Coordinates", "Float", "Grid", "Images", "Int", "Mask", "Matrix", "Quaternion",
    "RepresentationMatrix", "Rotation", "Scalar", "UInt8", "Vector", "Vector3",
]  # fmt: skip
