"""Which rows attract and which repel, answered block by block, never stored as N x M."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.losses.contrast.sides import Side
from equivariant.shapes import Bool, Float, Int

PairWeights = Callable[[Side, Side], Tensor]
"""From anchors and candidates to one factor >= 0 per pair, shape (N, M)."""


@dataclass(frozen=True)
class Tile:
    """Every pair of some anchors with some candidates.

    Args:
        positive: Whether a pair attracts, shape (N, M), bool.
        attraction: P, shape (N, M), floating point; read where positive only.
        log_repulsion: log W, shape (N, M), floating point; -inf where a candidate is not in the
            push set. A positive has its log W too: the share with which it stays in the push
            set is the core's ``keep``.
    """

    positive: Bool[Tensor, "n m"]
    attraction: Float[Tensor, "n m"]
    log_repulsion: Float[Tensor, "n m"]


@dataclass(frozen=True)
class Entries:
    """The same, where few pairs differ from "repels with weight exp(bias_j), does not attract".

    Args:
        row: Anchors of the listed pairs, ascending, shape (E,), int64.
        column: Their candidates, shape (E,), int64; no pair is listed twice.
        positive: Whether the pair attracts, shape (E,), bool.
        attraction: P, shape (E,), floating point.
        log_repulsion: log W, shape (E,), instead of the bias.
        bias: log W of all pairs not listed, by candidate, shape (M,); None is 0.
        one_each: Whether it is known that there is one pair for each anchor, positive, with
            P = W = 1, and no bias.
    """

    row: Int[Tensor, e]
    column: Int[Tensor, e]
    positive: Bool[Tensor, e]
    attraction: Float[Tensor, e]
    log_repulsion: Float[Tensor, e]
    bias: Float[Tensor, m] | None = None
    one_each: bool = False


@dataclass(frozen=True)
class Classes:
    """The same, where an anchor's positives are a whole class: weight 1, all others repel.

    Args:
        anchors: Class of each anchor, shape (N,), integers.
        candidates: Class of each candidate, shape (M,), integers.
        excluded: Pairs that neither attract nor repel.
    """

    anchors: Int[Tensor, n]
    candidates: Int[Tensor, m]
    excluded: Entries

    def numbered(self) -> tuple[Tensor, Tensor]:
        """Classes numbered from 0, of anchors and of candidates."""
        both = torch.cat([self.anchors, self.candidates])
        numbers = torch.unique(both, return_inverse=True)[1]
        return numbers[: len(self.anchors)], numbers[len(self.anchors) :]


class Pairs(ABC):
    """Attraction weights P and repulsion weights W of every pair of an anchor and a candidate.

    Combine them: ``a & b`` multiplies the weights of both, ``a | b`` takes the greater of both;
    the methods restrict or weigh one.
    """

    @abstractmethod
    def tile(self, q: Side, k: Side) -> Tile:
        """The weights of all pairs.

        Args:
            q: Anchors; possibly a block of the whole side.
            k: All candidates.
        """

    def entries(self, q: Side, k: Side, most: int) -> Entries | None:
        """The weights as a short list; None if there is none of at most ``most`` entries."""
        return None

    def classes(self, q: Side, k: Side, most: int) -> Classes | None:
        """The weights as classes, of which at most ``most`` pairs are excluded; None if not."""
        return None

    @staticmethod
    def same(name: str) -> Same:
        """Rows with one id (label, ...) attract, all candidates repel."""
        return Same(name)

    def not_self(self) -> Pairs:
        """Without a row's pair with itself."""
        return Restricted(self, "index", equal=False)

    def without_same(self, name: str) -> Pairs:
        """Without the pairs of rows that share a name: they neither attract nor repel."""
        return Restricted(self, name, equal=False)

    def within_same(self, name: str) -> Pairs:
        """Only the pairs of rows that share a name."""
        return Restricted(self, name, equal=True)

    def weigh(
        self, *, pull: str | PairWeights | None = None, push: str | PairWeights | None = None
    ) -> Pairs:
        """Multiplied P and W.

        Args:
            pull: Factor of P: the name of one number per anchor, or a function of both sides.
            push: Factor of W, >= 0, likewise.
        """
        return Weighed(self, pull, push)

    def bias(self, name: str) -> Pairs:
        """log W increased by a number that each candidate knows."""
        return Biased(self, name)

    def repelled_by(self, name: str) -> Pairs:
        """Only candidates that know a number other than 0 by this name repel; positives stay."""
        return Repelling(self, name)

    def __and__(self, other: Pairs) -> Pairs:
        return Both(self, other)

    def __or__(self, other: Pairs) -> Pairs:
        return Either(self, other)


@dataclass(frozen=True)
class Same(Pairs):
    """Rows that share a name attract with weight 1; every candidate repels with weight 1.

    Args:
        name: Which: ``id``, ``label``, ``modality``, or one of a side's own, integers.

    Raises:
        ConventionError: A side does not know the name (when evaluated).
    """

    name: str

    def keys(self, side: Side) -> Int[Tensor, n]:
        """What rows that attract one another have in common."""
        return side.get(self.name)

    def tile(self, q: Side, k: Side) -> Tile:
        positive = _equal(self.keys(q), self.keys(k))
        zero = torch.zeros(positive.shape, device=positive.device)
        return Tile(positive, positive.to(zero), zero)

    def entries(self, q: Side, k: Side, most: int) -> Entries | None:
        found = matches(self.keys(q), self.keys(k), most)
        if found is None:
            return None
        row, column = found
        one = torch.ones(row.shape, device=row.device)
        # as many as there are anchors, ascending: one each, if none is there twice
        each = len(row) == len(q) and bool((row[1:] > row[:-1]).all())
        return Entries(row, column, one > 0, one, torch.zeros_like(one), one_each=each)

    def classes(self, q: Side, k: Side, most: int) -> Classes | None:
        return Classes(self.keys(q), self.keys(k), _nothing(q))


@dataclass(frozen=True)
class NoPositives(Pairs):
    """Nothing attracts, every candidate repels with weight 1; for a push alone."""

    def tile(self, q: Side, k: Side) -> Tile:
        zero = torch.zeros(len(q), len(k), device=q.z.device)
        return Tile(zero > 0, zero, zero)

    def entries(self, q: Side, k: Side, most: int) -> Entries | None:
        return _nothing(q)


@dataclass(frozen=True)
class Restricted(Pairs):
    """Only the pairs whose rows share a name, or only those whose rows do not.

    Args:
        pairs: What is restricted.
        name: Which name, integers.
        equal: Whether the pairs that share it stay, or the others.
    """

    pairs: Pairs
    name: str
    equal: bool

    def tile(self, q: Side, k: Side) -> Tile:
        tile = self.pairs.tile(q, k)
        stays = _equal(q.get(self.name), k.get(self.name)) == self.equal
        log_w = torch.where(stays, tile.log_repulsion, -math.inf)
        return Tile(tile.positive & stays, tile.attraction, log_w)

    def entries(self, q: Side, k: Side, most: int) -> Entries | None:
        old = None if self.equal else self.pairs.entries(q, k, most)
        cut = None if old is None else matches(q.get(self.name), k.get(self.name), most)
        if old is None or cut is None:
            return None
        width = max(len(k), 1)
        where_old, where_cut = old.row * width + old.column, cut[0] * width + cut[1]
        where = torch.unique(torch.cat([where_old, where_cut]))
        row, column = where // width, where % width
        bias = torch.zeros(width, device=where.device) if old.bias is None else old.bias
        positive = torch.zeros(where.shape, dtype=torch.bool, device=where.device)
        attraction = torch.zeros(where.shape, dtype=old.attraction.dtype, device=where.device)
        log_w = bias[column].to(torch.promote_types(bias.dtype, old.log_repulsion.dtype))
        at = torch.searchsorted(where, where_old)
        positive[at], attraction[at] = old.positive, old.attraction
        log_w = log_w.index_put((at,), old.log_repulsion.to(log_w))
        at = torch.searchsorted(where, where_cut)
        positive[at], log_w[at] = False, -math.inf
        return Entries(row, column, positive, attraction, log_w, old.bias)

    def classes(self, q: Side, k: Side, most: int) -> Classes | None:
        old = None if self.equal else self.pairs.classes(q, k, most)
        if old is None or len(old.excluded.row):
            return None
        cut = matches(q.get(self.name), k.get(self.name), most)
        if cut is None:
            return None
        zero = torch.zeros(cut[0].shape, device=cut[0].device)
        return Classes(old.anchors, old.candidates, Entries(*cut, zero > 0, zero, zero - math.inf))


@dataclass(frozen=True)
class Weighed(Pairs):
    """P and W multiplied by factors; see :meth:`Pairs.weigh`."""

    pairs: Pairs
    pull: str | PairWeights | None
    push: str | PairWeights | None

    def tile(self, q: Side, k: Side) -> Tile:
        tile = self.pairs.tile(q, k)
        p, log_w = tile.attraction, tile.log_repulsion
        if self.pull is not None:
            p = p * self._factor(self.pull, q, k)
        if self.push is not None:
            log_w = log_w + safe_log(self._factor(self.push, q, k))
        return Tile(tile.positive, p, log_w)

    def entries(self, q: Side, k: Side, most: int) -> Entries | None:
        old = self.pairs.entries(q, k, most)
        if old is None or self.push is not None or not isinstance(self.pull, str):
            return None
        factor = q.get(self.pull)[old.row]
        return Entries(
            old.row, old.column, old.positive, old.attraction * factor, old.log_repulsion, old.bias
        )

    @staticmethod
    def _factor(factor: str | PairWeights, q: Side, k: Side) -> Tensor:
        return q.get(factor)[:, None] if isinstance(factor, str) else factor(q, k)


@dataclass(frozen=True)
class Biased(Pairs):
    """log W increased by a number that each candidate knows; see :meth:`Pairs.bias`."""

    pairs: Pairs
    name: str

    def tile(self, q: Side, k: Side) -> Tile:
        tile = self.pairs.tile(q, k)
        bias = k.get(self.name)
        return Tile(tile.positive, tile.attraction, tile.log_repulsion + bias)

    def entries(self, q: Side, k: Side, most: int) -> Entries | None:
        old = self.pairs.entries(q, k, most)
        if old is None:
            return None
        bias = k.get(self.name)
        total = bias if old.bias is None else old.bias + bias
        log_w = old.log_repulsion + bias[old.column]
        return Entries(old.row, old.column, old.positive, old.attraction, log_w, total)


@dataclass(frozen=True)
class Repelling(Pairs):
    """Negatives are certain candidates only; see :meth:`Pairs.repelled_by`."""

    pairs: Pairs
    name: str

    def tile(self, q: Side, k: Side) -> Tile:
        tile = self.pairs.tile(q, k)
        repels = (k.get(self.name) != 0) | tile.positive
        log_w = torch.where(repels, tile.log_repulsion, -math.inf)
        return Tile(tile.positive, tile.attraction, log_w)

    def entries(self, q: Side, k: Side, most: int) -> Entries | None:
        old = self.pairs.entries(q, k, most)
        if old is None:
            return None
        repels = k.get(self.name) != 0
        zero = torch.zeros(len(k), device=repels.device)
        bias = torch.where(repels, zero if old.bias is None else old.bias, -math.inf)
        log_w = torch.where(repels[old.column] | old.positive, old.log_repulsion, -math.inf)
        return Entries(old.row, old.column, old.positive, old.attraction, log_w, bias)


@dataclass(frozen=True)
class Both(Pairs):
    """P_a P_b and W_a W_b."""

    a: Pairs
    b: Pairs

    def tile(self, q: Side, k: Side) -> Tile:
        a, b = self.a.tile(q, k), self.b.tile(q, k)
        p = a.attraction * b.attraction
        return Tile(a.positive & b.positive, p, a.log_repulsion + b.log_repulsion)


@dataclass(frozen=True)
class Either(Pairs):
    """max(P_a, P_b) and max(W_a, W_b)."""

    a: Pairs
    b: Pairs

    def tile(self, q: Side, k: Side) -> Tile:
        a, b = self.a.tile(q, k), self.b.tile(q, k)
        p = torch.maximum(
            torch.where(a.positive, a.attraction, 0.0), torch.where(b.positive, b.attraction, 0.0)
        )
        log_w = torch.maximum(a.log_repulsion, b.log_repulsion)
        return Tile(a.positive | b.positive, p, log_w)


def _nothing(q: Side) -> Entries:
    """No pair at all."""
    none = q.index[:0]
    zero = torch.zeros(0, device=none.device)
    return Entries(none, none, zero > 0, zero, zero)


def matches(a: Int[Tensor, n], b: Int[Tensor, m], most: int) -> tuple[Tensor, Tensor] | None:
    """All i and j with a_i = b_j, ascending in i, shape (E,) each; None if more than ``most``.

    Args:
        a: Shape (N,), integers.
        b: Shape (M,), integers.
        most: Longest list that is wanted.
    """
    if a.shape == b.shape and torch.equal(a, b) and bool((a[1:] > a[:-1]).all()):
        row = torch.arange(len(a), device=a.device)
        return (row, row) if len(a) <= most else None
    ordered, order = torch.sort(b, stable=True)
    first = torch.searchsorted(ordered, a)
    count = torch.searchsorted(ordered, a, right=True) - first
    total = int(count.sum())
    if total > most:
        return None
    row = torch.repeat_interleave(count, output_size=total)
    start = count.cumsum(0) - count
    place = torch.arange(total, device=a.device) - start[row] + first[row]
    return row, order[place]


def safe_log(weight: Tensor) -> Tensor:
    """log w, -inf at 0 with a finite gradient there; NaN goes through."""
    some = ~(weight <= 0)
    return torch.where(some, torch.where(some, weight, 1.0).log(), -math.inf)


def _equal(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim != 1 or b.ndim != 1:
        raise ConventionError(
            expected="one number per row",
            got=f"shapes {tuple(a.shape)} and {tuple(b.shape)}",
            argument="name",
            advice="Names that rows share are integers, one per row.",
        )
    return a[:, None] == b[None, :]
