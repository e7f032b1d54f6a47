"""Many-body features: powers of functions on the sphere."""

from __future__ import annotations

import math
from typing import Literal

import torch
from e3nn.o3 import Irrep, Irreps
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError, check_option
from equivariant.harmonics.real_harmonics import degree_scales
from equivariant.harmonics.sphere_grid import grid_tables
from equivariant.nn.derived_buffers import DerivedBuffers
from equivariant.nn.gaunt.accumulation import without_autocast, working_dtype
from equivariant.nn.gaunt.compiled.availability import check_sparse, has_numbers
from equivariant.nn.gaunt.constants import Constants
from equivariant.nn.gaunt.methods.fastest import prefers_sparse_powers
from equivariant.nn.gaunt.paths import check_reached, expressivity_report
from equivariant.nn.gaunt.power.power_sum import Directions, Kernels, power_sum
from equivariant.nn.gaunt.power.sphere_powers import SpherePowers, powers
from equivariant.nn.irreps_layout import IrrepsLayout, Layout
from equivariant.nn.tracing import real_tables, records_operations
from equivariant.shapes import Float, Int

PowerNormalization = Literal["integral", "component"]
PowerMethod = Literal["auto", "sparse", "grid"]


class GauntPower(DerivedBuffers):
    """Weighted sum of the powers of a feature, each channel by itself.

        B_cl = Σ_ν w[ν, element, c, l] ⟨f_c^ν⟩_l,   ν = 1, ..., correlation

    ⟨f^ν⟩ are the coefficients of the ν-th power of the function on the sphere that has the
    coefficients f: the ν-fold :func:`gaunt_product` of f with itself, nothing cut off in between.
    Nothing is approximated, and derivatives of every order, backward and forward, are exact. There
    are two methods. "grid" takes all powers from one grid, which integrates degree ν·L1+L3; values
    on it exist for a chunk of rows only and are made again in the backward. "sparse" sums over the
    coefficients that are not zero, in compiled kernels on the CPU, for squares and cubes: f² over
    pairs a ≤ b, and f³ as f²·f. Nothing but features, weights and results exists for more than 64
    channels of a row. It serves the value and the first gradients; derivatives of these, forward
    mode, torch.func's transformations and torch.compile are served by the grid in either case.

    With true and pseudo parts f and h, whose ν-fold product has a true part (even in h) and a
    pseudo part (odd in h), both come from two powers:

        true = ((f+h)^ν + (f−h)^ν)/2,   pseudo = ((f+h)^ν − (f−h)^ν)/2

    Powers are symmetric, so that couplings with odd l1+l2+l3 cancel or are absent: the bracket
    of f with itself is 0. There is no ``parity`` to choose.

    Args:
        irreps_in: For example ``"8x0e + 8x1o + 8x2e"``: every irrep once, equal multiplicities.
        irreps_out: The same for the result; irreps that no power reaches are refused.
        correlation: Largest power, at least 1.
        num_elements: Number of kinds of rows that have weights of their own, at least 1.
        normalization: "integral" or "component", of the harmonics that features are
            coefficients of, see :func:`real_harmonics`. With "norm" the mean of a product is not
            the product's coefficient, and powers would not chain.
        layout: "mul_ir", e3nn's, or "ir_mul". Of x and the result.
        method: "grid" or "sparse", as above; "auto" takes "sparse" where it is faster and fits.

    Attributes:
        weight: Shape (correlation, num_elements, multiplicity, irreps in irreps_out). It starts so
            that every power of standard normal coefficients of all degrees has, in the mean over
            the sphere, the variance of f.

    Raises:
        ConventionError: Irreps are not as above, an option or number is out of range, or "sparse"
            is asked for where the largest power is neither 2 nor 3.

    Example:
        >>> layer = GauntPower("8x0e + 8x1o", "8x0e + 8x1o", 3, num_elements=2)
        >>> layer.weight.shape
        torch.Size([3, 2, 8, 2])
        >>> layer(torch.randn(5, 32), torch.tensor([0, 1, 1, 0, 1])).shape
        torch.Size([5, 32])

    Source: Luo et al. 2024, many-body interaction, on a grid in place of Fourier series; the
    weights are those of MACE, Batatia et al. 2022, summed over couplings.
    """

    _out_owner: Tensor

    def __init__(
        self,
        irreps_in: str | Irreps,
        irreps_out: str | Irreps,
        correlation: int,
        *,
        num_elements: int = 1,
        normalization: PowerNormalization = "component",
        layout: Layout = "mul_ir",
        method: PowerMethod = "auto",
    ) -> None:
        super().__init__()
        check_option(normalization, ("integral", "component"), "normalization")
        check_option(method, ("auto", "sparse", "grid"), "method")
        _check_counts(correlation, num_elements, method)
        self._in = IrrepsLayout(irreps_in, "irreps_in", layout=layout)
        self._out = IrrepsLayout(irreps_out, "irreps_out", layout=layout)
        self._out.check_channels(self._in.multiplicity, "irreps_out")
        _check_reached(self._in, self._out, correlation)
        self.irreps_in, self.irreps_out = self._in.irreps, self._out.irreps
        self.correlation, self.num_elements = correlation, num_elements
        self.normalization: PowerNormalization = normalization
        self.layout: Layout = layout
        self.method: PowerMethod = method
        self._kernels: Kernels | None = None
        self._degree_in = max(self._in.degree(1), self._in.degree(-1))
        self._degree_out = max(self._out.degree(1), self._out.degree(-1))
        exact = correlation * self._degree_in + self._degree_out
        with real_tables():
            tables = _tables(self._degree_in, self._degree_out, exact, normalization)
            self._constants = Constants(**tables)
            starts = self._starts()
            owner = self._out.owner()
        self.derive("_out_owner", owner)
        shape = (num_elements, self._in.multiplicity, len(self._out.each))
        self.weight = nn.Parameter(torch.stack([torch.full(shape, start) for start in starts]))

    def _starts(self) -> list[float]:
        """Standard deviation of f to the power 1−ν, over √(2ν−1)!!."""
        scales = degree_scales(self._degree_in, self.normalization)[self._in.positions()]
        variance = float(scales.square().sum()) / (4 * math.pi)
        odd = [math.prod(range(1, 2 * power, 2)) for power in range(1, self.correlation + 1)]
        return [variance ** (-n / 2) / math.sqrt(odd[n]) for n in range(self.correlation)]

    def forward(
        self, x: Float[Tensor, "*rows in"], element: Int[Tensor, "*rows"] | None = None
    ) -> Float[Tensor, "*rows out"]:
        """Powers of features.

        Args:
            x: Shape (..., irreps_in.dim), floating point.
            element: Kind of each row, int64, shape (...), from 0 to num_elements−1. May be
                left out where there is one kind.

        Returns:
            Shape (..., irreps_out.dim), in the wider dtype of x and the weights.

        Raises:
            ShapeError: Shapes are not as above, or kinds are missing.
            ConventionError: Not floating point, kinds not int64 or out of range, or "sparse" was
                asked for and x is not on the CPU or Numba is not installed.
        """
        self._in.check(x, "x")
        if self.method == "sparse":
            check_sparse(x)
        rows = x.flatten(0, -2) if x.dim() != 1 else x.unsqueeze(0)
        kinds = self._kinds(x, element)
        dtype, inner = working_dtype(x.dtype, self.weight.dtype)
        rows, weight = rows.to(inner), self.weight.to(inner)
        with without_autocast(x.device):
            if self._compiled(rows, weight):
                result = power_sum(self._form(), self, rows, weight, kinds)
            else:
                result = self.summed(rows, weight, kinds)
        return result.view(*x.shape[:-1], self._out.dim).to(dtype)

    def _compiled(self, rows: Tensor, weight: Tensor) -> bool:
        """Whether kernels serve what they can."""
        if self.method == "grid" or not has_numbers(rows, weight):
            return False
        if self.method == "sparse":
            return True
        return prefers_sparse_powers(self._degree_in, self.correlation, rows)

    def _form(self) -> Kernels:
        if self._kernels is None:
            from equivariant.nn.gaunt.compiled.powers.form import power_form  # noqa: PLC0415

            self._kernels = power_form(
                self._in.parts,
                self._out.parts,
                self.correlation,
                channels=self._in.multiplicity,
                order=self.layout,
                normalization=self.normalization,
            )
        return self._kernels

    def summed(self, x: Tensor, weight: Tensor, kinds: Tensor | None) -> Tensor:
        """The layer by its grid, without checks.

        Args:
            x: Shape (rows, irreps_in.dim), float32 or float64.
            weight: Shape and meaning of the attribute, of x's dtype.
            kinds: Of the rows, int64, or None for the first.

        Returns:
            Shape (rows, irreps_out.dim).
        """
        return self._weighted(self._powers(self._in.by_channel(x), None), weight, kinds)

    def changed(
        self,
        x: Tensor,
        weight: Tensor,
        kinds: Tensor | None,
        by: Directions,
    ) -> Tensor:
        """Derivative of :meth:`summed` in a direction, without checks.

        Args:
            x: As there.
            weight: As there.
            kinds: As there.
            by: Direction of x and of the weights, of their shapes; None for 0.

        Returns:
            Shape (rows, irreps_out.dim).
        """
        of_x, of_weight = by
        total = x.new_zeros(x.shape[0], self._out.dim)
        values = self._in.by_channel(x)
        if of_x is not None:
            powers_changed = self._powers(values, self._in.by_channel(of_x))
            total = total + self._weighted(powers_changed, weight, kinds)
        if of_weight is not None:
            total = total + self._weighted(self._powers(values, None), of_weight, kinds)
        return total

    def _weighted(self, raised: list[Tensor], weight: Tensor, kinds: Tensor | None) -> Tensor:
        weight = weight.index_select(-1, self._out_owner)
        weight = weight[:, 0] if kinds is None else weight.index_select(1, kinds)
        first, *factors = weight.unbind(0)
        lowest, *higher = raised
        total = lowest * first
        for power, factor in zip(higher, factors, strict=True):
            total = torch.addcmul(total, power, factor)
        return self._out.from_channels(total)

    def _powers(self, values: Tensor, direction: Tensor | None) -> list[Tensor]:
        """All powers or their derivatives, each (rows, channels, components of the result)."""
        functions = self._functions(values)
        along = [None] * len(functions) if direction is None else self._functions(direction)
        both = [self._raised(f, r) for f, r in zip(functions, along, strict=True)]
        if len(both) == 2:
            pairs = zip(*both, strict=True)
            return [self._selected((s + d) / 2, (s - d) / 2) for s, d in pairs]
        (raised,) = both
        if self._in.degree(-1) < 0:
            return [self._selected(z, z) for z in raised]
        return [
            self._selected(torch.zeros_like(z), z)
            if power % 2
            else self._selected(z, torch.zeros_like(z))
            for power, z in enumerate(raised, 1)
        ]

    def _functions(self, values: Tensor) -> list[Tensor]:
        """f+h and f−h of the true and the pseudo part, or the one that there is."""
        parts = [
            self._in.function(values, sign, self._degree_in)
            for sign in (1, -1)
            if self._in.degree(sign) >= 0
        ]
        return parts if len(parts) == 1 else [parts[0] + parts[1], parts[0] - parts[1]]

    def _selected(self, true: Tensor, pseudo: Tensor) -> Tensor:
        """The components of the result, in its order."""
        if self._out.parts == tuple((1, n) for n in range(self._degree_out + 1)):
            return true
        columns = [
            (true if sign > 0 else pseudo)[..., n**2 : (n + 1) ** 2] for sign, n in self._out.parts
        ]
        return torch.cat(columns, -1)

    def _raised(self, signal: Tensor, direction: Tensor | None) -> list[Tensor]:
        """All powers of one function, or derivatives of them; the first needs no grid."""
        width = (self._degree_out + 1) ** 2
        first = (signal if direction is None else direction)[..., :width]
        if first.shape[-1] < width:
            first = nn.functional.pad(first, (0, width - first.shape[-1]))
        if self.correlation == 1:
            return [first]
        tables = self._constants.at(signal.dtype, signal.device)
        form = SpherePowers(tables["values"], tables["projection"], self.correlation)
        by = None if direction is None else direction.flatten(0, 1)
        higher = powers(signal.flatten(0, 1), form, by)
        return [first, *(z.view(*signal.shape[:2], width) for z in higher.unbind(0))]

    def _kinds(self, x: Tensor, element: Tensor | None) -> Tensor | None:
        if element is None:
            if self.num_elements > 1:
                raise ShapeError(
                    expected=str(tuple(x.shape[:-1])),
                    got="None",
                    argument="element",
                    advice=f"Say which of {self.num_elements} kinds each row is.",
                )
            return None
        if element.shape != x.shape[:-1]:
            raise ShapeError(
                expected=str(tuple(x.shape[:-1])),
                got=str(tuple(element.shape)),
                argument="element",
                advice="One number per row of x.",
            )
        whole = element.dtype == torch.int64
        known = element.device.type == "cpu" and not records_operations()
        outside = False
        if whole and known and element.numel():
            least, greatest = element.aminmax()
            outside = not (least >= 0 and greatest < self.num_elements)
        if outside or not whole:
            raise ConventionError(
                expected=f"int64 from 0 to {self.num_elements - 1}",
                got=str(element.dtype) + (" out of range" if outside else ""),
                argument="element",
                advice="Number the kinds from 0; they are no atomic numbers.",
            )
        return element.flatten()

    def extra_repr(self) -> str:
        return (
            f"{self.irreps_in} -> {self.irreps_out}, correlation={self.correlation}, "
            f"num_elements={self.num_elements}"
        )


def _tables(
    degree_in: int, degree_out: int, exact: int, normalization: PowerNormalization
) -> dict[str, Tensor]:
    settings = (exact, normalization, torch.float64, torch.device("cpu"))
    values, projection = grid_tables(degree_in, *settings)[0], grid_tables(degree_out, *settings)[3]
    return {"values": values, "projection": projection}


def _check_counts(correlation: int, num_elements: int, method: PowerMethod) -> None:
    for value, argument in ((correlation, "correlation"), (num_elements, "num_elements")):
        if value < 1:
            raise ConventionError(
                expected="at least 1",
                got=str(value),
                argument=argument,
                advice="One kind and the first power are the least.",
            )
    if method == "sparse" and correlation not in (2, 3):
        raise ConventionError(
            expected="a correlation of 2 or 3 for the sparse method",
            got=str(correlation),
            argument="method",
            advice='Use method="auto", which takes the grid for others.',
        )


def _check_reached(inside: IrrepsLayout, outside: IrrepsLayout, correlation: int) -> None:
    """Couplings with even l1+l2+l3 lead from power to power."""
    found: set[Irrep] = set(inside.each)
    latest = found
    for _ in range(correlation - 1):
        report = expressivity_report(Irreps([(1, n) for n in sorted(latest)]), inside.irreps)
        latest = set(report.outputs("even"))
        found = found | latest
    advice = "No power leads there; brackets of a feature with itself are 0."
    check_reached(outside.each, found, advice)
