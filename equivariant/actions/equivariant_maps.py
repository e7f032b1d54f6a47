"""The space of equivariant linear maps between two actions: bases and projections, block by block.

Both actions are split into pieces with copies (:meth:`Action.pieces`). Between c copies of one
piece and c' of another the equivariant maps are c c' times those between the two pieces, so only
these small spaces are solved for, once for every pair of pieces. Nothing of the size of the whole
space is formed unless it is asked for.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equivariant.actions.base import Action
from equivariant.actions.intertwiners import (
    Intertwiners,
    algebra_matrices,
    common_group,
    element_matrices,
)
from equivariant.actions.null_spaces import check_memory, null_space
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.shapes import Float, Matrix

_KEPT = 512  # bases of pairs of pieces
_MOST = 64 * 2**20  # entries of all of them
_bases: OrderedDict[bytes, NDArray[np.float64]] = OrderedDict()
_lock = Lock()


@dataclass(frozen=True)
class Block:
    """The maps from the copies of one piece to those of another.

    Args:
        rows: Which outputs.
        columns: Which inputs.
        copies: Of the output's and of the input's piece.
        basis: Orthonormal equivariant maps between single pieces, shape (outputs, inputs, rank),
            float64.
    """

    rows: slice
    columns: slice
    copies: tuple[int, int]
    basis: Tensor

    @property
    def rank(self) -> int:
        """Dimension of the equivariant maps of all copies."""
        return self.copies[0] * self.copies[1] * self.basis.shape[-1]

    def split(self, W: Tensor) -> Tensor:
        """Pairs of copies: shape (..., copies out, copies in, outputs * inputs)."""
        (c, k), (d, e) = self.copies, self.basis.shape[:2]
        found: Tensor = W[..., self.rows, self.columns].unflatten(-1, (k, e)).unflatten(-3, (c, d))
        return found.transpose(-3, -2).flatten(-2)

    def join(self, pairs: Tensor) -> Tensor:
        """The inverse of :meth:`split`: the block, shape (..., rows, columns)."""
        d, e = self.basis.shape[:2]
        found: Tensor = pairs.unflatten(-1, (d, e)).transpose(-3, -2).flatten(-2).flatten(-3, -2)
        return found


class EquivariantMaps:
    """All linear maps W with ρ_out(g) W = W ρ_in(g) for every g of a group.

    The orthogonal projection on them (Frobenius) is P W = Σ_b Q_b Q_bᵀ W, applied block by block.
    For a compact group in an orthogonal basis it is the mean of ρ_out(g)⁻¹ W ρ_in(g) over Haar
    measure, and

        E_g |ρ_out(g) W - W ρ_in(g)|² = 2 |W - P W|²

    Groups need not be compact: only the Lie algebra and the discrete generators enter.

    Args:
        act_in: Linear action on inputs.
        act_out: Linear action on outputs, of the same group.
        elements: Further discrete elements, shape (k, n, n), beside those that the group names
            itself: the maps commute with the group that all of them generate.
        merged: Whether neighbouring pieces that move alike become copies of one, which is faster.
            Without it blocks depend on the kinds of the actions only, not on the group.

    Raises:
        ConventionError: The actions have no group or two, are not linear, the rank is not clear
            in float64, or an array would take more than 4 GiB.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> maps = EquivariantMaps(128 * Tensors(SO3(), 2), 128 * Tensors(SO3(), 2))
        >>> maps.shape, maps.rank
        ((1152, 1152), 49152)
    """

    def __init__(
        self,
        act_in: Action,
        act_out: Action,
        *,
        elements: Matrix | None = None,
        merged: bool = True,
    ) -> None:
        self.group = common_group(act_in, act_out)
        self.act_in, self.act_out = act_in, act_out
        discrete = self.group.discrete_generators()
        if elements is not None:
            self.group.check_element(elements, "elements")
            given = elements.detach().cpu().double().reshape(-1, *discrete.shape[1:])
            discrete = torch.cat([discrete, given])
        outs, ins = (_pieces(action, self.group, discrete) for action in (act_out, act_in))
        if merged:
            outs, ins = _merged(outs), _merged(ins)
        self.blocks = tuple(
            Block(rows, columns, (c, k), _pair_basis(left, right))
            for rows, c, left in outs
            for columns, k, right in ins
        )

    @cached_property
    def conditions(self) -> Intertwiners:
        """The conditions on a map, at the Lie algebra and the group's own discrete generators."""
        return Intertwiners.of(self.act_in, self.act_out)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return self.act_out.dim, self.act_in.dim

    @property
    def rank(self) -> int:
        """Dimension of the space of equivariant maps."""
        return sum(block.rank for block in self.blocks)

    @property
    def codimension(self) -> int:
        """How many numbers of a free matrix equivariance takes away."""
        return self.act_out.dim * self.act_in.dim - self.rank

    def coefficients(self, W: Float[Tensor, "... outputs inputs"]) -> Float[Tensor, "... rank"]:
        """Coordinates of P W in the basis, shape (..., rank), dtype and device of W."""
        self._check(W)
        found = [(block.split(W) @ _flat(block.basis, W)).flatten(-3) for block in self.blocks]
        return torch.cat(found, -1)

    def assemble(
        self, coefficients: Float[Tensor, "... rank"]
    ) -> Float[Tensor, "... outputs inputs"]:
        """The equivariant matrix with given coordinates, shape (..., outputs, inputs)."""
        if coefficients.ndim < 1 or coefficients.shape[-1] != self.rank:
            raise ShapeError(
                expected=f"coefficients of shape (..., {self.rank})",
                got=f"shape {tuple(coefficients.shape)}", argument="coefficients",
                advice="One for each basis matrix.",
            )  # fmt: skip
        W = coefficients.new_zeros(*coefficients.shape[:-1], *self.shape)
        parts = coefficients.split([block.rank for block in self.blocks], -1)
        for block, part in zip(self.blocks, parts, strict=True):
            shaped = part.unflatten(-1, (*block.copies, block.basis.shape[-1]))
            filled = block.join(shaped @ _flat(block.basis, shaped).T)
            W[..., block.rows, block.columns] = filled
        return W

    def projection(
        self, W: Float[Tensor, "... outputs inputs"]
    ) -> Float[Tensor, "... outputs inputs"]:
        """P W, the nearest equivariant matrix in the Frobenius norm, dtype and device of W.

        Args:
            W: Shape (..., outputs, inputs), rows are outputs as in ``torch.nn.Linear``.

        Raises:
            ShapeError: W does not fit the actions.
        """
        return self.assemble(self.coefficients(W))

    def basis(self) -> Float[Tensor, "outputs inputs rank"]:
        """All basis matrices, orthonormal in the Frobenius product, float64.

        Raises:
            ConventionError: They would take more than 4 GiB.
        """
        check_memory(
            self.rank * self.act_out.dim * self.act_in.dim,
            f"a dense array of {self.rank} maps of {self.act_out.dim} x {self.act_in.dim}",
            argument="act_in",
            advice="EquivariantMaps has coefficients, assemble and projection, block by block.",
        )
        found = torch.zeros(self.rank, *self.shape, dtype=torch.float64)
        start = 0
        for block in self.blocks:
            unit = torch.eye(block.rank, dtype=torch.float64)
            shaped = unit.unflatten(-1, (*block.copies, block.basis.shape[-1]))
            here = slice(start, start + block.rank)
            found[here, block.rows, block.columns] = block.join(
                shaped @ block.basis.flatten(0, 1).T
            )
            start += block.rank
        return found.movedim(0, -1)

    def _check(self, W: Tensor) -> None:
        if W.ndim < 2 or tuple(W.shape[-2:]) != self.shape:
            raise ShapeError(
                expected=f"weights of shape (..., {self.shape[0]}, {self.shape[1]})",
                got=f"shape {tuple(W.shape)}", argument="W",
                advice="Rows are outputs, columns inputs, as in torch.nn.Linear.",
            )  # fmt: skip


def equivariant_basis(act_in: Action, act_out: Action) -> Float[Tensor, "outputs inputs rank"]:
    """A basis of the linear maps that commute with a group, for any linear actions of it.

        ρ_out(g) Q_r = Q_r ρ_in(g) for all g,   ⟨Q_r, Q_s⟩ = δ_rs in the Frobenius product

    Solved for in float64 between single pieces of the actions, from the Lie algebra and the
    discrete generators, so groups need not be compact; ranks are read off relative singular
    values and refused where there is no gap. :class:`EquivariantMaps` is the same space without
    the dense array.

    Args:
        act_in: Linear action on inputs.
        act_out: Linear action on outputs, of the same group.

    Returns:
        Shape (act_out.dim, act_in.dim, rank), float64; rank may be 0.

    Raises:
        ConventionError: The actions have no group or two, are not linear, the rank is not clear
            in float64, or an array would take more than 4 GiB.

    Example:
        >>> from equivariant.actions import Tensors
        >>> from equivariant.groups import SO3
        >>> equivariant_basis(Tensors(SO3(), 2), Tensors(SO3(), 1)).shape
        torch.Size([3, 9, 1])

    Source: Finzi, Welling, Wilson 2021, section 4.
    """
    return EquivariantMaps(act_in, act_out).basis()


_Piece = tuple[slice, int, NDArray[np.float64]]
"""Where the copies of a piece stand, how many, and what the group's generators do to one."""


def _pieces(action: Action, group: Group, discrete: Tensor) -> list[_Piece]:
    found, start = [], 0
    for piece, count in action.pieces():
        if piece.group is None:
            still = np.zeros((group.dim, piece.dim, piece.dim))
            matrices = np.concatenate([still, np.tile(np.eye(piece.dim), (len(discrete), 1, 1))])
        else:
            check_memory(
                (group.dim + len(discrete)) * piece.dim**2,
                f"matrices of {group.dim + len(discrete)} generators on {piece.dim:,} numbers",
                argument="act_in or act_out",
                advice="Split the action into a sum of smaller ones, or take fewer indices.",
            )
            _check_identity(piece, group)
            _check_linear(piece, group, discrete)
            parts = [algebra_matrices(piece, group), element_matrices(piece, discrete)]
            matrices = np.concatenate(parts)
            _check_finite(piece, matrices)
        end = start + piece.dim * count
        found.append((slice(start, end), count, matrices))
        start = end
    return found


def _merged(pieces: list[_Piece]) -> list[_Piece]:
    """Neighbours with the same matrices as copies of one piece."""
    found: list[_Piece] = []
    for where, count, matrices in pieces:
        if found and np.array_equal(found[-1][2], matrices):
            before, copies, _ = found.pop()
            where, count = slice(before.start, where.stop), copies + count
        found.append((where, count, matrices))
    return found


def _check_identity(action: Action, group: Group) -> None:
    """Refuse an action under which the identity moves something: it is no representation."""
    moved = element_matrices(action, group.identity(1))[0]
    if not np.allclose(moved, np.eye(action.dim), atol=1e-6):
        raise ConventionError(
            expected="a representation, under which the identity moves nothing",
            got=f"{type(action).__name__}, whose identity moves by {abs(moved).max():.1e}",
            argument="act_in or act_out",
            advice="A learned action need not be one; its distance from one is measured instead.",
        )


def _check_linear(action: Action, group: Group, discrete: Tensor) -> None:
    """Refuse an action that is not linear: looked at for one element and two vectors."""
    action = deepcopy(action).double().cpu()
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, 1, action.dim, generator=generator, dtype=torch.float64)  # one point
    some = discrete[0] if len(discrete) else group.sample(generator=generator, scale=0.3)
    g = some.cpu().double()
    with torch.no_grad():
        expected = 2.0 * action(g, u) - 3.0 * action(g, v)
        found = action(g, 2.0 * u - 3.0 * v)
    if not torch.allclose(found, expected, rtol=1e-6, atol=1e-6):
        raise ConventionError(
            expected="an action that is linear", got=f"{type(action).__name__}, which is not",
            argument="act_in or act_out",
            advice="Maps of a nonlinear action are measured, not solved for.",
        )  # fmt: skip


def _check_finite(action: Action, matrices: NDArray[np.float64]) -> None:
    if not np.isfinite(matrices).all():
        raise ConventionError(
            expected="an action whose matrices are finite at the group's generators",
            got=f"{type(action).__name__}, with infinite or undefined entries",
            argument="act_in or act_out", advice="Look at action.matrix(g) of the generators g.",
        )  # fmt: skip


def _pair_basis(left: NDArray[np.float64], right: NDArray[np.float64]) -> Tensor:
    """Basis between two pieces, shape (outputs, inputs, rank), remembered by all numbers it is of.

    The key is made of the matrices themselves, so no two groups can be mistaken for each other.
    """
    digest = hashlib.blake2b(repr((left.shape, right.shape)).encode())
    digest.update(left.tobytes())
    digest.update(right.tobytes())
    key = digest.digest()
    with _lock:
        known = _bases.get(key)
        if known is not None:
            _bases.move_to_end(key)
    if known is None:
        known = null_space(left, right)
        with _lock:
            _bases[key] = known
            while len(_bases) > 1 and (
                len(_bases) > _KEPT or sum(basis.size for basis in _bases.values()) > _MOST
            ):
                _bases.popitem(last=False)
    return torch.from_numpy(known.copy()).reshape(left.shape[1], right.shape[1], -1)


def _flat(basis: Tensor, like: Tensor) -> Tensor:
    return basis.flatten(0, 1).to(like)
