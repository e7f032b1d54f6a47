"""Named tensor annotations (jaxtyping). They document; under pytest they are checked.

Batch axes lead and are written ``*batch``; an element of a group is a square matrix.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

Matrix = Float[Tensor, "*batch n n"]
"""Elements of a matrix group, or the matrices of a representation."""

Coordinates = Float[Tensor, "*batch d"]
"""Coordinates in the Lie algebra's basis, or any vectors."""

Rotation = Float[Tensor, "*batch 3 3"]
"""Rotation matrices acting on columns."""

Quaternion = Float[Tensor, "*batch 4"]
"""Unit quaternions; the order of components stands in the function's name."""

Vector3 = Float[Tensor, "*batch 3"]
"""Vectors or triples of angles."""

Representation = Float[Tensor, "*batch dim"]
"""Vectors of a representation space."""

Images = Float[Tensor, "batch channel height width"]
"""Images as a network sees them."""

__all__ = [
    "Bool", "Coordinates", "Float", "Images", "Int", "Matrix", "Quaternion",
    "Representation", "Rotation", "UInt8", "Vector3",
]  # fmt: skip
