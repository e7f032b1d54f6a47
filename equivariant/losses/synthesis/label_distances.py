"""Distances between labels: numbers, angles, rotations; every pair of two lists."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3, quaternion_xyzw_from_matrix, quaternion_xyzw_product
from equivariant.groups.numerics import safe_norm
from equivariant.shapes import Float, Int, Scalar


def absolute_difference(
    a: Float[Tensor, "n ..."] | Int[Tensor, "n ..."],
    b: Float[Tensor, "m ..."] | Int[Tensor, "m ..."],
) -> Float[Tensor, "n m"]:
    """|a_i - b_j|, summed over the components of labels that have several.

    Args:
        a: Shape (N,) or (N, ...); integers are taken as numbers.
        b: Shape (M,) or (M, ...).

    Returns:
        Shape (N, M), float32 or wider; the gradient where a_i = b_j is zero.

    Raises:
        ShapeError: Labels have different shapes.

    Example:
        >>> absolute_difference(torch.tensor([1.0, 4.0]), torch.tensor([3.0]))
        tensor([[2.],
                [1.]])
    """
    return _summed(_differences(a, b).abs())


def angle_difference(
    a: Float[Tensor, "n ..."] | Int[Tensor, "n ..."],
    b: Float[Tensor, "m ..."] | Int[Tensor, "m ..."],
    period: float,
) -> Float[Tensor, "n m"]:
    """The shorter way round a circle, min_k |a_i - b_j + k period|, summed over components.

    Args:
        a: Angles, shape (N,) or (N, ...), any representative.
        b: Angles, shape (M,) or (M, ...).
        period: One turn in the unit of the angles, positive: 2π, 360.0, or less for objects that
            look the same after part of a turn.

    Returns:
        Shape (N, M), each component in [0, period / 2].

    Raises:
        ShapeError: Labels have different shapes.
        ConventionError: The period is not positive.

    Example:
        >>> angle_difference(torch.tensor([350.0]), torch.tensor([20.0]), 360.0)
        tensor([[30.]])
    """
    return _summed(wrapped(_differences(a, b), period).abs())


def wrapped(difference: Scalar, period: float) -> Scalar:
    """The representative of a difference of angles in [-period / 2, period / 2).

    Args:
        difference: Any shape.
        period: One turn, positive.

    Raises:
        ConventionError: The period is not positive.

    Example:
        >>> wrapped(torch.tensor([-270.0, 180.0, 5.0]), 360.0)
        tensor([  90., -180.,    5.])
    """
    if not period > 0:
        raise ConventionError(
            expected="a positive period",
            got=str(period),
            argument="period",
            advice="It is one full turn, in the unit of the angles.",
        )
    return difference - period * torch.floor(difference / period + 0.5)


def geodesic_distance(
    R_a: Float[Tensor, "n 3 3"], R_b: Float[Tensor, "m 3 3"]
) -> Float[Tensor, "n m"]:
    """Angle of the rotation between two rotations, radians.

        θ_ij = 2 atan2(|v|, |w|),   (v, w) the unit quaternion of R_a,iᵀ R_b,j

    Accurate to rounding at every angle. Gradients are finite everywhere; at equal rotations,
    where the distance has a kink, they are zero.

    Args:
        R_a: Shape (N, 3, 3).
        R_b: Shape (M, 3, 3).

    Returns:
        Shape (N, M), in [0, π].

    Raises:
        ShapeError: Not rotations of space.

    Example:
        >>> half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        >>> geodesic_distance(half_turn[None], torch.stack([torch.eye(3), half_turn]))
        tensor([[3.1416, 0.0000]])
    """
    for name, value in (("R_a", R_a), ("R_b", R_b)):
        SO3().check_element(value, name)
    q_a, q_b = (quaternion_xyzw_from_matrix(_wide(R)) for R in (R_a, R_b))
    sign = torch.tensor([-1.0, -1.0, -1.0, 1.0], dtype=q_a.dtype, device=q_a.device)
    q = quaternion_xyzw_product((q_a * sign)[:, None], q_b[None])
    return 2.0 * torch.atan2(safe_norm(q[..., :3]), q[..., 3].abs())


def _differences(a: Tensor, b: Tensor) -> Tensor:
    if a.shape[1:] != b.shape[1:]:
        raise ShapeError(
            expected=f"labels of one shape, (M, {', '.join(map(str, a.shape[1:]))})",
            got=f"shape {tuple(b.shape)}",
            argument="b",
            advice="Both lists hold the same kind of label.",
        )
    return _wide(a)[:, None] - _wide(b)[None]


def _summed(values: Tensor) -> Tensor:
    return values.flatten(2).sum(-1) if values.ndim > 2 else values


def _wide(x: Tensor) -> Tensor:
    """In float32 or wider; integers in float64, which holds those below 2⁵³ exactly."""
    if not x.is_floating_point():
        return x.double()
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
