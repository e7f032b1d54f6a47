"""The product of two functions on the sphere, and its antisymmetric twin, on coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.gaunt.tables import (
    Kind,
    Normalization,
    check_degree,
    degree_scales,
    dense_table,
    grid_tables,
)
from equivariant.shapes import Float

Method = Literal["grid", "dense"]


def gaunt_product(
    x1: Float[Tensor, "... first"],
    x2: Float[Tensor, "... second"],
    L1: int,
    L2: int,
    L3: int,
    *,
    normalization: Normalization = "integral",
    kind: Kind = "even",
    method: Method = "grid",
) -> Float[Tensor, "... third"]:
    """Multiply two functions on the sphere, given and returned as coefficients of harmonics.

        f = Σ_a x1_a Y_a,  g = Σ_b x2_b Y_b
        even:  z_c = ⟨f g, Y_c⟩              coupling l1 ⊗ l2 → l3 with l1+l2+l3 even
        odd:   z_c = ⟨n·(∇f × ∇g), Y_c⟩      with l1+l2+l3 odd: cross products and the like

    where ⟨·,·⟩ is the integral over the sphere for "integral" and the mean for the other
    normalizations. Both are bilinear maps that commute with rotations. Under the reflection of
    space "even" makes a scalar function of two scalar functions, "odd" a pseudoscalar one. All
    degrees of the result sum over their couplings: weights per coupling are not expressible.

    Nothing is approximated: the grid integrates degree L1+L2+L3. Derivatives of every order are
    products of the same kind. Only the inputs are kept for them. Under autocast the product
    stays in the dtype of its inputs; half precision is multiplied in float32 and rounded last.
    Matrix products of float32 follow ``torch.set_float32_matmul_precision``: below "highest"
    they cost equivariance.

    Args:
        x1: Coefficients, shape (..., (L1+1)²), floating point; entry l² + l + m belongs to Y_lm.
        x2: Coefficients, shape (..., (L2+1)²), floating point. Leading axes broadcast.
        L1: Largest degree of x1, at least 0.
        L2: Largest degree of x2, at least 0.
        L3: Largest degree of the result, at least 0. Degrees above L1+L2 are 0.
        normalization: Of the harmonics Y, see :func:`real_harmonics`.
        kind: "even" or "odd", as above.
        method: "grid" multiplies values at points: ``((x1 T1) * (x2 T2)) T3``. "dense" contracts
            with all coefficients: (L1+1)²(L2+1)²(L3+1)² numbers, for small degrees.

    Returns:
        Coefficients, shape (..., (L3+1)²), in the wider dtype of x1 and x2.

    Raises:
        ShapeError: The last axis is not (L+1)², or the leading axes do not broadcast.
        ConventionError: An option is unknown, a degree negative, or an input not floating point.

    Example:
        >>> x, y = torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 0.0])
        >>> gaunt_product(x, y, 1, 1, 1, kind="odd").round(decimals=4).abs()
        tensor([0.0000, 0.0000, 0.0000, 0.4886])

    Source: Luo et al. 2024 (even); grid instead of Fourier series: Xie et al. 2025.
    """
    _check_options(L1, L2, L3, normalization, kind, method)
    _check_coefficients(x1, L1, "x1")
    _check_coefficients(x2, L2, "x2")
    try:
        torch.broadcast_shapes(x1.shape[:-1], x2.shape[:-1])
    except RuntimeError as error:
        raise ShapeError(
            expected=f"leading axes that broadcast with {tuple(x1.shape[:-1])}",
            got=str(tuple(x2.shape[:-1])),
            argument="x2",
            advice="Insert axes of size 1 where one operand serves many of the other.",
        ) from error
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    form = TrilinearForm(L1, L2, L3, kind, normalization, method)
    return _apply(x1.to(dtype), x2.to(dtype), form)


@dataclass(frozen=True)
class TrilinearForm:
    """Which invariant trilinear form of three functions on the sphere, and how to evaluate it.

        even:  ⟨f g h⟩, symmetric       odd:  ⟨n·(∇f × ∇g) h⟩, antisymmetric

    Both are unchanged when the three operands move round in a circle, and so is the grid: that
    makes each derivative of the product the product again.

    Args:
        first: Largest degree of the first operand, at least 0.
        second: Of the second, at least 0.
        third: Of the third, which is the result, at least 0.
        kind: "even" or "odd".
        normalization: See :func:`real_harmonics`.
        method: See :func:`gaunt_product`.

    Example:
        >>> form = TrilinearForm(1, 2, 3, "even", "integral", "grid")
        >>> form.turned().first, form.turned().third, form.exact
        (2, 1, 6)
    """

    first: int
    second: int
    third: int
    kind: Kind
    normalization: Normalization
    method: Method

    @property
    def exact(self) -> int:
        """Degree that the grid integrates: the sum, whatever the order."""
        return self.first + self.second + self.third

    def turned(self) -> TrilinearForm:
        """The form with the second operand first, the third second and the first last."""
        return TrilinearForm(
            self.second, self.third, self.first, self.kind, self.normalization, self.method
        )

    def __call__(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Gradient of the form by its third operand.

        Args:
            x1: Shape (..., (first+1)²), floating point.
            x2: Shape (..., (second+1)²), of the same dtype.

        Returns:
            Shape (..., (third+1)²), of the same dtype.
        """
        half = x1.dtype in (torch.float16, torch.bfloat16)
        inner = torch.float32 if half else x1.dtype
        with torch.autocast(device_type=x1.device.type, enabled=False):
            evaluate = self._on_grid if self.method == "grid" else self._densely
            return evaluate(x1.to(inner), x2.to(inner)).to(x1.dtype)

    def _on_grid(self, x1: Tensor, x2: Tensor) -> Tensor:
        settings = (self.exact, self.normalization, x1.dtype, x1.device)
        values1, along1, around1, _ = grid_tables(self.first, *settings)
        values2, along2, around2, _ = grid_tables(self.second, *settings)
        projection = grid_tables(self.third, *settings)[3]
        if self.kind == "even":
            return ((x1 @ values1) * (x2 @ values2)) @ projection
        bracket = (x1 @ along1) * (x2 @ around2) - (x1 @ around1) * (x2 @ along2)
        return bracket @ projection

    def _densely(self, x1: Tensor, x2: Tensor) -> Tensor:
        degrees = (self.first, self.second, self.third)
        table = dense_table(degrees, self.kind, self.normalization, x1.dtype, x1.device)
        return (x1.unsqueeze(-1) * x2.unsqueeze(-2)).flatten(-2) @ table


class _Trilinear(torch.autograd.Function):
    """A trilinear form as a function of two operands, whose derivatives are the form again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x1: Tensor, x2: Tensor, form: TrilinearForm) -> Tensor:
        return form(x1, x2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x1, x2, form = inputs
        ctx.save_for_backward(x1, x2)
        ctx.save_for_forward(x1, x2)
        ctx.form = form

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x1, x2 = ctx.saved_tensors
        form: TrilinearForm = ctx.form
        gradient1 = gradient2 = None
        if ctx.needs_input_grad[0]:
            full = _apply(x2, gradient, form.turned())
            gradient1 = full.sum_to_size(x1.shape)
        if ctx.needs_input_grad[1]:
            full = _apply(gradient, x1, form.turned().turned())
            gradient2 = full.sum_to_size(x2.shape)
        return gradient1, gradient2, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x1, x2 = ctx.saved_tensors
        change = torch.zeros((), dtype=x1.dtype, device=x1.device)
        if tangents[0] is not None:
            change = change + _apply(tangents[0], x2, ctx.form)
        if tangents[1] is not None:
            change = change + _apply(x1, tangents[1], ctx.form)
        return change


def _apply(x1: Tensor, x2: Tensor, form: TrilinearForm) -> Tensor:
    result: Tensor = _Trilinear.apply(x1, x2, form)  # type: ignore[no-untyped-call]
    return result


def _check_options(
    L1: int, L2: int, L3: int, normalization: Normalization, kind: Kind, method: Method
) -> None:
    for name, degree in (("L1", L1), ("L2", L2), ("L3", L3)):
        check_degree(degree, name)
    degree_scales(0, normalization)
    if kind not in ("even", "odd") or method not in ("grid", "dense"):
        raise ConventionError(
            expected="kind even or odd, and method grid or dense",
            got=f"kind={kind!r}, method={method!r}",
            argument="kind" if kind not in ("even", "odd") else "method",
            advice="even is the product of functions, odd the bracket; grid suits every degree.",
        )


def _check_coefficients(x: Tensor, degree: int, argument: str) -> None:
    if not x.is_floating_point():
        raise ConventionError(
            expected="real floating point numbers",
            got=str(x.dtype),
            argument=argument,
            advice="Real harmonics have real coefficients.",
        )
    if x.dim() == 0 or x.shape[-1] != (degree + 1) ** 2:
        raise ShapeError(
            expected=f"(..., {(degree + 1) ** 2}), all degrees up to {degree}",
            got=str(tuple(x.shape)),
            argument=argument,
            advice="Absent degrees are filled with zeros.",
        )
