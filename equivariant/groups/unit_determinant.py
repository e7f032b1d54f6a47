"""Nearest matrices of determinant one."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.shapes import Matrix, Scalar, Vector

_HALVINGS = 60


def nearest_of_unit_determinant(matrix: Matrix) -> Matrix:
    """Matrix of determinant 1 nearest to a square matrix in the Frobenius norm.

        M = U S Vᵀ,   A = U D Vᵀ,   d_i (d_i - s_i) = λ,   Π d_i = 1

    with det(U Vᵀ) = 1, for which the last of S takes the sign of det M. The equations are those
    of Lagrange; all d_i are functions of the last, which is found by halving. Then one step of
    Newton's method on the equations of A itself, which knows M, takes back rounding and carries
    the derivative.

    Args:
        matrix: Shape (..., n, n), n at least 2, float32 or float64.

    Returns:
        Shape (..., n, n). A matrix of determinant 1 is returned up to rounding. Differentiable
        once; where several matrices are nearest (a multiple 2 I of the identity has many), one is
        chosen and the component of the gradient along the others is zero.

    Example:
        >>> nearest_of_unit_determinant(torch.diag(torch.tensor([2.0, 2.0]))).diagonal()
        tensor([1., 1.])
    """
    u, s, vh = torch.linalg.svd(matrix.detach())
    last = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0).to(s)
    u = torch.cat([u[..., :-1], u[..., -1:] * last[..., None, None]], -1)
    s = torch.cat([s[..., :-1], s[..., -1:] * last[..., None]], -1)
    d, multiplier = _stationary(s)
    change = _newton(u.mT @ matrix @ vh.mT, d, multiplier[..., None, None])
    nearest: Tensor = u @ (torch.diag_embed(d) + change) @ vh
    return nearest


def _stationary(s: Vector) -> tuple[Vector, Scalar]:
    """d (..., n) and λ (...) of Lagrange's equations for signed singular values s (..., n).

    With x = d_n: λ = x (x - s_n) and 2 d_i = s_i + √(s_i² - s_n² + (2x - s_n)²). log Π d_i is
    increasing for 2x >= s_n. It is negative at 2x = s_n for elements, whose x is s_n; where it is
    positive there, the matrix is so large that the nearest element is flat along one direction,
    and x is below.
    """
    first, last = s[..., :-1], s[..., -1:]

    def all_of(x: Tensor) -> Tensor:
        under = (first - last) * (first + last) + (2 * x - last).square()
        return torch.cat([0.5 * (first + under.clamp(min=0.0).sqrt()), x], -1)

    half = 0.5 * last.clamp(min=0.0)
    least = (1 + 2 * s[..., :1]) ** float(1 - s.shape[-1])
    flat = (half > 0) & (all_of(half.clamp(min=1e-30)).log().sum(-1, keepdim=True) > 0)
    low = torch.where(flat, torch.minimum(least, 0.5 * half), torch.maximum(half, least)).log()
    high = torch.where(flat, half.clamp(min=1e-30), last.clamp(min=1.0)).log()
    low = torch.minimum(low, high)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        beyond = all_of(middle.exp()).log().sum(-1, keepdim=True) > 0
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    x = (0.5 * (low + high)).exp()
    return all_of(x), (x * (x - last)).squeeze(-1)


def _newton(m: Tensor, d: Tensor, multiplier: Tensor) -> Tensor:
    """Change of D that solves the linearized equations A - M = λ A⁻ᵀ, log det A = 0.

    In the frame of U and V they fall apart into pairs of entries off the diagonal and one
    equation for those on it. Divisions by zero stand where the nearest matrix is not unique.
    """
    eye = torch.eye(d.shape[-1], dtype=d.dtype, device=d.device)
    residual = m - torch.diag_embed(d) + multiplier * torch.diag_embed(1 / d)
    ratio = multiplier / (d.unsqueeze(-1) * d.unsqueeze(-2))
    off = _quotient(residual - ratio * residual.mT, 1 - ratio.square())
    curvature = 1 + multiplier.squeeze(-1) / d.square()
    rest = residual.diagonal(dim1=-2, dim2=-1)
    slopes = _quotient(1 / d, curvature)
    moved = -d.log().sum(-1, keepdim=True) - (slopes * rest).sum(-1, keepdim=True)
    change = _quotient(moved, (slopes / d).sum(-1, keepdim=True))
    on = _quotient(rest + change / d, curvature)
    return off * (1 - eye) + torch.diag_embed(on)


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    usable = b.abs() > 64 * torch.finfo(b.dtype).eps
    return torch.where(usable, a / torch.where(usable, b, 1.0), 0.0)
