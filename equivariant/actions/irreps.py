"""Irreducible representations of O(3), in e3nn's basis."""

from __future__ import annotations

import torch
from e3nn.o3 import Irreps

from equivariant.actions.base import Action
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.harmonics.wigner import wigner_d
from equivariant.shapes import Matrix, Vector


class IrrepsAction(Action):
    """Direct sum of irreducible representations, written as e3nn writes them.

    The matrix of degree l is found where it is exact and smooth: on fixed points x_i of the
    sphere the spherical harmonics obey Y(R x_i) = D(R) Y(x_i), and the matrix Y(x_i) is
    inverted once. No Euler angle enters, so nothing is lost at a pole and gradients are finite
    at the identity.

    Args:
        irreps: For example ``"64x0e + 16x1o + 4x2e"``; the layout of z is e3nn's (all copies
            of the first, each with its 2l+1 components, then the next).
        group: A group whose linear parts are rotations of space (then parity does nothing) or
            orthogonal matrices, times scales or not; irreps feel the orthogonal factor alone.

    Raises:
        ConventionError: The string is not irreps, or the group is another.

    Example:
        >>> from equivariant.groups import SO3
        >>> IrrepsAction("8x0e + 4x1o + 2x2e", SO3()).dim
        30
    """

    def __init__(self, irreps: str | Irreps, group: Group) -> None:
        if group.orthogonal_dim != 3:
            raise ConventionError(
                expected="a group that turns space: SO3(), O3(), SE3(), E3(), Sim(3) or a like one",
                got=str(group),
                argument="group",
                advice="For one factor of a product group use Factor(action, product, index).",
            )
        try:
            parsed = Irreps(irreps)
        except (ValueError, AssertionError) as error:
            raise ConventionError(
                expected='irreps such as "64x0e + 16x1o"',
                got=repr(irreps),
                argument="irreps",
                advice="Write multiplicity x degree and parity (e or o), joined by +.",
            ) from error
        super().__init__(group, parsed.dim)
        self.irreps = parsed

    @property
    def orthogonal(self) -> bool:
        return True

    def pieces(self) -> list[tuple[Action, int]]:
        if self.group is None:
            return [(self, 1)]
        return [(IrrepsAction(str(irrep), self.group), n) for n, irrep in self.irreps if n]

    def under(self, group: Group) -> IrrepsAction:
        return IrrepsAction(self.irreps, group)

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        group = self.group
        if group is None:
            raise ConventionError(
                expected="a group", got="none", argument="group",
                advice="Irreps are made for one group.",
            )  # fmt: skip
        group.check_member(g)
        part = group.orthogonal_part(g)
        determinant = torch.linalg.det(part.detach()).sign()[..., None, None]
        rotation = part * determinant
        moved = []
        for (count, irrep), rows in zip(self.irreps, self.irreps.slices(), strict=True):
            d = wigner_d(irrep.l, rotation.to(z.dtype))
            if irrep.p == -1:
                d = d * determinant.to(z.dtype)
            vectors = z[..., rows].reshape(*z.shape[:-1], count, irrep.dim)
            moved.append((vectors @ d.transpose(-1, -2)).flatten(-2))
        return torch.cat(moved, -1)

    def extra_repr(self) -> str:
        return f"{self.irreps}, {self.group}"
