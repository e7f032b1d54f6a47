"""Orthogonal actions as sums of irreducible ones, and the projection of linear maps there.

In irreducible coordinates a linear map W is a table of blocks W_ab from copy b of an irreducible
type to copy a of another. Equivariant maps have nothing between different types, and between copies
of one type of dimension d only combinations of the few matrices E_r that commute with it (Schur):

    (P W)_ab = Σ_r E_r ⟨E_r, W_ab⟩ / d,     ⟨E_r, E_s⟩ = d δ_rs

For a compact group this is the mean of ρ_out(g)⁻¹ W ρ_in(g) over the whole orbit, without sampling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equivariant.actions.base import Action
from equivariant.actions.equivariant_maps import EquivariantMaps
from equivariant.actions.intertwiners import check_weights
from equivariant.errors import ConventionError
from equivariant.shapes import Float, Scalar

_SAME = 1e-8  # of the largest eigenvalue: nearer neighbours belong to one subspace
_ZERO = 1e-8  # of a random map's size: smaller blocks are none
_TRIES = 6
_ALIKE = 6  # random commuting matrices; at most four are independent on one copy


@dataclass(frozen=True)
class IrreducibleType:
    """Copies of one irreducible representation inside an action.

    Args:
        dim: d, of one copy.
        copies: How many there are.
        commuting: E_r, a basis of the d x d matrices that commute with it, ⟨E_r, E_s⟩ = d δ_rs,
            shape (1, 2 or 4, d, d), float64: one for a representation of real type, two of
            complex type (turns of the plane), four of quaternionic type.
    """

    dim: int
    copies: int
    commuting: Tensor

    @property
    def width(self) -> int:
        """Numbers of all copies."""
        return self.dim * self.copies


class IrreducibleCoordinates:
    """An orthogonal change of basis x ↦ B x after which an action is block-diagonal:

        B ρ(g) Bᵀ = ⊕_types 1_copies ⊗ ρ_type(g)

    Subspaces are the eigenspaces of a random symmetric matrix that commutes with the action, and
    copies of one type are turned so that they move alike. That all is found is checked: the
    squares of the numbers of copies, times 1, 2 or 4, add up to the dimension of the maps that
    commute with the action.

    Args:
        action: Linear and orthogonal.

    Raises:
        ConventionError: The action is not orthogonal, see also :class:`EquivariantMaps`.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> found = IrreducibleCoordinates(Tensors(SO3(), 2) + Tensors(SO3(), 1))
        >>> [(kind.dim, kind.copies) for kind in found.types]
        [(1, 1), (3, 2), (5, 1)]
    """

    def __init__(self, action: Action) -> None:
        if not action.orthogonal:
            raise ConventionError(
                expected="an orthogonal action", got=repr(action), argument="action",
                advice="EquivariantMaps projects for every linear action.",
            )  # fmt: skip
        self.action = action
        maps = EquivariantMaps(action, action)
        generator = torch.Generator().manual_seed(0)
        for _ in range(_TRIES):
            found = _decomposed(maps, generator)
            if sum(len(kind.commuting) * kind.copies**2 for kind in found[0]) == maps.rank:
                self.types, self.basis = found
                return
        raise ConventionError(
            expected="an action that splits into irreducible ones", got=repr(action),
            argument="action", advice="Its matrices must be orthogonal in float64.",
        )  # fmt: skip

    @property
    def slices(self) -> list[slice]:
        """Which coordinates belong to each type; copies stand one after another."""
        ends = torch.tensor([kind.width for kind in self.types]).cumsum(0).tolist()
        return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


class SpectralMaps:
    """The equivariant maps between two orthogonal actions in irreducible coordinates.

    The same space and the same projection as :class:`EquivariantMaps`, and what those do not say:
    between which irreducible types weights are, and where they break the symmetry.

    Args:
        act_in: Linear orthogonal action on inputs.
        act_out: Linear orthogonal action on outputs, of the same group.

    Raises:
        ConventionError: An action is not orthogonal, or they have no group or two.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> maps = SpectralMaps(Tensors(SO3(), 2), Tensors(SO3(), 1))
        >>> maps.shared  # types of the output and of the input that are alike
        [(0, 1)]
        >>> maps.sizes(torch.ones(3, 9)).shape
        torch.Size([1, 3])

    Source: Schur's lemma; Berndt and Stühmer 2026 (penalties on P W and W - P W, the latter also in
    the spectral domain).
    """

    def __init__(self, act_in: Action, act_out: Action) -> None:
        self.maps = EquivariantMaps(act_in, act_out)
        self.act_in, self.act_out = act_in, act_out
        self.inputs, self.outputs = (IrreducibleCoordinates(a) for a in (act_in, act_out))
        self.shared: list[tuple[int, int]] = []
        self._align()

    def coordinates(self, W: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "outputs inputs"]:
        """B_out W B_inᵀ, dtype and device of W.

        Raises:
            ShapeError: W does not fit the actions.
        """
        check_weights(W, self.act_in, self.act_out)
        moved: Tensor = self.outputs.basis.to(W) @ W @ self.inputs.basis.to(W).T
        return moved

    def projection(self, W: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "outputs inputs"]:
        """P W, the nearest equivariant matrix in the Frobenius norm, dtype and device of W.

        Raises:
            ShapeError: W does not fit the actions.
        """
        blocks = self.coordinates(W)
        kept = torch.zeros_like(blocks)
        for rows, columns, small in self._kept(blocks):
            kept[rows, columns] = small
        found: Tensor = self.outputs.basis.to(W).T @ kept @ self.inputs.basis.to(W)
        return found

    def sizes(self, W: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "types_out types_in"]:
        """|W_ab|² between all types of the outputs and of the inputs; they add up to |W|².

        Raises:
            ShapeError: W does not fit the actions.
        """
        return self._table(self.coordinates(W))

    def broken(self, W: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "types_out types_in"]:
        """The same of W - P W: which types the symmetry is broken between.

        Raises:
            ShapeError: W does not fit the actions.
        """
        blocks = self.coordinates(W)
        rest = blocks.clone()
        for rows, columns, small in self._kept(blocks):
            rest[rows, columns] = blocks[rows, columns] - small
        return self._table(rest)

    def equivariant_norm(self, W: Float[Tensor, "outputs inputs"]) -> Scalar:
        """The largest singular value of P W: the largest over types, block by block.

        Raises:
            ShapeError: W does not fit the actions.
        """
        found = [W.new_zeros(())]
        for (out, _), (_, _, small) in zip(
            self.shared, self._kept(self.coordinates(W)), strict=True
        ):
            d = self.outputs.types[out].dim
            single = len(self.outputs.types[out].commuting) == 1
            found.append(torch.linalg.matrix_norm(small[::d, ::d] if single else small, ord=2))
        return torch.stack(found).amax()

    def _kept(self, blocks: Tensor) -> list[tuple[slice, slice, Tensor]]:
        """Where types are alike, and what of the block between them commutes with the group."""
        found = []
        for out, into in self.shared:
            rows, columns = self.outputs.slices[out], self.inputs.slices[into]
            kind = self.outputs.types[out]
            alike = kind.commuting.to(blocks)
            split = blocks[rows, columns].unflatten(1, (-1, kind.dim)).unflatten(0, (-1, kind.dim))
            shares = torch.einsum("rij,aibj->rab", alike, split) / kind.dim
            small = torch.einsum("rij,rab->aibj", alike, shares)
            found.append((rows, columns, small.flatten(2).flatten(0, 1)))
        return found

    def _table(self, blocks: Tensor) -> Tensor:
        rows = [
            torch.stack([blocks[r, c].square().sum() for c in self.inputs.slices])
            for r in self.outputs.slices
        ]
        return torch.stack(rows)

    def _align(self) -> None:
        """Pair types that are alike and turn the inputs' copies so that they move as outputs do."""
        generator = torch.Generator().manual_seed(1)
        joined = self._random_map(generator)
        basis, types = self.inputs.basis.clone(), list(self.inputs.types)
        for out, rows in enumerate(self.outputs.slices):
            for into, columns in enumerate(self.inputs.slices):
                d = self.outputs.types[out].dim
                if d != self.inputs.types[into].dim:
                    continue
                block = joined[rows, columns][:d, :d]
                if float(block.norm()) < _ZERO * max(1.0, float(joined.norm())):
                    continue
                turn = _scaled_to_orthogonal(block)
                turned = turn @ basis[columns].unflatten(0, (-1, d))
                basis[columns] = turned.flatten(0, 1)
                alike = self.outputs.types[out].commuting
                types[into] = replace(types[into], commuting=alike)
                self.shared.append((out, into))
        self.inputs.basis, self.inputs.types = basis, tuple(types)

    def _random_map(self, generator: torch.Generator) -> Tensor:
        draw = torch.randn(self.maps.rank, generator=generator, dtype=torch.float64)
        return self.coordinates(self.maps.assemble(draw))

    @property
    def rank(self) -> int:
        """Dimension of the space of equivariant maps."""
        return sum(
            len(self.outputs.types[out].commuting)
            * self.outputs.types[out].copies
            * self.inputs.types[into].copies
            for out, into in self.shared
        )


def _decomposed(
    maps: EquivariantMaps, generator: torch.Generator
) -> tuple[tuple[IrreducibleType, ...], Tensor]:
    """Types and the basis, from random matrices that commute with the action."""

    def commuting() -> Tensor:
        draw = torch.randn(maps.rank, generator=generator, dtype=torch.float64)
        return maps.assemble(draw)

    random = commuting()
    values, vectors = torch.linalg.eigh(random + random.T)
    cuts = (values.diff() > _SAME * float(values.abs().max())).nonzero().flatten().add(1).tolist()
    spaces = list(vectors.T.tensor_split(cuts))
    joined = commuting()
    size = float(joined.norm())
    groups: list[list[Tensor]] = []
    for space in spaces:
        for known in groups:
            block = known[0] @ joined @ space.T
            if known[0].shape == space.shape and float(block.norm()) > _ZERO * size:
                known.append(_scaled_to_orthogonal(block) @ space)
                break
        else:
            groups.append([space])
    more = [commuting() for _ in range(_ALIKE)]
    groups.sort(key=lambda copies: len(copies[0]))
    types = tuple(
        IrreducibleType(len(copies[0]), len(copies), _commuting_on(copies[0], more))
        for copies in groups
    )
    return types, torch.cat([torch.cat(copies) for copies in groups])


def _commuting_on(space: Tensor, more: list[Tensor]) -> Tensor:
    """Orthogonal basis of what random commuting matrices are on one copy, each of length √d."""
    d = len(space)
    eye = torch.eye(d, dtype=torch.float64).flatten() / d**0.5
    seen = torch.stack([(space @ one @ space.T).flatten() for one in more])
    rest = seen - (seen @ eye)[:, None] * eye
    _, s, vh = torch.linalg.svd(rest, full_matrices=False)
    kept = vh[s > _ZERO * float(seen.norm())]
    found: Tensor = torch.cat([eye[None], kept]).unflatten(-1, (d, d)) * d**0.5
    return found


def _scaled_to_orthogonal(block: Tensor) -> Tensor:
    """A map between irreducible orthogonal representations, which is a multiple of an isometry."""
    scaled: Tensor = block * (len(block) ** 0.5 / block.norm())
    return scaled
