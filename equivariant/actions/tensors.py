"""Tensors over the space that a group's own matrices act on, duals, tensor products of actions,
and sums of a given width."""

from __future__ import annotations

import torch
from torch import Tensor

from equivariant.actions.base import Action, DirectSum
from equivariant.actions.intertwiners import algebra_matrices, common_group
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.groups.algebra import has_orthogonal_matrices
from equivariant.shapes import Float, Matrix, Vector


class Tensors(Action):
    """T(p, q): tensors with p indices that move by g and q that move by its inverse transposed.

        (g·T)_{i... k...} = Σ g_{ij} ... g⁻ᵀ_{kl} ... T_{j... l...},   dρ(X) = Σ_a 1 ⊗ ... X ... ⊗ 1

    where -Xᵀ stands for X at the q dual indices. T(0, 0) are scalars, T(1, 0) vectors of the
    space of the group's n x n matrices themselves (homogeneous ones for SE(3)), T(1, 1) their
    linear maps. Any group has them. ``+`` is the direct sum, ``k * T(p, q)`` are k channels, one
    after another, and a product of two is the tensor product.

    Args:
        group: Any group.
        p: Number of indices, at least 0.
        q: Number of dual indices, at least 0; they stand behind the others.
        channels: Number of tensors, at least 1; each is written row by row.

    Raises:
        ConventionError: A number is out of range.

    Example:
        >>> from equivariant.groups import SO3
        >>> action = 4 * Tensors(SO3(), 0) + 2 * Tensors(SO3(), 1) + Tensors(SO3(), 1, 1)
        >>> action.dim
        19

    Source: Finzi, Welling, Wilson 2021, section 3.
    """

    def __init__(self, group: Group, p: int, q: int = 0, *, channels: int = 1) -> None:
        if not isinstance(group, Group):
            raise ConventionError(
                expected="a group", got=repr(group), argument="group",
                advice="For example Tensors(SO3(), 1).",
            )  # fmt: skip
        p, q, channels = (int(n) if n == int(n) else -1 for n in (p, q, channels))
        if min(p, q) < 0 or channels < 1:
            raise ConventionError(
                expected="whole p and q of at least 0 and at least 1 channel",
                got=f"p={p}, q={q}, channels={channels}", argument="p",
                advice="Tensors(group, 0) are scalars.",
            )  # fmt: skip
        super().__init__(group, channels * group.matrix_size ** (p + q))
        self.of, self.p, self.q, self.channels = group, p, q, channels
        self._orthogonal = p + q == 0 or has_orthogonal_matrices(group)

    @property
    def orthogonal(self) -> bool:
        return self._orthogonal

    @property
    def dual(self) -> Tensors:
        """T(q, p), the representation of linear functions of these tensors.

        Its indices stand in the order of T(q, p): those of the dual ones first.
        """
        return Tensors(self.of, self.q, self.p, channels=self.channels)

    def pieces(self) -> list[tuple[Action, int]]:
        return [(Tensors(self.of, self.p, self.q), self.channels)]

    def under(self, group: Group) -> Tensors:
        self.check_same_size(group, self.of)
        return Tensors(group, self.p, self.q, channels=self.channels)

    def __mul__(self, other: int | Tensors) -> Tensors:
        """k channels of it, or the tensor product with tensors of the same group.

        The product has the channels of both, and the indices of T(p + r, q + s): those of both
        factors that move by g, then the dual ones.
        """
        if isinstance(other, int):
            return Tensors(self.of, self.p, self.q, channels=self.channels * other)
        if other.of != self.of:
            raise ConventionError(
                expected=f"tensors of {self.of}", got=f"tensors of {other.of}", argument="other",
                advice="A tensor product is of one group.",
            )  # fmt: skip
        channels = self.channels * other.channels
        return Tensors(self.of, self.p + other.p, self.q + other.q, channels=channels)

    __rmul__ = __mul__

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        n = self.of.matrix_size
        matrices = [g.unsqueeze(-3)] * self.p
        if self.q:
            matrices += [self.of.inverse(g).transpose(-1, -2).unsqueeze(-3)] * self.q
        batch = torch.broadcast_shapes(g.shape[:-2], z.shape[:-1])
        rows: Tensor = z.unflatten(-1, (self.channels, n ** (self.p + self.q)))
        for matrix in reversed(matrices):  # the last index moves and becomes the first
            split = rows.unflatten(-1, (n ** (self.p + self.q - 1), n))
            rows = (split @ matrix.to(z.dtype).transpose(-1, -2)).transpose(-1, -2).flatten(-2)
        return rows.flatten(-2).expand(*batch, -1)

    def algebra(self) -> Tensor:
        basis = self.of.basis()
        n, indices, found = self.of.matrix_size, self.p + self.q, []
        for X in basis:
            total = torch.zeros(self.dim // self.channels, self.dim // self.channels).double()
            for k in range(indices):
                moved = X if k < self.p else -X.T
                left = torch.eye(n**k, dtype=torch.float64)
                right = torch.eye(n ** (indices - 1 - k), dtype=torch.float64)
                total = total + torch.kron(torch.kron(left, moved.contiguous()), right)
            found.append(torch.kron(torch.eye(self.channels, dtype=torch.float64), total))
        empty = torch.zeros(0, self.dim, self.dim, dtype=torch.float64)
        return torch.stack(found) if found else empty

    def extra_repr(self) -> str:
        return f"{self.of}, p={self.p}, q={self.q}, channels={self.channels}"


class Dual(Action):
    """ρ*(g) = ρ(g⁻¹)ᵀ, so that ⟨ρ*(g) a, ρ(g) z⟩ = ⟨a, z⟩.

    Args:
        action: A linear action of a group.

    Raises:
        ConventionError: The action has no group.

    Example:
        >>> import torch
        >>> from equivariant.groups import Scaling
        >>> g = Scaling(1).exp(torch.tensor([2.0]).log())
        >>> Dual(Tensors(Scaling(1), 1))(g, torch.tensor([1.0]))
        tensor([0.5000])
    """

    def __init__(self, action: Action) -> None:
        if action.group is None:
            raise ConventionError(
                expected="an action of a group", got="one of any group", argument="action",
                advice="A trivial action is its own dual.",
            )  # fmt: skip
        super().__init__(action.group, action.dim)
        self.action = action
        self._of = action.group

    @property
    def orthogonal(self) -> bool:
        return self.action.orthogonal

    def pieces(self) -> list[tuple[Action, int]]:
        return [(Dual(piece) if piece.group else piece, n) for piece, n in self.action.pieces()]

    def under(self, group: Group) -> Dual:
        return Dual(self.action.under(group))

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        back = self.action.matrix(self._of.inverse(g)).to(z.dtype)
        moved: Tensor = (back.transpose(-1, -2) @ z.unsqueeze(-1)).squeeze(-1)
        return moved


def uniform_tensors(group: Group, width: int, *, most: int | None = None) -> Action:
    """A sum of tensors of about the same number of entries in every rank, ``width`` in all.

    Ranks 0, 1, ..., N are used, N the largest with n^N (N + 1) <= width; each gets the same share
    of the entries, rounded down to whole tensors, and scalars fill up what is left. Groups whose
    matrices are not orthogonal divide a rank r among T(r, 0), T(r - 1, 1), ..., T(0, r).

    Args:
        group: Any group; only its matrix size and whether its matrices are orthogonal count.
        width: Number of entries, at least 1.
        most: Largest rank; None for no limit.

    Returns:
        An action of dim ``width``.

    Raises:
        ConventionError: The width is less than 1, or ``most`` negative.

    Example:
        >>> from equivariant.groups import SO3
        >>> [(count, piece.dim) for piece, count in uniform_tensors(SO3(), 128).pieces()]
        [(44, 1), (10, 3), (3, 9), (1, 27)]

    Source: Finzi, Welling, Wilson 2021, the allocation of hidden representations.
    """
    if width < 1 or (most is not None and most < 0):
        raise ConventionError(
            expected="a width of at least 1 and a rank of at least 0",
            got=f"width={width}, most={most}", argument="width",
            advice="The width is the number of entries of the representation.",
        )  # fmt: skip
    n, top = group.matrix_size, 0
    while (most is None or top < most) and (n ** (top + 1)) * (top + 2) <= width and top < 8:
        top += 1
    orthogonal, parts, left = has_orthogonal_matrices(group), [], width
    for rank in range(top, 0, -1):
        kinds = [(rank, 0)] if orthogonal else [(rank - q, q) for q in range(rank + 1)]
        count = width // (top + 1) // n**rank
        for k, (p, q) in enumerate(kinds):
            share = (count + k) // len(kinds)
            if share:
                parts.append(Tensors(group, p, q, channels=share))
                left -= share * n**rank
    scalars = [Tensors(group, 0, channels=left)] if left else []
    return DirectSum([*scalars, *reversed(parts)])


class TensorProduct(Action):
    """ρ₁ ⊗ ρ₂: matrices Z of ρ₁ rows and ρ₂ columns, written row by row.

        Z ↦ ρ₁(g) Z ρ₂(g)ᵀ,   dρ(X) = dρ₁(X) ⊗ 1 + 1 ⊗ dρ₂(X)

    With :class:`Factor` the two factors of a direct product act on rows and on columns: sets of
    vectors under SO(3) x S_n, say.

    Args:
        left: Linear action on rows.
        right: Linear action on columns, of the same group; a trivial one makes copies.

    Raises:
        ConventionError: The actions have no group or two.

    Example:
        >>> from equivariant.actions import EquivariantMaps, Factor, Tensors
        >>> from equivariant.groups import SO3, Permutation, Product
        >>> both = Product(SO3(), Permutation(5))
        >>> vectors = TensorProduct(
        ...     Factor(Tensors(SO3(), 1), both, 0), Factor(Tensors(Permutation(5), 1), both, 1)
        ... )
        >>> vectors.dim, EquivariantMaps(vectors, vectors).rank
        (15, 2)
    """

    def __init__(self, left: Action, right: Action) -> None:
        self._of = common_group(left, right)
        super().__init__(self._of, left.dim * right.dim)
        self.left, self.right = left, right

    @property
    def orthogonal(self) -> bool:
        return self.left.orthogonal and self.right.orthogonal

    def pieces(self) -> list[tuple[Action, int]]:
        """A piece of the left action with all of the right one: their entries stand together."""
        found: list[tuple[Action, int]] = []
        for piece, count in self.left.pieces():
            if piece.group is None and self.right.group is None:
                return [(self, 1)]
            found.append((TensorProduct(piece, self.right), count))
        return found

    def under(self, group: Group) -> TensorProduct:
        return TensorProduct(self.left.under(group), self.right.under(group))

    def forward(self, g: Matrix, z: Vector) -> Vector:
        self.check_element(g)
        self.check_vector(z)
        rows = z.unflatten(-1, (self.left.dim, self.right.dim))
        moved: Tensor = self.right(g.unsqueeze(-3), rows)
        moved = self.left(g.unsqueeze(-3), moved.transpose(-1, -2))
        return moved.transpose(-1, -2).flatten(-2)

    def algebra(self) -> Float[Tensor, "d dim dim"]:
        left, right = (
            torch.from_numpy(algebra_matrices(action, self._of))
            if action.group is not None
            else torch.zeros(self._of.dim, action.dim, action.dim, dtype=torch.float64)
            for action in (self.left, self.right)
        )
        eye_left, eye_right = (
            torch.eye(action.dim, dtype=torch.float64) for action in (self.left, self.right)
        )
        found = [
            torch.kron(X.contiguous(), eye_right) + torch.kron(eye_left, Y.contiguous())
            for X, Y in zip(left, right, strict=True)
        ]
        empty = torch.zeros(0, self.dim, self.dim, dtype=torch.float64)
        return torch.stack(found) if found else empty
