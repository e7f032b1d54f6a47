"""The product of functions on the sphere as a layer between e3nn's irreps."""

from __future__ import annotations

from typing import Literal

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError, check_option
from equivariant.harmonics.real_harmonics import Normalization, degree_scales
from equivariant.nn.derived_buffers import DerivedBuffers
from equivariant.nn.gaunt.compiled.availability import check_sparse
from equivariant.nn.gaunt.methods.fastest import prefers_sparse
from equivariant.nn.gaunt.methods.registry import METHODS, Method
from equivariant.nn.gaunt.multilinear import derivative
from equivariant.nn.gaunt.paths import Parity, check_reached, expressivity_report
from equivariant.nn.gaunt.product.function_product import FunctionProduct
from equivariant.nn.gaunt.product.irreps_form import IrrepsForm
from equivariant.nn.gaunt.product.irreps_terms import IrrepsProduct
from equivariant.nn.gaunt.product.path_norm import PathNorm
from equivariant.nn.gaunt.product.product import check_leading
from equivariant.nn.irreps_layout import IrrepsLayout, Layout
from equivariant.nn.tracing import makes_graph, real_tables
from equivariant.shapes import Float

Weights = Literal["none", "degree", "path"]
Mode = Literal["uuu", "uvu"]


class GauntTensorProduct(DerivedBuffers):
    """Couple two features of O(3) channel by channel, by products of functions on the sphere.

        weights="degree":  z_l3 = w_l3 Σ_l1,l2 (w_l1 x_l1) ⊗ (w_l2 y_l2)
        weights="path":    z_l3 = Σ_l1,l2 w_l1,l2,l3 x_l1 ⊗ y_l2

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
        irreps_in1: For example ``"8x0e + 8x1o + 8x2e"``. Every irrep stands once, and all
            multiplicities are equal.
        irreps_in2: The same for the second operand; with mode "uvu" of multiplicity 1.
        irreps_out: The same for the result, in any order; irreps that no coupling reaches are
            refused. None takes all that are reached, up to degree l1+l2, in e3nn's order.
        mode: "uuu": channels meet one to one. "uvu": the one channel of the second operand meets
            all of the first.
        parity: "even": products of functions. "full": brackets as well.
        normalization: Of the harmonics that features are coefficients of, see
            :func:`gaunt_product`. The default is that function's; convolutions, powers and
            self-mixes, whose results are features again, take "component".
        weights: "none"; "degree": one factor per channel and irrep of both operands and the
            result; "path": one per channel and coupling, in the order of the irreps.
        path_norm: "none", or "cg-like": fixed factors per degree that make couplings count nearly
            alike, as Wigner's symbols do, see :func:`degree_factors`. Products and brackets have
            factors of their own.
        layout: Layout of features in memory. "mul_ir" is e3nn's: the 2l+1 coefficients of a
            channel side by side. "ir_mul": the channels of a coefficient side by side, which
            kernels prefer.
        method: See :func:`gaunt_product`. Weights per path take "auto" or "sparse", which run in
            compiled kernels, or "dense": coupling by coupling in PyTorch, where "auto" goes if
            kernels cannot. Whether features are where "sparse" or "triton" can run is checked
            when the layer is called.
        internal_weights: Whether weights are parameters of the layer, which start at 1. None: if
            there are weights and they are shared.
        shared_weights: Whether weights passed to ``forward`` serve the whole batch. None: yes.
        dtype: Of the parameters.
        device: Of the parameters.

    Raises:
        ConventionError: Irreps are not as above, or an option is unknown or contradicts another.

    Example:
        >>> layer = GauntTensorProduct("8x0e + 8x1o", "8x0e + 8x1o", weights="degree")
        >>> layer.irreps_out, layer.weight_numel
        (8x0e+8x1o+8x2e, 56)
        >>> layer(torch.randn(5, 32), torch.randn(5, 32)).shape
        torch.Size([5, 72])
        >>> filter = GauntTensorProduct("8x0e + 8x1o", "1x1o", mode="uvu", weights="path")
        >>> filter(torch.randn(5, 32), torch.randn(5, 3)).shape
        torch.Size([5, 72])

    Source: Luo et al. 2024, extended by the bracket of Poisson on the sphere.
    """

    _first: Tensor
    _second: Tensor
    _third: Tensor

    def __init__(
        self,
        irreps_in1: str | Irreps,
        irreps_in2: str | Irreps,
        irreps_out: str | Irreps | None = None,
        *,
        mode: Mode = "uuu",
        parity: Parity = "even",
        normalization: Normalization = "integral",
        weights: Weights = "none",
        path_norm: PathNorm = "none",
        layout: Layout = "mul_ir",
        method: Method = "auto",
        internal_weights: bool | None = None,
        shared_weights: bool | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        degree_scales(0, normalization)
        check_option(mode, ("uuu", "uvu"), "mode")
        check_option(parity, ("even", "full"), "parity")
        check_option(weights, ("none", "degree", "path"), "weights")
        check_option(path_norm, ("none", "cg-like"), "path_norm")
        check_option(layout, ("mul_ir", "ir_mul"), "layout")
        of_paths: tuple[Method, ...] = ("auto", "sparse", "dense")
        check_option(method, of_paths if weights == "path" else METHODS, "method")
        irreps = (irreps_in1, irreps_in2, irreps_out)
        first, second, third = _layouts(irreps, mode=mode, parity=parity, layout=layout)
        self._layouts = (first, second, third)
        self.irreps_in1, self.irreps_in2 = first.irreps, second.irreps
        self.irreps_out, self.multiplicity = third.irreps, first.multiplicity
        self.mode: Mode = mode
        self.parity: Parity = parity
        self.normalization: Normalization = normalization
        self.weights: Weights = weights
        self.path_norm: PathNorm = path_norm
        self.layout: Layout = layout
        self.method: Method = method
        single = [Irreps([(1, irrep) for irrep in each.each]) for each in self._layouts]
        self._product = IrrepsProduct(
            single[0], single[1], single[2], parity, normalization, path_norm
        )
        self._degrees = self._product.degrees
        self._functions = FunctionProduct(self._product, self._layouts)
        self._form = IrrepsForm(
            self._product,
            self.multiplicity,
            layout,
            shared=mode == "uvu" and self.multiplicity > 1,
            weighted=weights == "path",
            compiled=method != "dense",
        )
        self._prepare_weights(internal_weights, shared_weights, dtype, device)

    def _prepare_weights(
        self,
        internal: bool | None,
        shared: bool | None,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> None:
        self.weight_numel = 0
        self._counts: list[int] = []
        if self.weights == "degree":
            self._counts = [each.multiplicity * len(each.each) for each in self._layouts]
            self.weight_numel = sum(self._counts)
            for name, each in zip(("first", "second", "third"), self._layouts, strict=True):
                with real_tables():
                    index = each.weight_index()
                self.derive(f"_{name}", index, device)
        elif self.weights == "path":
            self.weight_numel = self._form.length(3)
        if not self.weight_numel and (internal or shared is False):
            raise ConventionError(
                expected='weights="degree" or "path" where something is said of weights',
                got=f"internal_weights={internal}, shared_weights={shared}",
                argument="internal_weights" if internal else "shared_weights",
                advice='Leave it out: weights="none" has none.',
            )
        self.shared_weights = shared is None or shared
        self.internal_weights = bool(self.weight_numel) and (
            self.shared_weights if internal is None else internal
        )
        if self.internal_weights and not self.shared_weights:
            raise ConventionError(
                expected="shared weights where they are parameters of the layer",
                got="internal_weights=True, shared_weights=False",
                argument="shared_weights",
                advice="Pass weights of each entry to forward, with internal_weights=False.",
            )
        if self.internal_weights:
            self.weight = nn.Parameter(torch.ones(self.weight_numel, dtype=dtype, device=device))

    def forward(
        self,
        x1: Float[Tensor, "... first"],
        x2: Float[Tensor, "... second"],
        weight: Float[Tensor, "... weights"] | None = None,
    ) -> Float[Tensor, "... third"]:
        """Couple two features.

        Args:
            x1: Shape (..., irreps_in1.dim), floating point.
            x2: Shape (..., irreps_in2.dim), floating point. Leading axes broadcast.
            weight: Without internal weights: shape (weight_numel,) if they are shared, otherwise
                (..., weight_numel) with leading axes that broadcast. Else None.

        Returns:
            Shape (..., irreps_out.dim), in the wider dtype of x1 and x2.

        Raises:
            ShapeError: A last axis is not that of the irreps, leading axes do not broadcast, or
                weights are missing or of another shape.
            ConventionError: Weights are passed where none are expected, or the method cannot run
                where the features are.
            MissingExtraError: The method is "triton", and Triton is not installed.
        """
        self._layouts[0].check(x1, "x1")
        self._layouts[1].check(x2, "x2")
        weight = self._weight(weight)
        of_weights = [] if weight is None or weight.dim() < 2 else [weight.shape[:-1]]
        check_leading(x1.shape[:-1], x2.shape[:-1], *of_weights)
        if x1.dtype != x2.dtype:
            dtype = torch.promote_types(x1.dtype, x2.dtype)
            x1, x2 = x1.to(dtype), x2.to(dtype)
        dtype = x1.dtype
        if self.weights == "path" and weight is not None:
            if self.method == "sparse":
                check_sparse(x1)
            return derivative(self._form, 2, (x1, x2, weight.to(dtype)))
        if weight is None:
            return self._couple(x1, x2)
        first, second, third = weight.to(dtype).split(self._counts, -1)
        x1, x2 = x1 * first[..., self._first], x2 * second[..., self._second]
        result: Tensor = self._couple(x1, x2) * third[..., self._third]
        return result

    def _couple(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The product without weights."""
        method = self.method
        if method == "auto":
            tracing = makes_graph()
            vectors = 4096 if tracing else max(x1.numel(), x2.numel()) // self._layouts[0].dim
            if prefers_sparse(self._degrees, vectors, x1):
                return derivative(self._form, 2, (x1, x2))
        elif method == "sparse":
            check_sparse(x1)
            return derivative(self._form, 2, (x1, x2))
        return self._functions(x1, x2, method)

    def _weight(self, given: Tensor | None) -> Tensor | None:
        """Weights of this call, or None if there are none."""
        if self.weight_numel and not self.internal_weights:
            if given is None or given.shape[-1:] != (self.weight_numel,) or (
                self.shared_weights and given.dim() > 1
            ):  # fmt: skip
                shape = f"({'' if self.shared_weights else '..., '}{self.weight_numel},)"
                raise ShapeError(
                    expected=f"weights of shape {shape}",
                    got="None" if given is None else str(tuple(given.shape)),
                    argument="weight",
                    advice="Shared weights have no leading axes; see weight_numel.",
                )
            return given
        if given is not None:
            raise ConventionError(
                expected="no weights: the layer has none, or its own",
                got=f"weights of shape {tuple(given.shape)}",
                argument="weight",
                advice="Construct the layer with internal_weights=False to pass weights.",
            )
        return self.weight if self.internal_weights else None

    def extra_repr(self) -> str:
        return (
            f"{self.irreps_in1} x {self.irreps_in2} -> {self.irreps_out}, mode={self.mode}, "
            f"parity={self.parity}, weights={self.weights}, layout={self.layout}, "
            f"method={self.method}"
        )


def _layouts(
    irreps: tuple[str | Irreps, str | Irreps, str | Irreps | None],
    *,
    mode: Mode,
    parity: Parity,
    layout: Layout,
) -> tuple[IrrepsLayout, IrrepsLayout, IrrepsLayout]:
    """Both operands and the result, where None takes all irreps that are reached."""
    irreps_in1, irreps_in2, irreps_out = irreps
    first = IrrepsLayout(irreps_in1, "irreps_in1", layout=layout)
    second = IrrepsLayout(irreps_in2, "irreps_in2", layout=layout)
    report = expressivity_report(first.irreps, second.irreps)
    reached = report.outputs(parity)
    if irreps_out is None:
        irreps_out = Irreps([(first.multiplicity, irrep) for irrep in reached])
    third = IrrepsLayout(irreps_out, "irreps_out", layout=layout)
    if mode == "uuu":
        second.check_channels(first.multiplicity, "irreps_in2", "irreps_in1")
    else:
        second.check_channels(1, "irreps_in2", "the operand that all channels share")
    third.check_channels(first.multiplicity, "irreps_out", "irreps_in1")
    helps = all(irrep in report.outputs("full") for irrep in third.each)
    advice = 'parity="full" reaches them.' if helps else "Nothing couples to these."
    check_reached(third.each, reached, advice)
    return first, second, third
