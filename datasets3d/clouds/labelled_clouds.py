"""Clouds with a label per point whose motions are not known: what users' own files hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float, Int


@dataclass(frozen=True, eq=False)
class LabelledClouds:
    """Clouds, the part of every point, and a class per cloud.

    Args:
        clouds: Shape (N, points, 3), in the unit of the files, float64.
        point_parts: Part of every point, shape (N, points), int64, from 0.
        labels: Class of each cloud (subject, scene), an index into ``label_names``, shape (N,),
            int64.
        names: What each cloud is.
        label_names: Names of the classes.

    Raises:
        ShapeError: The fields differ in their number of clouds or points.

    Example:
        >>> scene = LabelledClouds(torch.zeros(2, 5, 3).double(),
        ...     torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, dtype=torch.int64),
        ...     ("0-0", "0-1"), ("0",))
        >>> len(scene), len(scene[1:])
        (2, 1)
    """

    clouds: Float[Tensor, "n points 3"]
    point_parts: Int[Tensor, "n points"]
    labels: Int[Tensor, " n"]
    names: tuple[str, ...]
    label_names: tuple[str, ...]

    def __post_init__(self) -> None:
        rows = len(self.clouds)
        if (
            self.point_parts.shape != self.clouds.shape[:2]
            or len(self.labels) != rows
            or len(self.names) != rows
        ):
            raise ShapeError(
                expected=f"{rows} clouds with one part per point, one label and one name each",
                got=f"parts {tuple(self.point_parts.shape)}, {len(self.labels)} labels, "
                f"{len(self.names)} names",
                argument="point_parts",
                advice="See the documentation of LabelledClouds.",
            )

    def __len__(self) -> int:
        return len(self.clouds)

    def __getitem__(self, rows: slice) -> LabelledClouds:
        """Some of the clouds."""
        return LabelledClouds(
            self.clouds[rows], self.point_parts[rows], self.labels[rows], self.names[rows],
            self.label_names,
        )  # fmt: skip


def choose_points(count: int, points: int, *, generator: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a cloud: without a return where there are enough.

    Args:
        count: Points there are, at least 1.
        points: Points wanted, at least 1.
        generator: Source of the choice.

    Returns:
        Shape (points,), int64.

    Raises:
        ConventionError: There is no point, or none is wanted.

    Example:
        >>> sorted(choose_points(3, 3, generator=np.random.default_rng(0)).tolist())
        [0, 1, 2]
    """
    if count < 1 or points < 1:
        raise ConventionError(
            expected="at least 1 point", got=f"{points} of {count}", argument="points",
            advice="2048 is usual.",
        )  # fmt: skip
    return generator.choice(count, points, replace=count < points)


def from_zero(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels renumbered 0, 1, ... in their order.

    Args:
        labels: Any shape.

    Example:
        >>> from_zero(np.array([3, 7, 3])).tolist()
        [0, 1, 0]
    """
    ranks: NDArray[np.int64] = np.unique(labels, return_inverse=True)[1]
    return ranks.reshape(labels.shape).astype(np.int64)


def as_tensors(
    clouds: list[NDArray[np.float64]], parts: list[NDArray[np.int64]]
) -> tuple[Tensor, Tensor]:
    """Clouds and parts of equal sizes, stacked."""
    return torch.from_numpy(np.stack(clouds)), torch.from_numpy(np.stack(parts))
