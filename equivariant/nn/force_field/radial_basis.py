"""Functions of the distance between two atoms that vanish smoothly at a cutoff."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.shapes import Float


class RadialBasis(nn.Module):
    """Spherical Bessel functions of order 0 times a polynomial that ends at the cutoff.

        b_n(r) = c / (√2 r) · sin(nπ r/c) · u(r/c),     n = 1, ..., size
        u(x) = 1 − (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) − p(p+1)/2 x^(p+2)  for x < 1, else 0

    The factor makes values about 1 at the distance of bonds, so that what is built on them starts
    with values of about 1 too. u, u' and u'' are 0 at the cutoff, so an atom that crosses it
    changes energies and forces without a jump.

    Args:
        size: Number of functions, at least 1.
        cutoff_angstrom: c, positive.
        power: p, at least 2; larger ones keep u near 1 for longer.

    Raises:
        ConventionError: An argument is out of range.

    Example:
        >>> basis = RadialBasis(4, cutoff_angstrom=5.0)
        >>> basis(torch.tensor([1.0, 5.0, 6.0])).abs().sum(1) > 0
        tensor([ True, False, False])

    Source: Gasteiger et al. 2020, arXiv 2003.03123, equations 7 and 8, times c^(3/2) / 2.
    """

    def __init__(self, size: int, *, cutoff_angstrom: float, power: int = 5) -> None:
        super().__init__()
        if size < 1 or not cutoff_angstrom > 0 or power < 2:
            raise ConventionError(
                expected="size of at least 1, a positive cutoff, power of at least 2",
                got=f"{size}, {cutoff_angstrom}, {power}",
                argument="size, cutoff_angstrom, power",
                advice="8 functions, 5 Å and power 5 are usual.",
            )
        self.size, self.cutoff_angstrom, self.power = size, cutoff_angstrom, power

    def forward(self, distances_angstrom: Float[Tensor, " edges"]) -> Float[Tensor, "edges size"]:
        """Values of all functions.

        Args:
            distances_angstrom: Positive, shape (edges,).
        """
        r = distances_angstrom[:, None]
        n = torch.arange(1, self.size + 1, dtype=r.dtype, device=r.device)
        factor = self.cutoff_angstrom / math.sqrt(2.0) * self.envelope(distances_angstrom)
        return torch.sin(math.pi / self.cutoff_angstrom * n * r) * (factor[:, None] / r)

    def envelope(self, distances_angstrom: Float[Tensor, " edges"]) -> Float[Tensor, " edges"]:
        """u, shape (edges,).

        Args:
            distances_angstrom: Shape (edges,).
        """
        p, x = self.power, distances_angstrom / self.cutoff_angstrom
        inner = (p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x**2
        return torch.where(x < 1, 1 - inner * x**p, torch.zeros_like(x))

    def extra_repr(self) -> str:
        return f"{self.size}, cutoff_angstrom={self.cutoff_angstrom}, power={self.power}"
