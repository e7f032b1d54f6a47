"""Extrinsic xyz angles of a rotation: to a matrix and back, and laws of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def rotation_matrix(latents: NDArray[np.float64]) -> NDArray[np.float64]:
    """World from object, R = Rz(c) Ry(b) Rx(a), of latents of shape (..., 3 or more).

    Returns:
        Shape (..., 3, 3), float64.

    Example:
        >>> (rotation_matrix(np.zeros(7)) + 0.0).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    angles = np.moveaxis(np.asarray(latents, np.float64)[..., :3], -1, 0)
    (ca, cb, cc), (sa, sb, sc) = np.cos(angles), np.sin(angles)
    rows = [
        cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa,
        sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa,
        -sb, cb * sa, cb * ca,
    ]  # fmt: skip
    return np.stack(rows, -1).reshape(*angles.shape[1:], 3, 3)


def angles_of(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The angles (a, b, c) of a rotation R = Rz(c) Ry(b) Rx(a), |b| <= π/2.

    They are the only ones with |a|, |c| <= π unless |b| = π/2, where a is taken to be 0.

    Args:
        rotation: Shape (3, 3).

    Returns:
        Shape (3,), float64.

    Example:
        >>> angles_of(rotation_matrix(np.array([0.3, -1.2, 2.5]))).round(12).tolist()
        [0.3, -1.2, 2.5]
    """
    cosine = math.hypot(rotation[0, 0], rotation[1, 0])
    b = math.atan2(-rotation[2, 0], cosine)
    if cosine < 1e-9:
        return np.array([0.0, b, math.atan2(-rotation[0, 1], rotation[1, 1])])
    a = math.atan2(rotation[2, 1], rotation[2, 2])
    return np.array([a, b, math.atan2(rotation[1, 0], rotation[0, 0])])


def turn_about(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation by |w| about w (Rodrigues): I + sin θ K + (1 - cos θ) K².

    Args:
        vector: w in radians, shape (3,).

    Returns:
        Shape (3, 3), float64.
    """
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned: NDArray[np.float64] = np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * (k @ k)
    return turned


def shell_angles(u: NDArray[np.float64], inner: float, outer: float) -> NDArray[np.float64]:
    """Angles uniform in a box, given that at least one is beyond an inner box.

    The box is |a|, |c| <= outer, |b| <= min(outer, π/2), in which different angles are different
    rotations, so that no rotation of the inner box comes under other angles. The angles are drawn
    one after another: a from its marginal law; where |a| > inner, b and c freely, else b from its
    law given that; and so on. With the half sides A, B and i, j of the boxes,

        P(|a| > i) = (A - i) B A / (A B A - i j i),
        P(|b| > j given |a| <= i) = (B - j) A / (B A - j i).

    Args:
        u: Uniform numbers, shape (3,).
        inner: Half the inner side i, radians; j = min(i, π/2).
        outer: Half the outer side A, radians, larger.

    Returns:
        (a, b, c), shape (3,), float64.
    """
    side_b, inner_b = min(outer, math.pi / 2), min(inner, math.pi / 2)
    whole = outer * side_b * outer - inner * inner_b * inner
    share_a = (outer - inner) * side_b * outer / whole
    free = 2.0 * u - 1.0
    b, c = side_b * free[1], outer * free[2]
    if u[0] < share_a:
        return np.array([_beyond(u[0] / share_a, inner, outer), b, c])
    a = inner * (2.0 * (u[0] - share_a) / (1.0 - share_a) - 1.0)
    share_b = (side_b - inner_b) * outer / (side_b * outer - inner_b * inner)
    if u[1] < share_b:
        return np.array([a, _beyond(u[1] / share_b, inner_b, side_b), c])
    b = inner_b * (2.0 * (u[1] - share_b) / (1.0 - share_b) - 1.0)
    return np.array([a, b, _beyond(u[2], inner, outer)])


def _beyond(u: float, inner: float, outer: float) -> float:
    """Uniform in ±[inner, outer]."""
    side = 2.0 * u - 1.0
    return math.copysign(inner + (outer - inner) * abs(side), side)
