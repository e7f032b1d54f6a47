"""What of all weights of a model breaks each of several symmetries, in a few matrix products.

The weights between one kind of piece and another are lined up as rows of one matrix, over all
layers and copies, and multiplied by an orthonormal basis of what is *not* equivariant under each
group. Nothing cancels: the result is exactly zero where the weights are equivariant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.actions import EquivariantMaps
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.regularizers.declared_maps import DeclaredMap
from equivariant.shapes import Float

_COMPLEMENT = 256  # entries of a pair of pieces up to which a basis of the complement is kept


@dataclass
class _Kind:
    """All blocks between one kind of piece and another.

    Args:
        size: Entries of a pair of pieces.
        bases: For each group: orthonormal basis of the equivariant part, (size, rank).
        complements: All groups' bases of the rest side by side, (size, columns); None for large
            pieces.
        groups: For each column of ``complements`` its group as a unit vector, (columns, groups).
        places: Where the entries stand in the vector of all weights, (pairs, size).
        layers: For each pair its layer, (pairs,).
    """

    size: int
    bases: list[Tensor]
    complements: Tensor | None
    groups: Tensor
    places: list[Tensor]
    layers: list[int]
    counts: list[int]
    layer_of_pair: Tensor | None = None


def at_least_single(W: Tensor) -> Tensor:
    """Half precision as float32, in which sums of squares do not overflow; others as they are."""
    return W.to(torch.promote_types(W.dtype, torch.float32))


class StackedProjection:
    """Squared distances |W_l - P_g W_l|² of every layer l from every group's equivariant maps.

    Args:
        maps: The linear maps of a model.
        groups: The groups, all acting by matrices of one size.

    Raises:
        ConventionError: A representation cannot be said of a group.
    """

    def __init__(self, maps: Sequence[DeclaredMap], groups: Sequence[Group]) -> None:
        self.maps, self.groups = list(maps), list(groups)
        self.layers = list(dict.fromkeys(one.layer for one in maps))
        count = (len(self.layers), len(self.groups))
        self.dims = torch.zeros(count[0], dtype=torch.float64)
        self.codims = torch.zeros(count, dtype=torch.float64)
        kinds: dict[tuple[int, bytes], _Kind] = {}
        start = 0
        self.equivariant: list[list[EquivariantMaps]] = []
        self._sizes: list[int] = []
        self._shapes: list[tuple[int, ...]] = []
        for one in self.maps:
            with torch.no_grad():
                shape = one.reader(one.module).shape
            solved = [EquivariantMaps(*one.under(group), merged=False) for group in self.groups]
            self.equivariant.append(solved)
            layer = self.layers.index(one.layer)
            taps = shape[0]
            places = torch.arange(start, start + shape.numel()).reshape(shape)
            self.dims[layer] += shape.numel()
            for g, maps_of_group in enumerate(solved):
                self.codims[layer, g] += taps * maps_of_group.codimension
            for blocks in zip(*(found.blocks for found in solved), strict=True):
                self._add(kinds, blocks, places, layer)
            self._sizes.append(shape.numel())
            self._shapes.append(tuple(shape))
            start += shape.numel()
        self._kinds = [_closed(kind) for kind in kinds.values() if self._breaks(kind)]
        order = torch.cat([kind.places[0].flatten() for kind in self._kinds] or [torch.arange(0)])
        self._order, self._total = order, start
        self._buffers: dict[tuple[torch.device, torch.dtype], dict[str, Any]] = {}
        self._layer_of_weight = torch.repeat_interleave(
            torch.tensor([self.layers.index(one.layer) for one in self.maps]),
            torch.tensor(self._sizes),
        )

    def weights(self) -> Float[Tensor, " weights"]:
        """All weights as one vector, in the order of the maps, at least in single precision.

        Raises:
            ConventionError: A layer has no numbers, or another number of them than it had.
        """
        found = [one.read().reshape(-1) for one in self.maps]
        for one, own, size in zip(self.maps, found, self._sizes, strict=True):
            if len(own) != size:
                raise ConventionError(
                    expected=f"{size} weights, as many as when it was declared", got=str(len(own)),
                    argument=one.layer, advice="Make a new term for a model that has changed.",
                )  # fmt: skip
        return at_least_single(torch.cat(found))

    def broken(self, weights: Float[Tensor, " weights"]) -> Float[Tensor, "layers groups"]:
        """|W_l - P_g W_l|², biases with their layer, shape (layers, groups)."""
        tables = self._tables(weights)
        total = weights.new_zeros(len(self.layers), len(self.groups)) + weights[:0].sum()
        chosen = _Reorder.apply(weights, tables["order"])  # type: ignore[no-untyped-call]
        for kind, table in zip(self._kinds, tables["kinds"], strict=True):
            pairs = len(table["layers"])
            rows, chosen = chosen[: pairs * kind.size], chosen[pairs * kind.size :]
            rows = rows.view(pairs, kind.size)
            if table["complements"] is not None:
                found = (rows @ table["complements"]).square() @ table["groups"]
            else:
                rests = (rows - (rows @ basis) @ basis.T for basis in table["bases"])
                found = torch.stack([rest.square().sum(-1) for rest in rests], -1)
            total = total.index_add(0, table["layers"], found)
        return total

    def rests(
        self, weights: Float[Tensor, " weights"]
    ) -> list[Float[Tensor, "groups maps outs ins"]]:
        """W - P_g W of every map and group, one array for each of :attr:`maps`."""
        tables = self._tables(weights)
        chosen = _Reorder.apply(weights, tables["order"])  # type: ignore[no-untyped-call]
        parts = []
        for kind, table in zip(self._kinds, tables["kinds"], strict=True):
            pairs = len(table["layers"])
            rows, chosen = chosen[: pairs * kind.size], chosen[pairs * kind.size :]
            rows = rows.view(pairs, kind.size)
            if table["complements"] is not None:
                widths = [kind.size - basis.shape[1] for basis in kind.bases]
                found = [(rows @ Q) @ Q.T for Q in table["complements"].split(widths, 1)]
            else:
                found = [rows - (rows @ basis) @ basis.T for basis in table["bases"]]
            parts.append(torch.stack(found).flatten(1))
        none = weights.new_zeros(len(self.groups), 0)
        filled = weights.new_zeros(len(self.groups), self._total)
        filled = filled.index_copy(1, tables["order"], torch.cat([none, *parts], 1))
        return [
            part.unflatten(1, shape)
            for part, shape in zip(filled.split(self._sizes, 1), self._shapes, strict=True)
        ]

    def sizes(self, weights: Float[Tensor, " weights"]) -> Float[Tensor, " layers"]:
        """|W_l|², biases with their layer, shape (layers,)."""
        layer = self._layer_of_weight.to(weights.device)
        return weights.new_zeros(len(self.layers)).index_add(0, layer, weights.square())

    def _add(
        self, kinds: dict[tuple[int, bytes], _Kind], blocks: tuple[Any, ...], places: Tensor,
        layer: int,
    ) -> None:  # fmt: skip
        """Line up one block of one map, the same for all groups, with others of its kind."""
        size = blocks[0].basis.shape[0] * blocks[0].basis.shape[1]
        bases = [block.basis.reshape(size, -1) for block in blocks]
        digest = hashlib.blake2b(repr([tuple(basis.shape) for basis in bases]).encode())
        for basis in bases:
            digest.update(basis.numpy().tobytes())
        key = (size, digest.digest())
        if key not in kinds:
            columns, groups = [], []
            for g, basis in enumerate(bases):
                if size <= _COMPLEMENT:
                    rest = _complement(basis)
                    columns.append(rest)
                    unit = torch.zeros(rest.shape[1], len(bases), dtype=torch.float64)
                    unit[:, g] = 1.0
                    groups.append(unit)
            complements = torch.cat(columns, 1) if columns else None
            units = torch.cat(groups) if groups else torch.zeros(0, len(bases))
            kinds[key] = _Kind(size, bases, complements, units, [], [], [])
        lined = blocks[0].split(places).reshape(-1, size)
        kinds[key].places.append(lined)
        kinds[key].layers.append(layer)
        kinds[key].counts.append(len(lined))

    @staticmethod
    def _breaks(kind: _Kind) -> bool:
        """Whether anything can break: some group leaves some entries out."""
        return any(basis.shape[1] < kind.size for basis in kind.bases)

    def _tables(self, like: Tensor) -> dict[str, Any]:
        """Everything on the device and in the dtype of the weights, kept for the next call."""
        key = (like.device, like.dtype)
        if key not in self._buffers:
            self._buffers[key] = {
                "order": self._order.to(like.device),
                "kinds": [
                    {
                        "layers": kind.layer_of_pair.to(like.device),  # type: ignore[union-attr]
                        "bases": [basis.to(like) for basis in kind.bases],
                        "groups": kind.groups.to(like),
                        "complements": None
                        if kind.complements is None
                        else kind.complements.to(like),
                    }
                    for kind in self._kinds
                ],
            }
        return self._buffers[key]


class _Reorder(torch.autograd.Function):
    """Entries of a vector at different places; the gradient is written back without adding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = len(x)
        found: Tensor = x[places]
        return found

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        found: Tensor = _Scatter.apply(slopes, places, ctx.size)  # type: ignore[no-untyped-call]
        return found, None


class _Scatter(torch.autograd.Function):
    """A vector of zeros with entries at different places: the transpose of :class:`_Reorder`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, places: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(places)
        found = y.new_zeros(size)
        found[places] = y
        return found

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        found: Tensor = _Reorder.apply(slopes, places)  # type: ignore[no-untyped-call]
        return found, None, None


def _closed(kind: _Kind) -> _Kind:
    kind.places = [torch.cat(kind.places)]
    kind.layer_of_pair = torch.repeat_interleave(
        torch.tensor(kind.layers), torch.tensor(kind.counts)
    )
    return kind


def _complement(basis: Tensor) -> Tensor:
    """Orthonormal basis of what is orthogonal to given orthonormal columns."""
    size, rank = basis.shape
    if not rank:
        return torch.eye(size, dtype=torch.float64)
    full, _ = torch.linalg.qr(basis, mode="complete")
    rest: Tensor = full[:, rank:]
    return rest
