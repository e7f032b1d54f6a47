"""Clouds of points cut into cells: comparison of partitions, sums over cells."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError, check_option
from equivariant.shapes import Bool, Float, Int

Reduce = Literal["sum", "mean", "max", "min"]


class Partition:
    """Which cell every point of a cloud, or of each cloud of a batch, belongs to.

    Partitions of one cloud form a lattice. P *refines* Q where points that share a cell of P share
    one of Q, in one-hot matrices Z

        (Z_P Z_Pᵀ)_ij = 1  ⟹  (Z_Q Z_Qᵀ)_ij = 1

    ``meet`` is the coarsest partition that refines both, ``join`` the finest that both refine.
    Cells of a cloud are numbered 0, 1, ... in the order of the labels that were given, without
    gaps: no cell is empty. Numbers do not depend on the order of the points. Two partitions are
    equal where they group points alike, whatever the numbers.

    Values over cells are flat, one row for each cell of the first cloud, then of the second, and
    so on, so that nothing is padded to the cloud with the most cells.

    Args:
        labels: Any integers, shape (points,) for one cloud or (batch, points), at least one point
            and one cloud. Only points of the same cloud are compared.

    Raises:
        ShapeError: There is no point, or another number of axes.
        ConventionError: Labels that are not integers.

    Example:
        >>> hand = Partition(torch.tensor([7, 7, 3, 3, 3]))
        >>> hand.labels.tolist(), hand.k, hand.sizes.tolist()
        ([1, 1, 0, 0, 0], 2, [3, 2])
        >>> fingers = Partition(torch.tensor([0, 1, 2, 2, 3]))
        >>> fingers.refines(hand), hand.refines(fingers)
        (True, False)
        >>> fingers.meet(hand) == fingers, fingers.join(hand) == hand
        (True, True)

    Source: Atzmon et al. 2024, section 3, sub-partitions.
    """

    __slots__ = ("_cloud_of_cell", "_counts", "_index", "_labels", "_sizes")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, labels: Int[Tensor, "*batch points"]) -> None:
        _check_labels(labels)
        dense = _dense(labels if labels.ndim == 2 else labels[None])
        self._labels = dense.reshape(labels.shape)
        self._counts = dense.amax(1) + 1
        starts = self._counts.cumsum(0) - self._counts
        self._index = (dense + starts[:, None]).flatten()
        self._sizes = torch.bincount(self._index)
        clouds = torch.arange(len(dense), device=labels.device)
        self._cloud_of_cell = clouds.repeat_interleave(self._counts)

    @classmethod
    def single_cell(
        cls, points: int, batch: int | None = None, *, device: torch.device | None = None
    ) -> Partition:
        """The coarsest partition: all points in one cell.

        Args:
            points: At least 1.
            batch: Number of clouds; None for one without a batch axis.
            device: Of the labels.
        """
        shape = (points,) if batch is None else (batch, points)
        return cls(torch.zeros(shape, dtype=torch.int64, device=device))

    @classmethod
    def singletons(
        cls, points: int, batch: int | None = None, *, device: torch.device | None = None
    ) -> Partition:
        """The finest partition: every point is a cell.

        Args:
            points: At least 1.
            batch: Number of clouds; None for one without a batch axis.
            device: Of the labels.
        """
        each = torch.arange(points, device=device)
        return cls(each if batch is None else each.expand(batch, points))

    @property
    def labels(self) -> Int[Tensor, "*batch points"]:
        """Number of each point's cell within its cloud, from 0, in the shape that was given."""
        return self._labels

    @property
    def index(self) -> Int[Tensor, " all_points"]:
        """Row of each point's cell among the cells of all clouds; points one after another."""
        return self._index

    @property
    def counts(self) -> Int[Tensor, " batch"]:
        """Number of cells of each cloud, shape (batch,); (1,) without a batch axis."""
        return self._counts

    @property
    def sizes(self) -> Int[Tensor, " cells"]:
        """Points of each cell, clouds one after another."""
        return self._sizes

    @property
    def cloud_of_cell(self) -> Int[Tensor, " cells"]:
        """Which cloud of the batch each cell belongs to."""
        return self._cloud_of_cell

    @property
    def label_of_cell(self) -> Int[Tensor, " cells"]:
        """Number of each cell within its cloud."""
        starts = self._counts.cumsum(0) - self._counts
        return torch.arange(self.cells, device=self.device) - starts[self._cloud_of_cell]

    @property
    def cells(self) -> int:
        """Number of cells of all clouds together."""
        return len(self._sizes)

    @property
    def k(self) -> int:
        """Number of cells; of a batch, of the cloud that has the most."""
        return int(self._counts.max())

    @property
    def device(self) -> torch.device:
        """Where the labels are."""
        return self._labels.device

    def to(self, device: torch.device | str) -> Partition:
        """The same partition on another device."""
        return Partition(self._labels.to(device))

    def refines(self, other: Partition) -> bool:
        """Whether every cell lies within one cell of the other partition, in every cloud.

        Args:
            other: A partition of the same points.

        Raises:
            ShapeError: The other has other points.
            ConventionError: It is on another device.
        """
        return bool(self.refines_each(other).all())

    def refines_each(self, other: Partition) -> Bool[Tensor, " batch"]:
        """For every cloud whether each of its cells lies within one cell of the other partition.

        Args:
            other: A partition of the same points.
        """
        return self.meet(other).counts == self.counts

    def whole_in(self, other: Partition) -> Bool[Tensor, "*batch points"]:
        """For every point whether its cell lies within one cell of the other partition.

        Args:
            other: A partition of the same points.

        Returns:
            Shape of the labels; all true for a cloud where this partition refines the other.
        """
        self._check(other)
        least, most = (self.scatter(other.labels, reduce=r) for r in ("min", "max"))
        return self.gather(least == most)

    def meet(self, other: Partition) -> Partition:
        """The coarsest common refinement: the intersections of the cells of both.

        Args:
            other: A partition of the same points.

        Raises:
            ShapeError: The other has other points.
            ConventionError: It is on another device.
        """
        self._check(other)
        return Partition(self._labels * other.k + other.labels)

    def join(self, other: Partition) -> Partition:
        """The finest common coarsening: cells of both that overlap, also by a chain, are one.

        Args:
            other: A partition of the same points.

        Raises:
            ShapeError: The other has other points.
            ConventionError: It is on another device.
        """
        self._check(other)
        found = torch.arange(self.cells, device=self.device)
        while True:
            across = other.scatter(found[self._index].reshape(self._labels.shape), reduce="min")
            lower = self.scatter(other.gather(across), reduce="min")
            lower = torch.minimum(lower, lower[lower])  # follow what was found one step further
            if torch.equal(lower, found):
                return Partition(self.gather(found))
            found = lower

    def scatter(self, values: Tensor, *, reduce: Reduce = "sum") -> Tensor:
        """One value for every cell, of the values of its points.

        Args:
            values: Shape (*labels.shape, ...), numbers.
            reduce: "sum", "mean", "max" or "min".

        Returns:
            Shape (cells, ...), in the order of :attr:`sizes`.

        Raises:
            ShapeError: The leading axes are not those of the labels.
            ConventionError: Another word, or the mean of integers.

        Example:
            >>> Partition(torch.tensor([0, 0, 1])).scatter(torch.tensor([1.0, 3.0, 5.0]))
            tensor([4., 5.])
        """
        check_option(reduce, ("sum", "mean", "max", "min"), "reduce")
        lead = self._labels.ndim
        if values.shape[:lead] != self._labels.shape:
            raise ShapeError(
                expected=f"values of shape {tuple(self._labels.shape)} and further axes",
                got=f"shape {tuple(values.shape)}", argument="values",
                advice="There must be one value per point.",
            )  # fmt: skip
        flat = values.flatten(0, lead - 1)
        if reduce in ("sum", "mean"):
            total = flat.new_zeros(self.cells, *flat.shape[1:]).index_add(0, self._index, flat)
            if reduce == "sum":
                return total
            if not flat.is_floating_point():
                raise ConventionError(
                    expected="floating-point values to take the mean of", got=str(flat.dtype),
                    argument="values", advice="Convert them first.",
                )  # fmt: skip
            return total / self._sizes.to(flat.dtype).reshape(-1, *[1] * (flat.ndim - 1))
        rows = self._index.reshape(-1, *[1] * (flat.ndim - 1)).expand_as(flat)
        start = flat.new_zeros(self.cells, *flat.shape[1:])
        kind = "amax" if reduce == "max" else "amin"
        return start.scatter_reduce(0, rows, flat, kind, include_self=False)

    def gather(self, values: Tensor) -> Tensor:
        """For every point the value of its cell.

        Args:
            values: Shape (cells, ...), in the order of :attr:`sizes`.

        Returns:
            Shape (*labels.shape, ...).

        Raises:
            ShapeError: There is not one row per cell.

        Example:
            >>> Partition(torch.tensor([0, 0, 1])).gather(torch.tensor([4.0, 5.0]))
            tensor([4., 4., 5.])
        """
        if values.ndim < 1 or len(values) != self.cells:
            raise ShapeError(
                expected=f"{self.cells} rows, one per cell", got=f"shape {tuple(values.shape)}",
                argument="values", advice="Rows stand in the order of sizes.",
            )  # fmt: skip
        return values[self._index].reshape(*self._labels.shape, *values.shape[1:])

    def means(self, values: Float[Tensor, "*shape features"]) -> Float[Tensor, "*shape features"]:
        """For every point the mean of the values over its cell, in the values' shape.

        Args:
            values: Shape (*labels.shape, features).
        """
        return self.gather(self.scatter(values, reduce="mean"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Partition) or other.labels.shape != self._labels.shape:
            return False
        return bool(self.same_each(other).all())

    def same_each(self, other: Partition) -> Bool[Tensor, " batch"]:
        """For every cloud whether both group its points alike.

        Args:
            other: A partition of the same points.
        """
        both = self.meet(other).counts
        return (both == self.counts) & (both == other.counts)

    def __repr__(self) -> str:
        return f"Partition(shape={tuple(self._labels.shape)}, cells={self._counts.tolist()[:8]})"

    def _check(self, other: Partition) -> None:
        if other.labels.shape != self._labels.shape:
            raise ShapeError(
                expected=f"a partition of points of shape {tuple(self._labels.shape)}",
                got=f"{tuple(other.labels.shape)}", argument="other",
                advice="Only partitions of the same points are compared.",
            )  # fmt: skip
        if other.device != self.device:
            raise ConventionError(
                expected=f"a partition on {self.device}", got=str(other.device), argument="other",
                advice="Move one of them with .to(device).",
            )  # fmt: skip


def _dense(labels: Tensor) -> Tensor:
    """Labels of each row replaced by their rank among the different labels of the row."""
    ordered, order = labels.long().sort(dim=1)
    new = torch.zeros_like(ordered)
    new[:, 1:] = ordered.diff(dim=1) != 0
    ranks = new.cumsum(1)
    return torch.empty_like(ranks).scatter_(1, order, ranks)


def _check_labels(labels: Tensor) -> None:
    if labels.ndim not in (1, 2) or labels.numel() == 0:
        raise ShapeError(
            expected="labels of shape (points,) or (batch, points), at least one point",
            got=f"shape {tuple(labels.shape)}", argument="labels",
            advice="Give one integer per point.",
        )  # fmt: skip
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ConventionError(
            expected="integers", got=str(labels.dtype), argument="labels",
            advice="Convert them with labels.long().",
        )  # fmt: skip
