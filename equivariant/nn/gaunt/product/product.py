"""The product of two functions on the sphere, and its antisymmetric twin, on coefficients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.harmonics.real_harmonics import Kind, Normalization, check_degree, degree_scales
from equivariant.nn.gaunt.compiled.availability import check_sparse, sparse_fits
from equivariant.nn.gaunt.methods.fastest import case_of, measure
from equivariant.nn.gaunt.methods.registry import METHODS, Method
from equivariant.nn.gaunt.methods.triton_contraction import TRITON
from equivariant.nn.gaunt.multilinear import derivative
from equivariant.nn.gaunt.product.trilinear import TrilinearForm
from equivariant.shapes import Float

__all__ = ["Method", "TrilinearForm", "benchmark_methods", "gaunt_product"]


def gaunt_product(
    x1: Float[Tensor, "... first"],
    x2: Float[Tensor, "... second"],
    L1: int,
    L2: int,
    L3: int,
    *,
    normalization: Normalization = "integral",
    kind: Kind = "even",
    method: Method = "auto",
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
        method: All compute the same, to rounding. "auto" takes what rules or
            :func:`benchmark_methods` say is fastest. "grid" multiplies values at points,
            ``((x1 T1) * (x2 T2)) T3``; "half_grid" does so on half of the sphere, even and odd
            degrees apart; "separable" sums over degrees and orders one after the other, for high
            degrees. "sparse" sums over the coefficients that are not zero, in kernels on the CPU:
            machine code written out for just these coefficients when it is first needed (up to
            degree 6, in hundredths of a second to one second), tables of them above; "dense"
            over all (L1+1)²(L2+1)²(L3+1)², for the lowest degrees. "triton" sums as "sparse"
            does, on CUDA devices; "auto" takes it only where :func:`benchmark_methods` found it
            fastest. "fft" and "fft_real" convolve Fourier series: the published algorithm, kept
            as a reference.

    Returns:
        Coefficients, shape (..., (L3+1)²), in the wider dtype of x1 and x2.

    Raises:
        ShapeError: The last axis is not (L+1)², or the leading axes do not broadcast.
        ConventionError: An option is unknown, a degree negative, an input not floating point, or
            "sparse" is asked for on another device than the CPU or without Numba, "triton" on
            another than CUDA.
        MissingExtraError: "triton" is asked for and Triton is not installed.

    Example:
        >>> x, y = torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, 0.0])
        >>> gaunt_product(x, y, 1, 1, 1, kind="odd").round(decimals=4).abs()
        tensor([0.0000, 0.0000, 0.0000, 0.4886])

    Source: Luo et al. 2024 (even); grid instead of Fourier series: Xie et al. 2025.
    """
    _check_options(L1, L2, L3, normalization, kind, method)
    _check_coefficients(x1, L1, "x1")
    _check_coefficients(x2, L2, "x2")
    check_leading(x1.shape[:-1], x2.shape[:-1])
    dtype = torch.promote_types(x1.dtype, x2.dtype)
    if method == "sparse":
        check_sparse(x1)
    form = TrilinearForm(L1, L2, L3, kind, normalization, method)
    return derivative(form, 2, (x1.to(dtype), x2.to(dtype)))


def benchmark_methods(
    L1: int,
    L2: int,
    L3: int,
    *,
    vectors: int,
    kind: Kind = "even",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> dict[Method, float]:
    """Time all methods on this machine, forward and backward; "auto" takes the fastest from now on.

    Nothing is measured unless this is called: "auto" follows rules otherwise, and its choice for
    given sizes never changes by itself.

    Args:
        L1: Largest degree of the first operand, at least 0.
        L2: Of the second, at least 0.
        L3: Of the result, at least 0.
        vectors: Number of products at once: batch times channels, at least 1. The choice holds
            for numbers from the power of 4 below up to the next one.
        kind: "even" or "odd".
        dtype: Of the operands.
        device: Of the operands.

    Returns:
        Seconds by method, least of five; dense tables above 10⁷ numbers are left out.

    Raises:
        ConventionError: A degree is negative or an option unknown.

    Example:
        >>> seconds = benchmark_methods(2, 2, 2, vectors=64)
        >>> min(seconds, key=seconds.get) in seconds
        True
    """
    _check_options(L1, L2, L3, "integral", kind, "auto")
    degrees = (L1, L2, L3)
    generator = torch.Generator().manual_seed(0)
    x1, x2, g = (
        torch.randn(vectors, (degree + 1) ** 2, generator=generator).to(device, dtype)
        for degree in degrees
    )
    x1.requires_grad_()
    x2.requires_grad_()
    entries = (L1 + 1) ** 2 * (L2 + 1) ** 2 * (L3 + 1) ** 2
    able = {
        "auto": False,
        "dense": entries <= 10**7,
        "sparse": sparse_fits(x1.device, dtype),
        "triton": x1.is_cuda and TRITON,
    }

    def call(method: Method) -> Callable[[], object]:
        form = TrilinearForm(L1, L2, L3, kind, "integral", method)
        return lambda: torch.autograd.grad(derivative(form, 2, (x1, x2)), (x1, x2), g)

    candidates = {method: call(method) for method in METHODS if able.get(method, True)}
    return measure(case_of(degrees, kind, vectors, x1), candidates)


def _check_options(
    L1: int, L2: int, L3: int, normalization: Normalization, kind: Kind, method: Method
) -> None:
    for name, degree in (("L1", L1), ("L2", L2), ("L3", L3)):
        check_degree(degree, name)
    degree_scales(0, normalization)
    if kind not in ("even", "odd") or method not in METHODS:
        raise ConventionError(
            expected=f"kind even or odd, and method one of {', '.join(METHODS)}",
            got=f"kind={kind!r}, method={method!r}",
            argument="kind" if kind not in ("even", "odd") else "method",
            advice="even is the product of functions, odd the bracket; auto suits every size.",
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


def check_leading(*leading: torch.Size) -> None:
    """Refuse leading axes that do not broadcast.

    Args:
        leading: Of the first operand, the second, and, where they have some, the weights.

    Raises:
        ShapeError: They do not broadcast.

    Example:
        >>> check_leading(torch.Size([4, 1]), torch.Size([3]))
    """
    if all(shape == leading[0] for shape in leading):
        return
    try:
        torch.broadcast_shapes(*leading)
    except RuntimeError as error:
        raise ShapeError(
            expected=f"leading axes that broadcast with {tuple(leading[0])}",
            got=", ".join(str(tuple(shape)) for shape in leading[1:]),
            argument="x2",
            advice="Insert axes of size 1 where one operand serves many of the other.",
        ) from error
