"""Rotations of space, and the borders to quaternions and Euler angles.

Conventions: matrices act on columns; a rotation vector points along the axis and its length is
the angle in radians, right-handed. Quaternions are unit and their order of components stands in
every name. Extrinsic xyz Euler angles (a, b, c) mean R = Rz(c) Ry(b) Rx(a).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from equivariant.errors import ShapeError
from equivariant.groups.base import Group
from equivariant.groups.membership import orthogonality_defect
from equivariant.groups.nearest_orthogonal import nearest_orthogonal
from equivariant.groups.numerics import near_zero, power_series, random_normal, safe_norm
from equivariant.groups.reductive import Reductive
from equivariant.shapes import (
    Coordinates,
    Float,
    Matrix,
    Quaternion,
    Rotation,
    Scalar,
    Vector3,
)

# Power series in t = θ² about 0.
_SINC = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880)
_COSC = (1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800)
# arcsin(s) / s in t = s².
_ASINC = (1.0, 1 / 6, 3 / 40, 15 / 336, 105 / 3456, 945 / 42240)


@dataclass(frozen=True)
class SO3(Reductive):
    """Rotations of space; coordinates are the rotation vector in radians.

        exp(w) = I + (sin θ / θ) [w]× + ((1 - cos θ) / θ²) [w]×²,   θ = |w|

    The logarithm goes through the unit quaternion, which is well conditioned everywhere: near
    the identity, near a half turn, and at both. At an exact half turn, where w and -w are equally
    short, the first component of w that is not zero is positive.

    Example:
        >>> w = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
        >>> bool(torch.allclose(SO3().log(SO3().exp(w)), w, atol=1e-15))
        True
    """

    compact: ClassVar[bool] = True
    dim: ClassVar[int] = 3
    matrix_size: ClassVar[int] = 3
    space_dim: ClassVar[int] = 3
    orthogonal_dim: ClassVar[int] = 3
    preserves_lengths: ClassVar[bool] = True
    direction_names: ClassVar[tuple[str, ...]] = ("turn x", "turn y", "turn z")

    @property
    def orthogonal_subgroup(self) -> Group:
        return self

    def stretches(self) -> Float[Tensor, "k n"]:
        return torch.zeros(0, 3, dtype=torch.float64)

    def basis(self) -> Float[Tensor, "d n n"]:
        return skew(torch.eye(3, dtype=torch.float64))

    def exp(self, coordinates: Coordinates) -> Matrix:
        self.check_coordinates(coordinates)
        t = coordinates.square().sum(-1)
        sinc = near_zero(t, threshold=0.01, series=_SINC, otherwise=lambda t: _sinc(t.sqrt()))
        cosc = near_zero(
            t, threshold=0.01, series=_COSC, otherwise=lambda t: 0.5 * _sinc(t.sqrt() / 2) ** 2
        )
        k = skew(coordinates)
        eye = torch.eye(3, dtype=k.dtype, device=k.device)
        return eye + sinc[..., None, None] * k + cosc[..., None, None] * (k @ k)

    def log(self, g: Matrix) -> Coordinates:
        self.check_member(g)
        return rotation_vector_from_quaternion_xyzw(quaternion_xyzw_from_matrix(g))

    def defect(self, g: Matrix) -> Scalar:
        return orthogonality_defect(g, special=True)

    def inverse(self, g: Matrix) -> Matrix:
        self.check_element(g)
        return g.transpose(-1, -2)

    def draw(
        self, batch: tuple[int, ...], *, generator: torch.Generator, scale: float = 1.0
    ) -> Matrix:
        q = random_normal((*batch, 4), generator=generator)
        q = q / torch.linalg.vector_norm(q, dim=-1, keepdim=True)
        return matrix_from_quaternion_xyzw(q)

    def project(self, matrix: Matrix) -> Matrix:
        self.check_element(matrix, "matrix")
        return nearest_orthogonal(matrix, special=True)


def skew(v: Vector3) -> Rotation:
    """Cross-product matrix: ``skew(v) @ x = v × x``, shape (..., 3, 3)."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*x.shape, 3, 3)


def quaternion_xyzw_from_matrix(rotation: Rotation) -> Quaternion:
    """Unit quaternion of a rotation, scalar last, scalar at least 0.

    The outer product 4 q qᵀ is linear in the matrix; its row with the largest diagonal entry is
    q times a number of modulus at least 1, so nothing is lost to cancellation at any rotation.

    Args:
        rotation: Shape (..., 3, 3).

    Returns:
        Shape (..., 4), order x, y, z, w, w >= 0. At a half turn (w = 0) the first component that
        is not zero is positive.

    Example:
        >>> quaternion_xyzw_from_matrix(torch.eye(3))
        tensor([0., 0., 0., 1.])
    """
    SO3().check_element(rotation, "rotation")
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in rotation.unbind(-2))
    outer = torch.stack(
        [
            torch.stack([1 + a - e - i, b + d, c + g, h - f], -1),
            torch.stack([b + d, 1 - a + e - i, f + h, c - g], -1),
            torch.stack([c + g, f + h, 1 - a - e + i, d - b], -1),
            torch.stack([h - f, c - g, d - b, 1 + a + e + i], -1),
        ],
        -2,
    )
    largest = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(outer, largest[..., None, None], -2).squeeze(-2)
    q = row / safe_norm(row).unsqueeze(-1)
    return q * _sign_to_canonical(q)


def _sign_to_canonical(q: Quaternion) -> Tensor:
    """±1 that makes w, or at w = 0 the first component that is not zero, positive."""
    order = torch.stack([q[..., 3], q[..., 0], q[..., 1], q[..., 2]], -1).detach().sign()
    first = (order != 0).to(torch.uint8).argmax(-1, keepdim=True)
    sign = torch.take_along_dim(order, first, -1)
    return torch.where(sign == 0, 1.0, sign)


def matrix_from_quaternion_xyzw(quaternion: Quaternion) -> Rotation:
    """Rotation of a quaternion, scalar last; q and -q give the same.

    Args:
        quaternion: Shape (..., 4), any length but zero: it is normalized.

    Returns:
        Shape (..., 3, 3).

    Raises:
        ShapeError: The last axis is not 4.
    """
    if quaternion.shape[-1:] != (4,):
        raise ShapeError(
            expected="quaternions of shape (..., 4), scalar last",
            got=f"shape {tuple(quaternion.shape)}",
            argument="quaternion",
            advice="Order the components x, y, z, w along the last axis.",
        )
    x, y, z, w = quaternion.unbind(-1)
    s = 2.0 / quaternion.square().sum(-1)
    return torch.stack(
        [
            1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w),
            s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w),
            s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y),
        ],
        -1,
    ).reshape(*x.shape, 3, 3)  # fmt: skip


def rotation_vector_from_quaternion_xyzw(quaternion: Quaternion) -> Vector3:
    """Rotation vector ``2 arctan2(|v|, w) v / |v|`` of a unit quaternion q = (v, w).

    Args:
        quaternion: Unit, scalar last, shape (..., 4). Its sign is kept: with w < 0 the angle
            exceeds π.

    Returns:
        Shape (..., 3), length in [0, 2π].
    """
    v, w = quaternion[..., :3], quaternion[..., 3]
    t = v.square().sum(-1)
    near_identity = (t < 1e-3) & (w > 0)
    series = 2.0 * power_series(torch.where(near_identity, t, 0.0), _ASINC)
    norm = torch.where(near_identity | (t == 0), 1.0, t).sqrt()
    factor = torch.where(near_identity, series, 2.0 * torch.atan2(norm, w) / norm)
    return factor.unsqueeze(-1) * v


def quaternion_xyzw_product(p: Quaternion, q: Quaternion) -> Quaternion:
    """Hamilton product p q, scalar last: the rotation of q, then that of p."""
    pv, pw, qv, qw = p[..., :3], p[..., 3:], q[..., :3], q[..., 3:]
    pv, qv = torch.broadcast_tensors(pv, qv)
    vector = pw * qv + qw * pv + torch.linalg.cross(pv, qv)
    return torch.cat([vector, pw * qw - (pv * qv).sum(-1, keepdim=True)], -1)


def relative_quaternion_xyzw(pose_a: Rotation, pose_b: Rotation) -> Quaternion:
    """q_a⁻¹ q_b, where each quaternion is composed of its rotation's extrinsic xyz Euler angles.

    This is the rotation target of 3DIEBench's protocol; the scalar part may be negative. A
    matrix tells its angles (a, b, c) only with b in [-π/2, π/2]. Where angles were recorded with
    b outside, the published sign follows from them alone: use
    :func:`relative_quaternion_xyzw_of_angles`.

    Args:
        pose_a: World from object in the first view, shape (..., 3, 3).
        pose_b: The same of the second view.

    Returns:
        Shape (..., 4), order x, y, z, w.

    Source: Garrido et al. 2023, published code.
    """
    return relative_quaternion_xyzw_of_angles(
        euler_xyz_extrinsic_from_matrix(pose_a), euler_xyz_extrinsic_from_matrix(pose_b)
    )


def relative_quaternion_xyzw_of_angles(angles_a_rad: Vector3, angles_b_rad: Vector3) -> Quaternion:
    """q_a⁻¹ q_b with the sign of the published code, whatever the angles.

    Args:
        angles_a_rad: Extrinsic xyz Euler angles of the first view, shape (..., 3), radians.
        angles_b_rad: The same of the second view.

    Returns:
        Shape (..., 4), order x, y, z, w.

    Source: Garrido et al. 2023, published code.
    """
    q_a = quaternion_xyzw_from_euler_xyz_extrinsic(angles_a_rad)
    q_b = quaternion_xyzw_from_euler_xyz_extrinsic(angles_b_rad)
    return quaternion_xyzw_product(torch.cat([-q_a[..., :3], q_a[..., 3:]], -1), q_b)


def quaternion_xyzw_from_euler_xyz_extrinsic(angles_rad: Vector3) -> Quaternion:
    """q = q_z(c) q_y(b) q_x(a), each of half its angle; the sign changes with a turn of 2π.

    Args:
        angles_rad: (a, b, c), shape (..., 3), radians.

    Returns:
        Shape (..., 4), order x, y, z, w, as SciPy's ``from_euler("xyz", ...).as_quat()``.

    Example:
        >>> quaternion_xyzw_from_euler_xyz_extrinsic(torch.zeros(3))
        tensor([0., 0., 0., 1.])
    """
    (ca, cb, cc) = (0.5 * angles_rad).cos().unbind(-1)
    (sa, sb, sc) = (0.5 * angles_rad).sin().unbind(-1)
    return torch.stack(
        [
            sa * cb * cc - ca * sb * sc,
            ca * sb * cc + sa * cb * sc,
            ca * cb * sc - sa * sb * cc,
            ca * cb * cc + sa * sb * sc,
        ],
        -1,
    )


def matrix_from_euler_xyz_extrinsic(angles_rad: Vector3) -> Rotation:
    """R = Rz(c) Ry(b) Rx(a) of angles (a, b, c): turns about the fixed axes x, then y, then z.

    The convention of 3DIEBench's latents, SciPy's ``from_euler("xyz", ...)`` in lower case.

    Args:
        angles_rad: Shape (..., 3), radians.

    Returns:
        Shape (..., 3, 3).
    """
    (ca, cb, cc), (sa, sb, sc) = angles_rad.cos().unbind(-1), angles_rad.sin().unbind(-1)
    return torch.stack(
        [
            cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa,
            sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa,
            -sb, cb * sa, cb * ca,
        ],
        -1,
    ).reshape(*ca.shape, 3, 3)  # fmt: skip


def euler_xyz_extrinsic_from_matrix(rotation: Rotation) -> Vector3:
    """Angles (a, b, c) with R = Rz(c) Ry(b) Rx(a), b in [-π/2, π/2], a and c in (-π, π].

    At gimbal lock (b = ±π/2), where only one combination of a and c is determined, a = 0.

    Args:
        rotation: Shape (..., 3, 3).

    Returns:
        Shape (..., 3), radians.
    """
    SO3().check_element(rotation, "rotation")
    cos_b = safe_norm(rotation[..., :2, 0])
    locked = cos_b < 32 * torch.finfo(rotation.dtype).eps
    a = torch.where(locked, 0.0, torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2]))
    b = torch.atan2(-rotation[..., 2, 0], cos_b)
    c = torch.where(
        locked,
        torch.atan2(-rotation[..., 0, 1], rotation[..., 1, 1]),
        torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0]),
    )
    return torch.stack([a, b, c], -1)


def rotation_angle(rotation: Rotation) -> Scalar:
    """Angle in [0, π] of a rotation, accurate at both ends, shape (...)."""
    SO3().check_member(rotation, "rotation")
    q = quaternion_xyzw_from_matrix(rotation)
    return 2.0 * torch.atan2(safe_norm(q[..., :3]), q[..., 3])


def _sinc(x: Tensor) -> Tensor:
    return x.sin() / x
