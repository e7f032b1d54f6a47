"""Whether matrices are elements of a group, and whether their numbers can be looked at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Matrix, Scalar

_LEAST = 1e-4  # elements that come from text files or single precision are elements still
_UNITS = 16


def membership_tolerance(dtype: torch.dtype) -> float:
    """How far an element may be from its group: 1e-4, or 16 units of rounding if that is more.

    Example:
        >>> membership_tolerance(torch.float64), membership_tolerance(torch.bfloat16)
        (0.0001, 0.125)
    """
    return max(_LEAST, _UNITS * torch.finfo(dtype).eps)


def numbers_are_known(*tensors: Tensor) -> bool:
    """Whether a check may look at the numbers of tensors.

    Args:
        tensors: Any.

    Returns:
        False while a program is compiled, traced, captured or vectorized, and for tensors
        without numbers (meta, fake) or of a class of their own.

    Example:
        >>> numbers_are_known(torch.ones(2)), numbers_are_known(torch.ones(2, device="meta"))
        (True, False)
    """
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return False
    if torch._C._are_functorch_transforms_active() or torch._C._len_torch_dispatch_stack():
        return False
    plain = all(
        type(x) in (Tensor, torch.nn.Parameter)
        and x.device.type != "meta"
        and not torch._C._functorch.is_legacy_batchedtensor(x)
        for x in tensors
    )
    if plain and any(x.device.type == "cuda" for x in tensors):
        return not torch.cuda.is_current_stream_capturing()
    return plain


def orthogonality_defect(matrix: Matrix, *, special: bool) -> Scalar:
    """max |Mᵀ M - I|; infinite where ``special`` asks for determinant +1 and it is negative.

    Args:
        matrix: Shape (..., n, n).
        special: Whether the determinant must be positive.

    Returns:
        Shape (...).

    Example:
        >>> orthogonality_defect(torch.diag(torch.tensor([1.0, -1.0])), special=True)
        tensor(inf)
    """
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    defect = (matrix.transpose(-1, -2) @ matrix - eye).abs().amax((-2, -1))
    return torch.where(determinant(matrix) > 0, defect, torch.inf) if special else defect


def determinant(matrix: Matrix) -> Scalar:
    """Determinant, shape (...), without a factorization for the sides 2 and 3.

    Example:
        >>> determinant(torch.diag(torch.tensor([1.0, 2.0, 3.0])))
        tensor(6.)
    """
    if matrix.shape[-1] == 2:
        return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]
    if matrix.shape[-1] == 3:
        a, b, c = matrix.unbind(-2)
        triple: Tensor = (torch.linalg.cross(a, b) * c).sum(-1)
        return triple
    found: Tensor = torch.linalg.det(matrix)
    return found


def affine_defect(matrix: Matrix, linear_defect: Scalar) -> Scalar:
    """The larger of the linear part's defect and that of the bottom row (0, ..., 0, 1).

    Args:
        matrix: Shape (..., n + 1, n + 1).
        linear_defect: Of its first n rows and columns, shape (...).

    Example:
        >>> affine_defect(torch.tensor([[1.0, 5.0], [0.5, 1.0]]), torch.tensor(0.25))
        tensor(0.5000)
    """
    bottom = torch.zeros_like(matrix[..., -1, :])
    bottom[..., -1] = 1.0
    return torch.maximum(linear_defect, (matrix[..., -1, :] - bottom).abs().amax(-1))


def check_matrices(g: Any, size: int, *, of: str, argument: str) -> None:
    """Refuse what is no tensor of square matrices of a size.

    Args:
        g: Anything.
        size: n of the n x n matrices.
        of: What they are elements of, in words.
        argument: Name of the argument that g came in.

    Raises:
        ConventionError: It is no tensor.
        ShapeError: The last two axes are not (n, n).
    """
    if not isinstance(g, Tensor):
        raise ConventionError(
            expected=f"elements of {of} as a torch tensor", got=type(g).__name__,
            argument=argument, advice="torch.as_tensor(matrices) makes one of an array.",
        )  # fmt: skip
    if g.ndim < 2 or tuple(g.shape[-2:]) != (size, size):
        raise ShapeError(
            expected=f"elements of {of} as matrices of shape (..., {size}, {size})",
            got=f"shape {tuple(g.shape)}", argument=argument,
            advice="Convert quaternions, Euler angles or rotation vectors to matrices first.",
        )  # fmt: skip


def check_floats(g: Tensor, argument: str) -> None:
    """Refuse matrices of integers.

    Raises:
        ConventionError: They are.
    """
    if not g.is_floating_point():
        raise ConventionError(
            expected="matrices of floating-point numbers", got=str(g.dtype),
            argument=argument, advice="matrices.double() keeps all digits.",
        )  # fmt: skip
