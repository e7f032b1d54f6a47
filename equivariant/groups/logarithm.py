"""The principal logarithm of a matrix."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.groups.membership import numbers_are_known
from equivariant.shapes import Matrix

# Gauss-Legendre rule on [-1, 1]; for |A - I| <= 1/2 its error is far below rounding.
_NODES, _WEIGHTS = (tuple(map(float, row)) for row in np.polynomial.legendre.leggauss(16))
_NEWTON_STEPS = 60
_ROOTS = 40
_FIXED_ROOTS, _FIXED_STEPS = 10, 16  # where numbers cannot be looked at


def principal_log(matrix: Matrix) -> Matrix:
    """Logarithm whose eigenvalues have imaginary parts in (-π, π), by scaling and squaring.

        log A = 2ᵏ log A^(1/2ᵏ),   log(I + X) = ∫₀¹ X (I + t X)⁻¹ dt

    Square roots (Newton's iteration in product form) are taken until A is near I; the integral
    is then a Gauss-Legendre sum, which is a Padé approximant. Only inverses and products occur,
    so derivatives of any order exist, also where eigenvalues repeat, at the identity for
    instance.

    Args:
        matrix: Invertible, shape (..., n, n), floating point.

    Returns:
        Shape (..., n, n), dtype of the input.

    Raises:
        ConventionError: An eigenvalue lies on the closed negative real axis, up to rounding:
            there is no principal logarithm.

    Example:
        >>> principal_log(torch.diag(torch.tensor([1.0, 2.0], dtype=torch.float64)))
        tensor([[0.0000, 0.0000],
                [0.0000, 0.6931]], dtype=torch.float64)

    Source: Higham 2008, Functions of Matrices, chapters 6 and 11.
    """
    if not numbers_are_known(matrix):
        return _without_looking(matrix)
    _check_spectrum(matrix.detach())
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    root, roots = matrix, 0
    while roots < _ROOTS and _far(root - eye, 0.5):
        root, roots = square_root(root), roots + 1
    return 2.0**roots * _log_near_one(root - eye)


def _log_near_one(x: Tensor) -> Tensor:
    """log(I + X) for |X| <= 1/2."""
    eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    total = torch.zeros_like(x)
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        total = total + 0.5 * weight * torch.linalg.solve(eye + 0.5 * (1 + node) * x, x)
    return total


def _without_looking(matrix: Tensor) -> Tensor:
    """The same where steps cannot depend on numbers, with a little more rounding (1e-11).

    Ten square roots, the first two with steps enough for condition numbers of 1e6; NaN where
    there is no principal logarithm, unless a step is singular there and torch says so.
    """
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    root = matrix
    for number in range(_FIXED_ROOTS):
        m = y = root
        for _ in range(_FIXED_STEPS if number < 2 else _FIXED_STEPS // 2):
            inverse = torch.linalg.inv(m)
            y = 0.5 * (y + y @ inverse)
            m = 0.5 * (eye + 0.5 * (m + inverse))
        root = 0.5 * (y + torch.linalg.solve(y, root))
    missing = _has_no_log(torch.linalg.eigvals(matrix.detach()), matrix.dtype)
    return torch.where(
        missing[..., None, None], torch.nan, 2.0**_FIXED_ROOTS * _log_near_one(root - eye)
    )


def square_root(matrix: Matrix) -> Matrix:
    """Principal square root, its eigenvalues in the right half plane.

        M ← (I + (M + M⁻¹)/2) / 2,   Y ← Y (I + M⁻¹) / 2,   from M = Y = A;   Y → √A

    Args:
        matrix: Without eigenvalues on the closed negative real axis, shape (..., n, n).

    Returns:
        Shape (..., n, n).

    Example:
        >>> square_root(torch.diag(torch.tensor([4.0, 9.0], dtype=torch.float64))).diagonal()
        tensor([2., 3.], dtype=torch.float64)

    Source: Denman and Beavers 1976; the product form is Cheng, Higham, Kenney and Laub 2001.
    """
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    m = y = matrix
    # Convergence is quadratic: from the threshold two more steps reach rounding, and so do
    # the derivatives, whose error is one order behind.
    threshold, left = torch.finfo(matrix.dtype).eps ** 0.5, 2
    for _ in range(_NEWTON_STEPS):
        left -= 0 if _far(m - eye, threshold) else 1
        inverse = torch.linalg.inv(m)
        y = 0.5 * (y + y @ inverse)
        m = 0.5 * (eye + 0.5 * (m + inverse))
        if left <= 0:
            break
    # One step of Y ← (Y + Y⁻¹ A)/2, which knows A still, takes back what rounding gathered.
    root: Tensor = 0.5 * (y + torch.linalg.solve(y, matrix))
    return root


def _far(difference: Tensor, threshold: float) -> bool:
    return bool((torch.linalg.matrix_norm(difference.detach()) > threshold).any())


def _check_spectrum(matrix: Tensor) -> None:
    if bool(_has_no_log(_eigenvalues(matrix), matrix.dtype).any()):
        raise ConventionError(
            expected="matrices without eigenvalues on the closed negative real axis",
            got="one that has such an eigenvalue",
            argument="matrix",
            advice="It is singular, reverses orientation or holds a half turn; halve the motion.",
        )


def _has_no_log(eigenvalues: Tensor, dtype: torch.dtype) -> Tensor:
    tolerance = torch.finfo(dtype).eps ** 0.5 * eigenvalues.abs()
    on_axis: Tensor = (eigenvalues.real <= 0) & (eigenvalues.imag.abs() <= tolerance)
    return on_axis.any(-1)


def _eigenvalues(matrix: Tensor) -> Tensor:
    """Eigenvalues, shape (..., n); some LAPACKs give up on rare skew matrices, a shift helps."""
    try:
        eigenvalues: Tensor = torch.linalg.eigvals(matrix)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        shift = torch.linalg.matrix_norm(matrix)[..., None]
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        eigenvalues = torch.linalg.eigvals(matrix + shift[..., None] * eye) - shift
    return eigenvalues
