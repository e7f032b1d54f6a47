"""Points and pairs of points that change their order."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from equivariant.actions.base import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Permutation
from equivariant.shapes import Float, Matrix, RepresentationMatrix


class _Reordering(Action):
    """What the two actions of permutations share: the event's shape and the missing matrix."""

    event_dim: int = 2

    @property
    @abstractmethod
    def event(self) -> tuple[int, int]:
        """Sizes of the last two axes."""

    @property
    def orthogonal(self) -> bool:
        return True

    def matrix(self, g: Matrix) -> RepresentationMatrix:
        """Refused: this is a matrix on all rows together, which P itself says shorter.

        Raises:
            ConventionError: Always.
        """
        raise ConventionError(
            expected="an action on vectors",
            got=f"{type(self).__name__}, an action on arrays of shape {self.event}",
            argument="g",
            advice="On z.flatten(-2) the matrix of Permute(n, d) is torch.kron(P, torch.eye(d)).",
        )

    def check_vector(self, z: Tensor) -> None:
        """Raise ShapeError unless the last two axes are the event's."""
        if z.ndim < 2 or tuple(z.shape[-2:]) != self.event:
            raise ShapeError(
                expected=f"arrays of shape (..., {self.event[0]}, {self.event[1]})",
                got=f"shape {tuple(z.shape)}",
                argument="z",
                advice="The axis before the last runs over what is permuted.",
            )


class Permute(_Reordering):
    """Rows in another order, z ↦ P z.

    Args:
        size: n, the number of rows, at least 1.
        dim: Numbers per row, at least 1.

    Raises:
        ConventionError: A size is less than 1.

    Example:
        >>> import torch
        >>> swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> Permute(2, 3)(swap, torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]]))
        tensor([[2., 2., 2.],
                [1., 1., 1.]])
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__(Permutation(size), dim)
        self.size = size

    @property
    def event(self) -> tuple[int, int]:
        return self.size, self.dim

    def forward(self, g: Matrix, z: Float[Tensor, "... rows dim"]) -> Float[Tensor, "... rows dim"]:
        """Rows in another order.

        Args:
            g: Permutation matrices, shape (..., n, n).
            z: Shape (..., n, dim); the batch axes of g and z broadcast.

        Returns:
            Shape (..., n, dim), dtype of z.

        Raises:
            ShapeError: The last axes of g or z do not fit.
        """
        self.check_element(g)
        self.check_vector(z)
        return g.to(z.dtype) @ z


class PermutePairs(_Reordering):
    """Pairs of things in another order, z ↦ P z Pᵀ: adjacency and distance matrices.

    Args:
        size: n, the number of things, at least 1.

    Raises:
        ConventionError: The size is less than 1.

    Example:
        >>> import torch
        >>> swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> PermutePairs(2)(swap, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[4., 3.],
                [2., 1.]])
    """

    def __init__(self, size: int) -> None:
        super().__init__(Permutation(size), size)

    @property
    def event(self) -> tuple[int, int]:
        return self.dim, self.dim

    def forward(self, g: Matrix, z: Float[Tensor, "... rows columns"]) -> Tensor:
        """Rows and columns in another order.

        Args:
            g: Permutation matrices, shape (..., n, n).
            z: Shape (..., n, n); the batch axes of g and z broadcast.

        Returns:
            Shape (..., n, n), dtype of z.

        Raises:
            ShapeError: The last axes of g or z do not fit.
        """
        self.check_element(g)
        self.check_vector(z)
        permutation = g.to(z.dtype)
        return permutation @ z @ permutation.transpose(-1, -2)
