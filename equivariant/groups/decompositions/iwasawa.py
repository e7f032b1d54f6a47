"""The Iwasawa decomposition in its four orders."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.decompositions.base import Decomposition, stretch_of, turn_of
from equivariant.shapes import Coordinates, Matrix, Scalar

IwasawaOrder = Literal["KAN", "KNA", "NAK", "ANK"]


@dataclass(frozen=True)
class Iwasawa(Decomposition):
    """A product of K orthogonal, A = exp(diag t), N upper triangular with ones on the diagonal.

    Unique and smooth, by a QR decomposition whose triangular factor has a positive diagonal.

        dμ(h) = Π_i exp(± (n + 1 - 2i) t_i) dt dN dK     + for KAN, - for NAK
        dμ(h) = dt dN dK                                 for KNA and ANK

    with dt in orthonormal coordinates of the group's stretches, dN that of the entries above the
    diagonal, dK Haar measure with total mass 1. Scaled rotations and orthogonal groups have no N.

    Coordinates are those of K in radians, of t in ``group.stretches()`` and the entries above
    the diagonal of log N, in the order of the letters: ``group.dim`` numbers.

    Args:
        group: A linear group of the plane or of space; see :class:`Decomposition`.
        order: Of the product.

    Raises:
        ConventionError: Another group, or another order.

    Example:
        >>> from equivariant.groups import GL
        >>> h = torch.tensor([[0.0, -1.0], [2.0, 3.0]], dtype=torch.float64)
        >>> rotation, diagonal, unipotent = Iwasawa(GL(2)).split(h)
        >>> diagonal.diagonal().tolist(), unipotent.tolist()
        ([2.0, 1.0], [[1.0, 1.5], [0.0, 1.0]])

    Source: Helgason 1984, Groups and Geometric Analysis, proposition I.5.1, for the densities.
    """

    order: IwasawaOrder = "KAN"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in get_args(IwasawaOrder):
            raise ConventionError(
                expected=f"one of {', '.join(get_args(IwasawaOrder))}", got=str(self.order),
                argument="order", advice="K is orthogonal, A diagonal, N unipotent.",
            )  # fmt: skip

    @property
    def factors(self) -> tuple[str, ...]:
        return tuple(self.order)

    @property
    def log_constant(self) -> float:
        """-log(2)/4 n (n - 1): an entry above the diagonal is half symmetric, half skew."""
        return -0.5 * math.log(2.0) * self._entries

    def split(self, h: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        self.group.check_member(h, "h")
        wide = h.double()
        if self.order.startswith("K"):
            k, upper = _positive_qr(wide)
        else:  # J (J h)ᵀ... reversed rows and columns turn lower into upper triangles
            q, upper = _positive_qr(wide.flip(-2).mT)
            k, upper = q.mT.flip(-2), upper.mT.flip(-2).flip(-1)
        diagonal = upper.diagonal(dim1=-2, dim2=-1)
        a = torch.diag_embed(diagonal)
        if "AN" in self.order:
            n = upper / diagonal.unsqueeze(-1)
        else:
            n = upper / diagonal.unsqueeze(-2)
        named = {"K": k, "A": a, "N": n}
        first, second, third = (named[letter].to(h.dtype) for letter in self.order)
        return first, second, third

    def coordinates(self, h: Matrix) -> Coordinates:
        factors = dict(zip(self.order, self.split(h.double()), strict=True))
        rows = self.linear_group.stretches().to(h.device)
        parts = {
            "K": turn_of(self.linear_group, factors["K"]),
            "A": stretch_of(factors["A"]) @ rows.mT,
            "N": _unipotent_log(factors["N"])[..., : self._entries],
        }
        return torch.cat([parts[letter] for letter in self.order], -1).to(h.dtype)

    def from_coordinates(self, c: Coordinates) -> Matrix:
        self.check_count(c, self.group.dim)
        rows, turns = self.linear_group.stretches().to(c.device), self.linear_group
        counts = {"K": turns.orthogonal_subgroup.dim, "A": len(rows), "N": self._entries}
        pieces = c.double().split([counts[letter] for letter in self.order], -1)
        named = dict(zip(self.order, pieces, strict=True))
        factors = {
            "K": turns.orthogonal_subgroup.exp(named["K"]),
            "A": torch.diag_embed((named["A"] @ rows).exp()),
            "N": _unipotent_exp(named["N"], self.group.matrix_size),
        }
        return self.merge(*(factors[letter] for letter in self.order)).to(c.dtype)

    def log_density(self, *factors: Matrix) -> Scalar:
        """± Σ_i (n + 1 - 2i) t_i for KAN and NAK, 0 for the other orders.

        Args:
            *factors: In the order of the letters, shape (..., n, n) each; only A matters.

        Returns:
            Shape (...).

        Raises:
            ShapeError: There are not three factors, or the shape of one does not fit.
            ConventionError: A is not diagonal and positive.
        """
        self.check_factors(factors)
        a = factors[self.order.index("A")]
        self.check_stretch(a, "A", diagonal=True)
        n, sign = a.shape[-1], {"KAN": 1.0, "NAK": -1.0}.get(self.order, 0.0)
        powers = sign * (n - 1 - 2 * torch.arange(n, dtype=torch.float64, device=a.device))
        return (stretch_of(a) @ powers).to(a.dtype)

    @property
    def _entries(self) -> int:
        """Entries of N above the diagonal: one for each root."""
        return len(self.linear_group.roots())


def _positive_qr(h: Tensor) -> tuple[Tensor, Tensor]:
    """h = Q R with a positive diagonal of R."""
    q, r = torch.linalg.qr(h)
    sign = torch.where(r.detach().diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(h)
    return q * sign.unsqueeze(-2), r * sign.unsqueeze(-1)


def _unipotent_log(n: Tensor) -> Tensor:
    """Entries above the diagonal of log N, row by row: (N - I) - (N - I)² / 2 up to size 3."""
    size = n.shape[-1]
    x = n - torch.eye(size, dtype=n.dtype, device=n.device)
    rows, columns = torch.triu_indices(size, size, 1, device=n.device)
    found: Tensor = (x - 0.5 * x @ x)[..., rows, columns]
    return found


def _unipotent_exp(entries: Tensor, size: int) -> Tensor:
    """exp of the matrix with these entries above the diagonal; none means the identity."""
    eye = torch.eye(size, dtype=entries.dtype, device=entries.device)
    if not entries.shape[-1]:
        return eye.expand(*entries.shape[:-1], size, size)
    units = torch.zeros(entries.shape[-1], size, size, dtype=entries.dtype, device=entries.device)
    rows, columns = torch.triu_indices(size, size, 1)
    units[torch.arange(len(rows)), rows, columns] = 1.0
    x = torch.einsum("...k,kij->...ij", entries, units)
    return eye + x + 0.5 * x @ x
