"""Several independent angles."""

from __future__ import annotations

from equivariant.groups.product import Product
from equivariant.groups.so2 import SO2


class Torus(Product):
    """n independent rotations of planes: block-diagonal 2x2 rotations, coordinates n angles.

    Args:
        size: n, the number of angles, at least 1.

    Example:
        >>> import torch
        >>> Torus(2).log(Torus(2).exp(torch.tensor([0.5, -0.25])))
        tensor([ 0.5000, -0.2500])
    """

    def __init__(self, size: int) -> None:
        super().__init__(*(SO2() for _ in range(size)))
        self.size = size

    def __repr__(self) -> str:
        return f"Torus({self.size})"
