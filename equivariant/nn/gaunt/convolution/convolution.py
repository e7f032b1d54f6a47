"""Convolution of features with filters that depend on the direction and length of edges."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Literal, cast, get_args

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError, check_option
from equivariant.harmonics.real_harmonics import Kind, Normalization, check_degree
from equivariant.nn.derived_buffers import DerivedBuffers
from equivariant.nn.gaunt.accumulation import working_dtype
from equivariant.nn.gaunt.compiled.availability import has_numbers
from equivariant.nn.gaunt.convolution.directions import DirectionHarmonics
from equivariant.nn.gaunt.convolution.edge_form import EdgeForm, convolve
from equivariant.nn.gaunt.convolution.filter_tables import FilterTables
from equivariant.nn.gaunt.convolution.incidence import Incidence, incidence_of
from equivariant.nn.gaunt.paths import Parity, Path, check_reached, expressivity_report
from equivariant.nn.gaunt.product.product import gaunt_product
from equivariant.nn.irreps_layout import IrrepsLayout, Layout
from equivariant.nn.tracing import real_tables
from equivariant.shapes import Float, Int

Weights = Literal["none", "degree"]
WeightName = Literal["weight_in", "weight_out"]
FULL = (torch.float32, torch.float64)
FilterMethod = Literal["auto", "sparse", "dense", "grid"]
FormerMethod = Literal["filter", "matrices"]
_FORMER_NAMES: dict[str, FilterMethod] = {"filter": "auto", "matrices": "dense"}


class GauntConvolution(DerivedBuffers):
    """Multiply features by filters on the sphere, one per edge, and add up where edges end.

        y_t = Σ_{e: source s, target t} x_s ⊗ F_e,    F_e = Σ_l R_el Σ_m Y_lm(r_e/|r_e|) Y_lm

    ⊗ is the product of functions on the sphere, :func:`gaunt_product`, with true and pseudo parts
    as in :class:`GauntTensorProduct`; a filter is true. All channels share the filter, so that
    the filter is contracted first, into one matrix per edge,

        M_e[a, c] = Σ_b F_eb G_abc,   y_e = x_s M_e

    and the rest is a product of matrices: (L+1)⁴ multiply-adds per channel, no grid. On the CPU,
    with Numba, a compiled kernel does all of it edge by edge, with features in their own layout;
    matrices of a few edges exist at a time, and no features or messages of edges. Elsewhere, and
    where torch traces or counts operations, these are batches of matrix products in chunks of
    edges: neither the matrices of all edges exist together where they exceed ``filter_bytes``,
    nor their features and messages; matrices are then made again in the backward.

    Derivatives of every order, in reverse and in forward mode, are exact and made of the same
    operations; those by the edge vectors are forces. Sums over edges are taken in their order:
    equal calls give equal bits on the CPU.

    A weight per degree of the filter, R_el, is a true function; a weight per coupling
    (l1, l2, l3) is a general convolution of Clebsch and Gordan over the couplings present. With
    ``parity="even"`` these have l1+l2+l3 even, with "full" they are all.

    An edge of length 0 has no direction: only degree 0 of its filter counts, and its gradient
    is 0. See :class:`DirectionHarmonics`.

    Args:
        irreps_in: For example ``"8x0e + 8x1o"``: every irrep once, equal multiplicities.
        lmax: Largest degree of the filter, at least 0.
        irreps_out: Irreps of the result, with the same multiplicity, in any order; those that no
            coupling reaches are refused. None takes all that are reached, up to degree
            l1+lmax, in e3nn's order.
        parity: "even" or "full": with brackets, the cross product among them.
        normalization: Of the harmonics that features and filter are coefficients of, see
            :func:`real_harmonics`.
        weights: "none", or "degree": one factor per channel and irrep of input and result,
            shared by edges, which start at 1.
        layout: "mul_ir", e3nn's, or "ir_mul", which needs no copies. Of x and the result.
        method: "auto" takes the kernel where it can, and else matrix products; "sparse" and
            "dense" are one of both. "grid" multiplies at points, edge by edge, by
            :func:`gaunt_product`: for comparison and for large degrees; weights per degree only,
            and all messages exist together.
        filter_bytes: Memory that matrices of edges may take at a time where there is no kernel,
            and, on top of it, their features and messages; at least 1. A chunk has at least one
            edge.

    Attributes:
        paths: The couplings, in the order of weights per coupling: by input irrep, then output
            irrep, then degree of the filter.

    Raises:
        ConventionError: Irreps are not as above, or an option or number is out of range.

    Example:
        >>> layer = GauntConvolution("8x0e + 8x1o", 2, "8x0e + 8x1o")
        >>> vectors, weights = torch.randn(6, 3), torch.randn(6, 3)
        >>> edges = torch.tensor([[0, 0, 1, 2, 3, 3], [1, 2, 0, 0, 0, 2]])
        >>> layer(torch.randn(4, 32), vectors, weights, edge_index=edges).shape
        torch.Size([4, 32])
        >>> len(layer.paths), str(layer.paths[2])
        (5, '1o x 1o -> 0e')

    Source: Luo et al. 2024, equivariant convolution; without rotations, filter first.
    """

    _filter_owner: Tensor
    _in_owner: Tensor
    _out_owner: Tensor
    _in_index: Tensor
    _out_index: Tensor

    def __init__(
        self,
        irreps_in: str | Irreps,
        lmax: int,
        irreps_out: str | Irreps | None = None,
        *,
        parity: Parity = "even",
        normalization: Normalization = "component",
        weights: Weights = "none",
        layout: Layout = "mul_ir",
        method: FilterMethod | FormerMethod = "auto",
        filter_bytes: int = 1 << 26,
    ) -> None:
        super().__init__()
        check_option(parity, ("even", "full"), "parity")
        present = _present_name(method)
        check_option(present, get_args(FilterMethod), "method")
        check_option(weights, ("none", "degree"), "weights")
        check_degree(lmax, "lmax")
        _check_bytes(filter_bytes)
        self._in = IrrepsLayout(irreps_in, "irreps_in", layout=layout)
        self._filter = IrrepsLayout(Irreps.spherical_harmonics(lmax), "lmax")
        multiplicity = self._in.multiplicity
        reached = expressivity_report(self._in.irreps, self._filter.irreps).outputs(parity)
        if irreps_out is None:
            irreps_out = Irreps([(multiplicity, irrep) for irrep in reached])
        self._out = IrrepsLayout(irreps_out, "irreps_out", layout=layout)
        self._out.check_channels(multiplicity, "irreps_out")
        check_reached(
            self._out.each, reached, 'No coupling leads there; parity="full" has more of them.'
        )
        self.irreps_in, self.irreps_out = self._in.irreps, self._out.irreps
        self.irreps_filter = self._filter.irreps
        self.lmax = lmax
        self.parity: Parity = parity
        self.normalization: Normalization = normalization
        self.layout: Layout = layout
        self.method: FilterMethod = present
        self.weights: Weights = weights
        self.filter_bytes = filter_bytes
        report = expressivity_report(self.irreps_in, self.irreps_filter, self.irreps_out)
        self.paths = _ordered(report.reachable(parity), self._in, self._out)
        self.harmonics = DirectionHarmonics(lmax, normalization=normalization)
        self.tables = FilterTables(
            self._in, self._filter, self._out, self.paths, parity=parity,
            normalization=normalization,
        )  # fmt: skip
        with real_tables():
            tables = {"_filter_owner": self._filter.owner()}
            for name, each in (("in", self._in), ("out", self._out)):
                tables[f"_{name}_owner"] = each.owner()
                tables[f"_{name}_index"] = each.weight_index()
        for name, table in tables.items():
            self.derive(name, table)
        if weights == "degree":
            self.weight_in = nn.Parameter(torch.ones(len(self._in.each), multiplicity))
            self.weight_out = nn.Parameter(torch.ones(len(self._out.each), multiplicity))

    def forward(
        self,
        x: Float[Tensor, "rows in"],
        edge_vectors: Float[Tensor, "edges 3"] | None,
        radial_weights: Float[Tensor, "edges weights"],
        *,
        edge_index: Int[Tensor, "2 edges"] | None = None,
        num_nodes: int | None = None,
        harmonics: Float[Tensor, "edges coefficients"] | None = None,
    ) -> Float[Tensor, "out_rows out"]:
        """Convolve.

        Args:
            x: Shape (nodes, irreps_in.dim), or (edges, irreps_in.dim) without ``edge_index``.
            edge_vectors: Shape (edges, 3), float32 or float64, any unit; lengths do not matter.
                None where ``harmonics`` are given.
            radial_weights: Shape (edges, lmax+1), one per degree of the filter, or
                (edges, len(paths)), one per coupling. Where both numbers are equal: per degree.
            edge_index: Shape (2, edges), int64: the node that an edge leaves, and the one where
                its result is added. None: x has a row per edge, and so has the result.
            num_nodes: Number of rows of the result, with ``edge_index`` only. None: those of x.
            harmonics: ``layer.harmonics(edge_vectors)``, shape (edges, (lmax+1)²), in place of the
                vectors: layers with one lmax and normalization can share it.

        Returns:
            Shape (num_nodes, irreps_out.dim), or (edges, irreps_out.dim) without ``edge_index``,
            in the wider dtype of x and radial_weights. Nodes where no edge ends are 0.

        Raises:
            ShapeError: Shapes are not as above.
            ConventionError: Not floating point, or indices not int64 or out of range; or the
                method is "sparse" and features are not on the CPU, or Numba is absent; or tensors
                are on several devices.
        """
        if harmonics is None and edge_vectors is not None:
            harmonics = self.harmonics(edge_vectors)
        harmonics = self._checked(x, harmonics, radial_weights)
        _check_devices(x, harmonics, radial_weights, edge_index)
        incidence = incidence_of(x, harmonics, edge_index, num_nodes)
        alike = x.dtype == harmonics.dtype == radial_weights.dtype and x.dtype in FULL
        if alike and self.method != "grid":  # most calls: nothing to convert
            return self._filter_first(x, (harmonics, radial_weights), incidence)
        dtype, inner = working_dtype(x.dtype, radial_weights.dtype)
        harmonics, radial = harmonics.to(inner), radial_weights.to(inner)
        if self.method == "grid":
            values = self._scaled(self._in.by_channel(x.to(inner)), "weight_in")
            filters = harmonics * radial.index_select(1, self._filter_owner)
            y = self._scaled(self._on_grid(values, filters, incidence), "weight_out")
            return self._out.from_channels(y).to(dtype)
        return self._filter_first(x.to(inner), (harmonics, radial), incidence).to(dtype)

    def _filter_first(
        self, x: Tensor, factors: tuple[Tensor, Tensor], incidence: Incidence
    ) -> Tensor:
        per_path = bool(factors[1].shape[1] != self.lmax + 1)
        method = "auto" if self.method == "grid" else self.method
        work = self.tables.work(x, self.filter_bytes, per_path=per_path, method=method)
        if work.kernel is not None and has_numbers(x, *factors):
            form = EdgeForm(work.matrices, incidence, work.kernel)
            if self.weights == "none":
                return convolve(form, work.columns, x, factors)
            x = x * self.weight_in.to(x.dtype).flatten().index_select(0, self._in_index)
            y = convolve(form, work.columns, x, factors)
            return y * self.weight_out.to(x.dtype).flatten().index_select(0, self._out_index)
        values = self._scaled(self._in.by_component(x), "weight_in").flatten(1)
        y = convolve(EdgeForm(work.matrices, incidence), work.columns, values, factors)
        y = self._scaled(y.view(y.shape[0], self._out.width, self._out.multiplicity), "weight_out")
        return self._out.from_components(y)

    def _scaled(self, values: Tensor, name: WeightName) -> Tensor:
        """Values times the weight of their channel and irrep, where there are weights."""
        if self.weights == "none":
            return values
        owner = self._in_owner if name == "weight_in" else self._out_owner
        weight = self.weight_in if name == "weight_in" else self.weight_out
        factor = weight.to(values.dtype).index_select(0, owner)
        return values * (factor.mT if self.method == "grid" else factor)

    def _on_grid(self, values: Tensor, filters: Tensor, incidence: Incidence) -> Tensor:
        """Every product of the true or pseudo part of x with the filter, edge by edge."""
        gathered = values if incidence.source is None else values.index_select(0, incidence.source)
        sums: dict[int, Tensor] = {}
        for sign, other in product((1, -1), repeat=2):
            degrees = self._in.degree(sign), self.lmax, self._out.degree(other)
            kind: Kind = "even" if sign == other else "odd"
            if min(degrees) < 0 or (kind == "odd" and self.parity == "even"):
                continue
            signal = self._in.function(gathered, sign, degrees[0])
            z = gaunt_product(
                signal,
                filters.unsqueeze(1),
                *degrees,
                normalization=self.normalization,
                kind=kind,
            )
            sums[other] = sums[other] + z if other in sums else z
        messages = torch.cat(
            [sums[sign][..., n**2 : (n + 1) ** 2] for sign, n in self._out.parts], -1
        )
        if incidence.target is None:
            return messages
        rest = messages.shape[1:]
        zeros = messages.new_zeros(incidence.rows_out, *rest)
        return zeros.index_add(0, incidence.target, messages)

    def _checked(self, x: Tensor, harmonics: Tensor | None, radial_weights: Tensor) -> Tensor:
        self._in.check(x, "x")
        if x.dim() != 2:
            raise ShapeError(
                expected=f"(rows, {self._in.dim})",
                got=str(tuple(x.shape)),
                argument="x",
                advice="Flatten leading axes; edges then count rows.",
            )
        width = (self.lmax + 1) ** 2
        if harmonics is None or harmonics.dim() != 2 or harmonics.shape[1] != width:
            raise ShapeError(
                expected=f"edge vectors (edges, 3), or harmonics (edges, {width})",
                got="None" if harmonics is None else f"harmonics {tuple(harmonics.shape)}",
                argument="edge_vectors",
                advice="One vector per edge; harmonics are those of layer.harmonics.",
            )
        edges = harmonics.shape[0]
        counts = (self.lmax + 1, len(self.paths))[: 1 if self.method == "grid" else 2]
        shape = tuple(radial_weights.shape)
        if len(shape) != 2 or shape[0] != edges or shape[1] not in counts:
            raise ShapeError(
                expected=f"({edges}, {' or '.join(map(str, counts))})",
                got=str(shape),
                argument="radial_weights",
                advice="One weight per edge and degree of the filter"
                + (", or per coupling." if len(counts) > 1 else "; couplings need filter first."),
            )
        if not radial_weights.is_floating_point():
            raise ConventionError(
                expected="real floating point numbers",
                got=str(radial_weights.dtype),
                argument="radial_weights",
                advice="Weights are differentiated.",
            )
        return harmonics

    def extra_repr(self) -> str:
        return (
            f"{self.irreps_in} x {self.irreps_filter} -> {self.irreps_out}, "
            f"parity={self.parity}, method={self.method}, weights={self.weights}"
        )


def _present_name(method: FilterMethod | FormerMethod) -> FilterMethod:
    """The method under its present name; former names are taken with a warning."""
    present = _FORMER_NAMES.get(method)
    if present is None:
        return cast(FilterMethod, method)
    warnings.warn(f'method="{method}" is called "{present}" now', DeprecationWarning, stacklevel=3)
    return present


def _ordered(
    paths: tuple[Path, ...], inside: IrrepsLayout, outside: IrrepsLayout
) -> tuple[Path, ...]:
    """Couplings by input irrep, output irrep and degree of the filter."""
    return tuple(
        sorted(
            paths,
            key=lambda p: (inside.each.index(p.first), outside.each.index(p.out), p.second.l),
        )
    )


def _check_devices(x: Tensor, *others: Tensor | None) -> None:
    strange = [t.device for t in others if t is not None and t.device != x.device]
    if strange:
        raise ConventionError(
            expected=f"all tensors on {x.device}, where x is",
            got=str(strange[0]),
            argument="edge_vectors, radial_weights, edge_index",
            advice="Move everything to one device.",
        )


def _check_bytes(filter_bytes: int) -> None:
    if filter_bytes < 1:
        raise ConventionError(
            expected="at least 1",
            got=str(filter_bytes),
            argument="filter_bytes",
            advice="A chunk has at least one edge.",
        )
