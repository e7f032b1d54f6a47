"""A residual block that couples a feature with a linear image of itself."""

from __future__ import annotations

import torch
from e3nn.o3 import Irreps, Linear
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.harmonics.real_harmonics import Normalization
from equivariant.nn.gaunt.accumulation import without_autocast, working_dtype
from equivariant.nn.gaunt.paths import Parity, expressivity_report
from equivariant.nn.gaunt.product.layer import GauntTensorProduct
from equivariant.nn.gaunt.product.product import Method
from equivariant.nn.irreps_layout import IrrepsLayout
from equivariant.shapes import Float


class GauntSelfMix(nn.Module):
    """Mix degrees of a feature by the product of two linear images of it.

        y = x + C (w_l3 Σ_l1,l2 (A x)_l1 ⊗ (B x)_l2)

    A, B and C are linear maps of the channels of every irrep, the only ones that commute
    with O(3), and ⊗ is the product of functions on the sphere, channel by channel. With
    ``parity="full"`` brackets are added, which vanish for A = B and couple what the symmetric
    product cannot.

    C starts at 0, so that the block starts as the identity; then a deep network with these
    blocks starts as it would without them.

    Args:
        irreps: For example ``"8x0e + 8x1o + 8x2e"``: every irrep once, equal multiplicities, in
            e3nn's layout. Input and result.
        parity: "even" or "full", see :class:`GauntTensorProduct`.
        normalization: See :func:`gaunt_product`.
        method: See :func:`gaunt_product`.
        generator: Source of the weights A and B, standard normal as in e3nn. None uses a fresh
            generator with seed 0.

    Raises:
        ConventionError: Irreps are not as above, an option is unknown, or no coupling of the
            irreps leads back to them.

    Example:
        >>> block = GauntSelfMix("8x0e + 8x1o + 8x2e")
        >>> x = torch.randn(5, 72)
        >>> bool((block(x) == x).all())
        True

    Source: Luo et al. 2024, the self-mix layers that they add to EquiformerV2; starting from the
    identity is ours.
    """

    def __init__(
        self,
        irreps: str | Irreps,
        *,
        parity: Parity = "even",
        normalization: Normalization = "component",
        method: Method = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        layout = self._layout = IrrepsLayout(irreps, "irreps")
        self.irreps_in = self.irreps_out = layout.irreps
        report = expressivity_report(layout.irreps, layout.irreps)
        reached = [irrep for irrep in layout.each if irrep in report.outputs(parity)]
        if not reached:
            raise ConventionError(
                expected="irreps whose products lead back to them",
                got=str(layout.irreps),
                argument="irreps",
                advice='Add scalars, or choose parity="full".',
            )
        middle = Irreps([(layout.multiplicity, irrep) for irrep in reached])
        self.first = Linear(layout.irreps, layout.irreps)
        self.second = Linear(layout.irreps, layout.irreps)
        self.product = GauntTensorProduct(
            layout.irreps,
            layout.irreps,
            middle,
            parity=parity,
            normalization=normalization,
            weights="degree",
            method=method,
        )
        self.last = Linear(middle, layout.irreps)
        self.reset(generator)

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Start again as the identity.

        Args:
            generator: Source of the weights A and B. None uses a fresh generator with seed 0.
        """
        source = torch.Generator().manual_seed(0) if generator is None else generator
        with torch.no_grad():
            for linear in (self.first, self.second):
                drawn = torch.randn(linear.weight.shape, generator=source)
                linear.weight.copy_(drawn)
            self.last.weight.zero_()
            self.product.weight.fill_(1.0)

    def forward(self, x: Float[Tensor, "... dim"]) -> Float[Tensor, "... dim"]:
        """Mix.

        Args:
            x: Shape (..., irreps.dim), floating point.

        Returns:
            The same shape, in the wider dtype of x and the weights, under autocast too.

        Raises:
            ShapeError: The last axis is not that of the irreps.
            ConventionError: x is not floating point.
        """
        self._layout.check(x, "x")
        dtype, inner = working_dtype(x.dtype, self.first.weight.dtype)
        values = x.to(inner)
        with without_autocast(x.device):
            first, second = (
                linear(values, linear.weight.to(inner)) for linear in (self.first, self.second)
            )
            mixed: Tensor = self.last(self.product(first, second), self.last.weight.to(inner))
        return (values + mixed).to(dtype)
