"""Rotations from three turns about fixed axes."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.shapes import Rotation, Vector3


def turn(angles: Vector3, order: str, *, degrees: bool) -> Rotation:
    """Turns about the fixed axes x, y and z, one after another.

    For the order "xyz", R = R_z R_y R_x: the turn about x is made first.

    Args:
        angles: About x, y and z in this order, whatever ``order`` is, shape (..., 3).
        order: "xyz" or another order of these letters; the first is made first.
        degrees: Whether angles are in degrees; else radians.

    Returns:
        Shape (..., 3, 3).

    Example:
        >>> quarter = torch.tensor([90.0, 0.0, 90.0], dtype=torch.float64)
        >>> (turn(quarter, "xyz", degrees=True) @ torch.tensor([0.0, 1, 0]).double()).round().abs()
        tensor([0., 0., 1.], dtype=torch.float64)
    """
    radians = torch.deg2rad(angles) if degrees else angles
    rotation = torch.eye(3, dtype=angles.dtype, device=angles.device)
    for letter in order:
        k = "xyz".index(letter)
        rotation = _about(k, radians[..., k]) @ rotation
    return rotation


def _about(axis: int, angle: Tensor) -> Tensor:
    """The turn about one axis of space, shape (..., 3, 3)."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation = angle.new_zeros(*angle.shape, 3, 3)
    rotation[..., axis, axis] = 1.0
    rotation[..., i, i] = rotation[..., j, j] = angle.cos()
    rotation[..., j, i] = angle.sin()
    rotation[..., i, j] = -angle.sin()
    return rotation
