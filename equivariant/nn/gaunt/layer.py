"""The product of functions on the sphere as a layer between e3nn's irreps."""

from __future__ import annotations

import math
from typing import Literal

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.gaunt.paths import Parity, expressivity_report, irreps_of, parse_irreps
from equivariant.nn.gaunt.product import Method, gaunt_product
from equivariant.nn.gaunt.tables import Kind, Normalization, degree_scales
from equivariant.shapes import Float

Weights = Literal["none", "degree"]


class GauntTensorProduct(nn.Module):
    """Couple two features of O(3) channel by channel, by products of functions on the sphere.

        z_l3 = w_l3 Σ_l1,l2 (w_l1 x_l1) ⊗ (w_l2 y_l2)

    A block (l, p) is true where p = (−1)^l and pseudo elsewhere. The true blocks of a channel
    are the coefficients of a scalar function on the sphere, the pseudo blocks those of a
    pseudoscalar one. Products of true with true and of pseudo with pseudo are true, mixed ones
    are pseudo; brackets the other way round. There are at most four of each.

    With ``parity="even"`` couplings with l1+l2+l3 odd are absent, the cross product among them.
    ``parity="full"`` has every coupling of Clebsch and Gordan, still summed into one block per
    irrep; for "integral" coefficients are :func:`gaunt_constant` and :func:`poisson_constant`
    times Wigner's.
    :func:`expressivity_report` lists them.

    Args:
        irreps_in1: For example ``"8x0e + 8x1o + 8x2e"``, in e3nn's layout. Every irrep stands
            once, and all multiplicities, of both operands and the result, are equal.
        irreps_in2: The same for the second operand.
        irreps_out: The same for the result, in any order; irreps that no coupling reaches are
            refused. None takes all that are reached, up to degree l1+l2, in e3nn's order.
        parity: "even": products of functions. "full": brackets as well; a bracket takes five matrix
            products where a product takes three.
        normalization: Of the harmonics that features are coefficients of, see
            :func:`gaunt_product`.
        weights: "none", or "degree": one factor per channel and irrep of both operands and the
            result, shared over the batch, which start at 1.
        method: "grid" or "dense", see :func:`gaunt_product`.

    Raises:
        ConventionError: Irreps are not as above, or an option is unknown.

    Example:
        >>> layer = GauntTensorProduct("8x0e + 8x1o", "8x0e + 8x1o", weights="degree")
        >>> layer.irreps_out, layer.weight_numel
        (8x0e+8x1o+8x2e, 56)
        >>> layer(torch.randn(5, 32), torch.randn(5, 32)).shape
        torch.Size([5, 72])

    Source: Luo et al. 2024, extended by the bracket of Poisson on the sphere.
    """

    def __init__(
        self,
        irreps_in1: str | Irreps,
        irreps_in2: str | Irreps,
        irreps_out: str | Irreps | None = None,
        *,
        parity: Parity = "even",
        normalization: Normalization = "integral",
        weights: Weights = "none",
        method: Method = "grid",
    ) -> None:
        super().__init__()
        _check_options(parity, normalization, weights, method)
        self.irreps_in1 = _channelwise(irreps_in1, "irreps_in1")
        self.irreps_in2 = _channelwise(irreps_in2, "irreps_in2")
        self.multiplicity = int(self.irreps_in1[0].mul)
        report = expressivity_report(self.irreps_in1, self.irreps_in2)
        reached = report.outputs(parity)
        if irreps_out is None:
            irreps_out = Irreps([(self.multiplicity, irrep) for irrep in reached])
        self.irreps_out = _channelwise(irreps_out, "irreps_out")
        _check_multiplicity(self.irreps_in2, self.multiplicity, "irreps_in2")
        _check_multiplicity(self.irreps_out, self.multiplicity, "irreps_out")
        _check_reached(self.irreps_out, reached, report.outputs("full"))
        self.parity: Parity = parity
        self.normalization: Normalization = normalization
        self.weights: Weights = weights
        self.method: Method = method
        operands = (self.irreps_in1, self.irreps_in2, self.irreps_out)
        counts = [len(irreps) * self.multiplicity for irreps in operands]
        self._counts = counts if weights == "degree" else []
        self.weight_numel = sum(self._counts)
        if self.weight_numel:
            self.weight = nn.Parameter(torch.ones(self.weight_numel))

    def forward(
        self, x1: Float[Tensor, "... first"], x2: Float[Tensor, "... second"]
    ) -> Float[Tensor, "... third"]:
        """Couple two features.

        Args:
            x1: Shape (..., irreps_in1.dim), floating point.
            x2: Shape (..., irreps_in2.dim), floating point. Leading axes broadcast.

        Returns:
            Shape (..., irreps_out.dim), in the wider dtype of x1 and x2.

        Raises:
            ShapeError: A last axis is not that of the irreps.
        """
        _check_width(x1, self.irreps_in1, "x1")
        _check_width(x2, self.irreps_in2, "x2")
        blocks1 = _blocks(x1, self.irreps_in1, self.multiplicity)
        blocks2 = _blocks(x2, self.irreps_in2, self.multiplicity)
        factors: list[list[Tensor]] = []
        if self.weight_numel:
            parts = self.weight.split(self._counts)
            factors = [list(part.view(-1, self.multiplicity, 1)) for part in parts]
            blocks1 = _scaled(blocks1, factors[0])
            blocks2 = _scaled(blocks2, factors[1])
        signals = self._multiply(_signals(blocks1), _signals(blocks2))
        results = {
            irrep: signals[_sign(irrep)][..., irrep.l**2 : (irrep.l + 1) ** 2]
            for irrep in irreps_of(self.irreps_out)
        }
        if factors:
            results = _scaled(results, factors[2])
        return torch.cat([block.flatten(-2) for block in results.values()], -1)

    def _multiply(
        self, signals1: dict[int, Tensor], signals2: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Every product of a true or pseudo signal with another, summed by sign."""
        largest = {
            sign: max((i.l for i in irreps_of(self.irreps_out) if _sign(i) == sign), default=-1)
            for sign in (1, -1)
        }
        kinds: tuple[Kind, ...] = ("even",) if self.parity == "even" else ("even", "odd")
        sums: dict[int, Tensor] = {}
        for sign1, signal1 in signals1.items():
            for sign2, signal2 in signals2.items():
                for kind in kinds:
                    sign = sign1 * sign2 * (1 if kind == "even" else -1)
                    if largest[sign] < 0:
                        continue
                    product = gaunt_product(
                        signal1,
                        signal2,
                        _degree(signal1),
                        _degree(signal2),
                        largest[sign],
                        normalization=self.normalization,
                        kind=kind,
                        method=self.method,
                    )
                    sums[sign] = sums[sign] + product if sign in sums else product
        return sums

    def extra_repr(self) -> str:
        return (
            f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out}, parity={self.parity}, "
            f"weights={self.weights}, method={self.method}"
        )


def _sign(irrep: Irrep) -> int:
    """1 for a true irrep, whose parity is that of its harmonics, and -1 for a pseudo one."""
    return 1 if (irrep.p == 1) == (irrep.l % 2 == 0) else -1


def _degree(signal: Tensor) -> int:
    return math.isqrt(signal.shape[-1]) - 1


def _blocks(x: Tensor, irreps: Irreps, multiplicity: int) -> dict[Irrep, Tensor]:
    """Features by irrep, each of shape (..., multiplicity, 2l+1), in the order of the irreps."""
    return {
        irrep: x[..., rows].unflatten(-1, (multiplicity, irrep.dim))
        for (_, irrep), rows in zip(irreps, irreps.slices(), strict=True)
    }


def _scaled(blocks: dict[Irrep, Tensor], factors: list[Tensor]) -> dict[Irrep, Tensor]:
    pairs = zip(blocks.items(), factors, strict=True)
    return {irrep: block * factor.to(block.dtype) for (irrep, block), factor in pairs}


def _signals(blocks: dict[Irrep, Tensor]) -> dict[int, Tensor]:
    """Coefficients of the true and the pseudo function; absent degrees are 0."""
    signals = {}
    for sign in (1, -1):
        present = {irrep.l: block for irrep, block in blocks.items() if _sign(irrep) == sign}
        if not present:
            continue
        some = next(iter(present.values()))
        columns = [
            present[n] if n in present else some.new_zeros(*some.shape[:-1], 2 * n + 1)
            for n in range(max(present) + 1)
        ]
        signals[sign] = torch.cat(columns, -1)
    return signals


def _channelwise(irreps: str | Irreps, argument: str) -> Irreps:
    """Irreps in the order written, each once and all with one multiplicity."""
    parsed = parse_irreps(irreps, argument)
    kept = Irreps([(count, irrep) for count, irrep in parsed if count])
    found = irreps_of(kept)
    if not found or len(set(found)) < len(found) or len({count for count, _ in kept}) > 1:
        raise ConventionError(
            expected="each irrep once, with equal multiplicities of at least 1",
            got=repr(str(parsed)),
            argument=argument,
            advice="Bring features to that form by e3nn.o3.Linear; channels meet one to one.",
        )
    return kept


def _check_multiplicity(irreps: Irreps, multiplicity: int, argument: str) -> None:
    if irreps[0].mul != multiplicity:
        raise ConventionError(
            expected=f"multiplicity {multiplicity}, that of irreps_in1",
            got=str(irreps),
            argument=argument,
            advice="Channels meet one to one; change their number by e3nn.o3.Linear.",
        )


def _check_reached(irreps: Irreps, reached: tuple[Irrep, ...], full: tuple[Irrep, ...]) -> None:
    lost = [irrep for irrep in irreps_of(irreps) if irrep not in reached]
    if lost:
        helps = all(irrep in full for irrep in lost)
        raise ConventionError(
            expected=f"some of {', '.join(map(str, reached))}",
            got=", ".join(map(str, lost)),
            argument="irreps_out",
            advice='parity="full" reaches them.' if helps else "Nothing couples to these.",
        )


def _check_width(x: Tensor, irreps: Irreps, argument: str) -> None:
    if x.dim() == 0 or x.shape[-1] != irreps.dim:
        raise ShapeError(
            expected=f"(..., {irreps.dim}) for {irreps}",
            got=str(tuple(x.shape)),
            argument=argument,
            advice="The layout is e3nn's: all copies of the first irrep, then the next.",
        )


def _check_options(
    parity: Parity, normalization: Normalization, weights: Weights, method: Method
) -> None:
    degree_scales(0, normalization)
    for value, allowed, argument in (
        (parity, ("even", "full"), "parity"),
        (weights, ("none", "degree"), "weights"),
        (method, ("grid", "dense"), "method"),
    ):
        if value not in allowed:
            raise ConventionError(
                expected=" or ".join(allowed),
                got=repr(value),
                argument=argument,
                advice="See the docstring of GauntTensorProduct.",
            )
