"""Smooth coordinates of linear maps that kernels read, and windows in them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.groups import SL, Group, Polar, Reductive
from equivariant.shapes import Float, Matrix, Scalar


class LieCoordinates(nn.Module):
    """Numbers that describe an element h = P R of a linear group to a kernel network.

        P = exp(X),   X = c I + D,   tr D = 0
        ξ(h) = (D / radius,  c / scale_radius,  features of R)

    D is written in an orthonormal basis of the traceless symmetric matrices. A rotation of the
    plane by θ gives (cos mθ, sin mθ), m = 1 .. orders; one of space its 9 entries. So ξ is
    smooth on the whole group: it has neither the jump of an angle nor the cut of a rotation
    vector at π. Parts that are constant on the group (D of rotations, c of SL(n)) are left out.
    Computed in float64.

    Args:
        group: Linear maps of the plane or of space: GL, SL, ScaledRotations, SO2, O2, SO3, O3.
        radius: Unit of D, positive.
        scale_radius: Unit of c, positive; None takes ``radius``.
        orders: Highest m, at least 1.

    Raises:
        ConventionError: Another group, or a number out of range.

    Example:
        >>> from equivariant.groups import SO2
        >>> LieCoordinates(SO2(), orders=2)(torch.eye(2, dtype=torch.float64)).tolist()
        [1.0, 0.0, 1.0, 0.0]
    """

    def __init__(
        self,
        group: Group,
        *,
        radius: float = 1.0,
        scale_radius: float | None = None,
        orders: int = 3,
    ) -> None:
        super().__init__()
        if not isinstance(group, Reductive) or group.matrix_size not in (2, 3):
            raise ConventionError(
                expected="GL, SL, ScaledRotations, SO2, O2, SO3 or O3 of the plane or of space",
                got=str(group), argument="group",
                advice="Translations are no part of it: pass GL(2) for Affine(2), SO3() for SE3().",
            )  # fmt: skip
        unit = radius if scale_radius is None else scale_radius
        if not (0 < radius < math.inf and 0 < unit < math.inf and orders >= 1):
            raise ConventionError(
                expected="finite positive radii and orders of at least 1",
                got=f"radius={radius}, scale_radius={scale_radius}, orders={orders}",
                argument="radius", advice="A radius is a difference of logarithms of lengths.",
            )  # fmt: skip
        self.group, self.radius, self.scale_radius, self.orders = group, radius, unit, orders
        self.stretches = len(group.roots()) > 0
        self.scales = bool(group.stretches().sum(-1).abs().gt(1e-9).any())
        self.reflects = len(group.orthogonal_subgroup.discrete_generators()) > 0
        self._traceless = SL(group.matrix_size).symmetric_basis()[: None if self.stretches else 0]

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        n = self.group.matrix_size
        turns = 2 * self.orders if n == 2 else 9
        return len(self._traceless) + int(self.scales) + turns + int(self.reflects)

    def forward(self, h: Matrix) -> Float[Tensor, "... dim"]:
        """Coordinates of elements (..., n, n), shape (..., dim), float64."""
        deviator, scale, rotation = self.split(h)
        parts = []
        if self.stretches:
            basis = self._traceless.to(h.device)
            parts.append(torch.einsum("...ij,dij->...d", deviator, basis) / self.radius)
        if self.scales:
            parts.append(scale[..., None] / self.scale_radius)
        if self.reflects:
            sign = torch.linalg.det(rotation)
            parts.append(sign[..., None])
            # In the plane the first column, which is all that is read, needs no such factor.
            rotation = rotation * sign[..., None, None] if self.group.matrix_size == 3 else rotation
        parts.append(self._turns(rotation))
        return torch.cat(parts, -1)

    def window(self, h: Matrix) -> Scalar:
        """A bump on the group: 1 where |D| = c = 0, 0 where either reaches its radius.

            (1 - |D|² / (n radius²))³₊ (1 - c² / scale_radius²)³₊

        It is twice continuously differentiable and does not depend on rotations on either side.
        |D| is the Frobenius norm, at most √n times the largest entry of the diagonalized D.

        Args:
            h: Elements, shape (..., n, n).

        Returns:
            Shape (...), float64.
        """
        deviator, scale, _ = self.split(h)
        result = torch.ones(h.shape[:-2], dtype=torch.float64, device=h.device)
        if self.stretches:
            size = self.group.matrix_size * self.radius**2
            result = result * bump(deviator.square().sum((-2, -1)) / size)
        if self.scales:
            result = result * bump(scale.square() / self.scale_radius**2)
        return result

    def split(self, h: Matrix) -> tuple[Matrix, Scalar, Matrix]:
        """(D, c, R) of elements: shapes (..., n, n), (...), (..., n, n), float64."""
        logarithm, rotation = Polar(self.group).logarithms(h.double())
        n = self.group.matrix_size
        scale = logarithm.diagonal(dim1=-2, dim2=-1).mean(-1)
        eye = torch.eye(n, dtype=torch.float64, device=h.device)
        return logarithm - scale[..., None, None] * eye, scale, rotation

    def _turns(self, rotation: Tensor) -> Tensor:
        if self.group.matrix_size == 3:
            return rotation.flatten(-2)
        cosine, sine = rotation[..., 0, 0], rotation[..., 1, 0]
        found = [cosine, sine]
        for _ in range(1, self.orders):
            c, s = found[-2:]
            found += [c * cosine - s * sine, s * cosine + c * sine]
        return torch.stack(found, -1)


def bump(square: Scalar) -> Scalar:
    """(1 - ρ²)³ where ρ² < 1, else 0; the argument is ρ².

    Example:
        >>> bump(torch.tensor([0.0, 0.5, 1.0, 2.0])).tolist()
        [1.0, 0.125, 0.0, 0.0]
    """
    return (1 - square).clamp(min=0) ** 3
