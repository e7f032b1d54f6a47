"""An action of a group on a representation space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.shapes import Float, Matrix, RepresentationMatrix, Vector


class Action(nn.Module, ABC):
    """A map (g, z) ↦ ρ(g) z. Losses move with it, measurements compare with it.

    Actions are modules because some have weights (:class:`equivariant.nn.Hypernetwork`); the
    others have neither parameters nor state. ``a + b`` is the direct sum.

    Args:
        group: Group that acts; None for an action that is defined for every group (a trivial
            one), until a direct sum gives it its partner's.
        dim: Size of the last axis of z, at least 1.
    """

    event_dim: int = 1
    """How many trailing axes of z one element moves together: 1 for a vector, 2 for a cloud of
    points, 3 for an image; the axes before them are batch axes."""

    def __init__(self, group: Group | None, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ConventionError(
                expected="a dimension of at least 1",
                got=str(dim),
                argument="dim",
                advice="Leave an empty part out of the sum.",
            )
        self.group = group
        self.dim = dim

    @abstractmethod
    def forward(self, g: Matrix, z: Vector) -> Vector:
        """ρ(g) z.

        Args:
            g: Elements, shape (..., n, n).
            z: Vectors, shape (..., dim); the batch axes of g and z broadcast.

        Returns:
            Shape (..., dim), dtype of z.

        Raises:
            ShapeError: The last axes of g or z do not fit.
        """

    @property
    def orthogonal(self) -> bool:
        """Whether every ρ(g) preserves lengths. False where that is not guaranteed."""
        return False

    def matrix(self, g: Matrix) -> RepresentationMatrix:
        """ρ(g) as matrices, shape (..., dim, dim): the action on each basis vector.

        Raises:
            ConventionError: The action is not linear in z.
        """
        self.check_element(g)
        eye = torch.eye(self.dim, dtype=g.dtype, device=g.device)
        columns: Tensor = self(g.unsqueeze(-3), eye)
        return columns.transpose(-1, -2)

    def pieces(self) -> list[tuple[Action, int]]:
        """Actions, each with a number of copies, whose direct sum this is.

        The copies of a piece stand one after another. Linear maps are solved for piece by piece,
        see :func:`equivariant_basis`. By default the action itself, once.
        """
        return [(self, 1)]

    def under(self, group: Group) -> Action:
        """The same kind of action of another group, of the same dim.

        Raises:
            ConventionError: The action cannot be said of another group.
        """
        raise ConventionError(
            expected=f"an action of {self.group} only", got=str(group), argument="group",
            advice="Tensors, Vectors, Trivial, IrrepsAction and sums of them can change groups.",
        )  # fmt: skip

    def algebra(self) -> Float[Tensor, "d dim dim"] | None:
        """dρ(X) of each basis element X of the algebra, where a closed form is known, float64.

        None by default: :func:`equivariant.actions.intertwiners.algebra_matrices` differentiates.
        """
        return None

    def __add__(self, other: Action) -> DirectSum:
        return DirectSum([self, other])

    def __mul__(self, count: int) -> Action:
        """Copies side by side, ``3 * action``."""
        return DirectSum([self] * count)

    def __rmul__(self, count: int) -> Action:
        return self * count

    def extra_repr(self) -> str:
        return f"{self.group}, dim={self.dim}"

    def check_same_size(self, group: Group, own: Group) -> None:
        """Raise ConventionError unless elements of both groups are matrices of one size."""
        if group.matrix_size != own.matrix_size:
            raise ConventionError(
                expected=f"a group of {own.matrix_size} x {own.matrix_size} matrices, as {own}",
                got=str(group), argument="group",
                advice="Embedded(group, size, axes) lets a group act on some axes of a larger one.",
            )  # fmt: skip

    def check_element(self, g: Tensor) -> None:
        """Raise ShapeError unless g is a batch of matrices of this action's group."""
        if self.group is not None:
            self.group.check_element(g)

    def check_vector(self, z: Tensor) -> None:
        """Raise ShapeError unless the last axis of z is ``dim``."""
        if z.ndim < 1 or z.shape[-1] != self.dim:
            raise ShapeError(
                expected=f"vectors of shape (..., {self.dim})",
                got=f"shape {tuple(z.shape)}",
                argument="z",
                advice=f"The last axis is the representation that {type(self).__name__} acts on.",
            )


class DirectSum(Action):
    """Several actions side by side: (ρ₁ ⊕ ρ₂)(g) (z₁, z₂) = (ρ₁(g) z₁, ρ₂(g) z₂).

    Args:
        parts: Actions of one group, in the order of their slices of z; sums are flattened.

    Raises:
        ConventionError: Two parts belong to different groups, or there is none.

    Example:
        >>> from equivariant.actions import Trivial, Vectors
        >>> from equivariant.groups import SO3
        >>> action = Trivial(4) + Vectors(SO3(), channels=2)
        >>> action.dim, [part.dim for part in action.parts]
        (10, [4, 6])
    """

    def __init__(self, parts: Sequence[Action]) -> None:
        flat: list[Action] = []
        for part in parts:
            flat.extend(part.summands if isinstance(part, DirectSum) else [part])
        groups = {part.group for part in flat} - {None}
        if len(groups) > 1 or not flat:
            raise ConventionError(
                expected="at least one part, all of one group",
                got=", ".join(sorted(map(str, groups))) or "no part",
                argument="parts",
                advice="Use Factor(action, product, index) for one factor of a product group.",
            )
        super().__init__(next(iter(groups), None), sum(part.dim for part in flat))
        self.parts = nn.ModuleList(flat)

    @property
    def summands(self) -> list[Action]:
        """The parts, as actions."""
        return [part for part in self.parts if isinstance(part, Action)]

    @property
    def orthogonal(self) -> bool:
        return all(part.orthogonal for part in self.summands)

    def pieces(self) -> list[tuple[Action, int]]:
        return [piece for part in self.summands for piece in part.pieces()]

    def under(self, group: Group) -> DirectSum:
        return DirectSum([part.under(group) for part in self.summands])

    @property
    def slices(self) -> list[slice]:
        """Which entries of z each part acts on."""
        ends = list(accumulate(part.dim for part in self.summands))
        return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        moved = [
            part(g, z[..., rows]) for part, rows in zip(self.summands, self.slices, strict=True)
        ]
        batch = torch.broadcast_shapes(*(part.shape[:-1] for part in moved))
        return torch.cat([part.expand(*batch, -1) for part in moved], -1)


class Factor(Action):
    """An action of one factor of a product group, as an action of the product.

    Args:
        action: Action of the factor.
        product: Product group.
        index: Which factor.

    Raises:
        ConventionError: The factor is not the action's group.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import Product, SO3, Translation
        >>> Factor(Vectors(SO3()), Product(SO3(), Translation(1)), 0).dim
        3
    """

    def __init__(self, action: Action, product: Group, index: int) -> None:
        factors: tuple[Group, ...] = getattr(product, "factors", ())
        if not -len(factors) <= index < len(factors) or factors[index] != action.group:
            raise ConventionError(
                expected=f"a product group whose factor {index} is {action.group}",
                got=str(product),
                argument="product",
                advice="Name the factor that the action belongs to.",
            )
        super().__init__(product, action.dim)
        self.action = action
        self.event_dim = action.event_dim
        start = sum(factor.matrix_size for factor in factors[: index % len(factors)])
        self._block = slice(start, start + factors[index].matrix_size)
        self._product, self._index = product, index

    @property
    def orthogonal(self) -> bool:
        return self.action.orthogonal

    def pieces(self) -> list[tuple[Action, int]]:
        return [
            (Factor(piece, self._product, self._index) if piece.group else piece, count)
            for piece, count in self.action.pieces()
        ]

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        moved: Tensor = self.action(g[..., self._block, self._block], z)
        return moved
