"""Pairs that depend on more than a shared name: soft targets, kernels, neighbors, clusterings."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.contrast.pairs import Pairs, Same, Tile, safe_log
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import unit
from equivariant.losses.transforms import traced
from equivariant.shapes import Int

Distance = Callable[[Tensor, Tensor], Tensor]
"""From attributes of N anchors and of M candidates to distances, shape (N, M)."""


@dataclass(frozen=True)
class Labels(Same):
    """Rows of one class attract; a row of the label -1 attracts its object's rows alone.

    Args:
        name: Integers >= 0, or -1 for a row whose class is unknown.

    Raises:
        ConventionError: Labels are not integers, one per row, or one is below -1 (when evaluated;
            values are not looked at under ``torch.compile`` and in ``torch.func``).
    """

    name: str = "label"

    def keys(self, side: Side) -> Int[Tensor, n]:
        """Even numbers for classes, odd ones for objects without a class."""
        label = side.get(self.name)
        if label.is_floating_point() or label.is_complex() or label.ndim != 1:
            raise ConventionError(
                expected="one integer for each row; -1 is unlabelled",
                got=f"{label.dtype} of shape {tuple(label.shape)}", argument=self.name,
                advice="Number the classes from 0; for regression use Kernel or supremix.",
            )  # fmt: skip
        if label.numel() and not traced() and int(label.min()) < -1:
            raise ConventionError(
                expected="classes from 0 on; -1 alone is unlabelled",
                got=f"a label of {int(label.min())}", argument=self.name,
                advice="Write -1 where a class is unknown, and number the classes from 0.",
            )  # fmt: skip
        one = side.index if side.id is None else side.id
        return torch.where(label >= 0, 2 * label.long(), 2 * one.long() + 1)


@dataclass(frozen=True)
class Soft(Pairs):
    """P_ij given, W = 1: soft targets over the candidates.

    Args:
        name: What anchors know them by: rows of weights >= 0, shape (N, M), one per candidate.

    Raises:
        ShapeError: The rows have another length than there are candidates (when evaluated).
    """

    name: str = "targets"

    def tile(self, q: Side, k: Side) -> Tile:
        p = q.get(self.name)
        if p.shape != (len(q), len(k)):
            raise ShapeError(
                expected=f"one weight per candidate, shape ({len(q)}, {len(k)})",
                got=f"shape {tuple(p.shape)}",
                argument=self.name,
                advice="Row i holds anchor i's weights of all candidates.",
            )
        return Tile(~(p <= 0), p, torch.zeros_like(p))


@dataclass(frozen=True)
class Kernel(Pairs):
    """P_ij = exp(-d(y_i, y_j)² / 2h²), W = 1: the closer two attributes, the stronger the pull.

    Args:
        name: The attribute, for example ``label`` of a regression, or ``pose``.
        bandwidth: h > 0, in units of d. Towards 0 only equal attributes attract; towards
            infinity all pairs do, equally.
        distance: d, from (N, ...) and (M, ...) to (N, M); |y_i - y_j| by default.

    Raises:
        ConventionError: The bandwidth is not positive.
    """

    name: str
    bandwidth: float
    distance: Distance | None = None

    def __post_init__(self) -> None:
        if not self.bandwidth > 0:
            raise ConventionError(
                expected="a bandwidth above 0", got=str(self.bandwidth), argument="bandwidth",
                advice="Use Pairs.same for equality.",
            )  # fmt: skip

    def tile(self, q: Side, k: Side) -> Tile:
        d = _distance(self.distance, q.get(self.name), k.get(self.name))
        p = torch.exp(-0.5 * (d / self.bandwidth).square())
        return Tile(~(p <= 0), p, torch.zeros_like(p))


@dataclass(frozen=True)
class Agreement(Pairs):
    """P_ij = (1 + cos(p_i, p_j)) / 2 of features p that both sides know, W = 1.

    Args:
        name: The features, shape (N, F); of a frozen model, no gradient flows to them.
    """

    name: str = "features"

    def tile(self, q: Side, k: Side) -> Tile:
        wide = torch.promote_types(q.z.dtype, torch.float32)
        left, right = (unit(side.get(self.name).detach().to(wide)) for side in (q, k))
        p = (0.5 * (1.0 + left @ right.T)).clamp(min=0.0)
        return Tile(~(p <= 0), p, torch.zeros_like(p))


@dataclass(frozen=True)
class Nearest(Pairs):
    """Only each anchor's nearest candidates, by cosine, attract or repel.

    Args:
        pairs: Who attracts and repels among them. A row that it excludes (itself, say) is not
            counted.
        count: How many, at least 1; all where there are fewer.
    """

    pairs: Pairs
    count: int

    def tile(self, q: Side, k: Side) -> Tile:
        tile = self.pairs.tile(q, k)
        with torch.no_grad():
            wide = torch.promote_types(q.z.dtype, torch.float32)
            s = unit(q.z.detach().to(wide)) @ unit(k.z.detach().to(wide)).T
            there = (tile.log_repulsion > -math.inf) | tile.positive
            s = torch.where(there, s, -math.inf)
            nearest = s.topk(min(self.count, len(k)), dim=1).indices
            stays = torch.zeros_like(there).scatter(1, nearest, True) & there
        log_w = torch.where(stays, tile.log_repulsion, -math.inf)
        return Tile(tile.positive & stays, tile.attraction, log_w)


@dataclass(frozen=True)
class Near(Pairs):
    """P_ij = 1 where two positions are closer than a radius, on the same object; W = 1.

    Args:
        name: Positions, shape (N, d), in coordinates common to an object's views.
        radius: In units of the positions, > 0.
        of: Name that rows of one object share; None compares all rows.
    """

    name: str
    radius: float
    of: str | None = "id"

    def tile(self, q: Side, k: Side) -> Tile:
        x, y = q.get(self.name), k.get(self.name)
        # Differences, not the product form: its rounding would move points across the radius.
        squares = (x[:, None, :] - y[None, :, :]).square().sum(-1)
        positive = squares < self.radius**2
        if self.of is not None:
            positive &= q.get(self.of)[:, None] == k.get(self.of)[None, :]
        zero = torch.zeros_like(squares)
        return Tile(positive, positive.to(zero), zero)


@dataclass(frozen=True)
class Separations(Pairs):
    """Equal ids attract; W_ij = number of clusterings that put i and j into different clusters.

    Args:
        name: Cluster of each row in each of R clusterings, shape (N, R), integers.
        id: Name that positives share.
    """

    name: str = "clusters"
    id: str = "id"

    def tile(self, q: Side, k: Side) -> Tile:
        a, b = q.get(self.name), k.get(self.name)
        apart = torch.zeros(len(q), len(k), dtype=q.z.dtype, device=a.device)
        for r in range(a.shape[1]):
            apart += a[:, None, r] != b[None, :, r]
        positive = q.get(self.id)[:, None] == k.get(self.id)[None, :]
        return Tile(positive, positive.to(apart), safe_log(apart))


def _distance(distance: Distance | None, a: Tensor, b: Tensor) -> Tensor:
    if distance is not None:
        return distance(a, b)
    if a.ndim != 1 or b.ndim != 1:
        raise ConventionError(
            expected="one number per row, or a distance",
            got=f"shapes {tuple(a.shape)} and {tuple(b.shape)}",
            argument="distance",
            advice="Pass distance=, a function from (N, ...) and (M, ...) to (N, M).",
        )
    return (a[:, None] - b[None, :]).abs()
