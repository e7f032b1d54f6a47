"""A small network on every cell of a cloud by itself, made equivariant by the cell's frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import E3, SE3, Group
from equivariant.nn.apen.cell_frames import CellFrames, CellGeometry
from equivariant.nn.apen.partition import Partition
from equivariant.nn.points.layers import FeatureNorm, Norm
from equivariant.nn.points.neighbors import check_clouds
from equivariant.shapes import Float

SLOPE = 0.2


class CellNetwork(nn.Module):
    """A PointNet on many small sets at once: a map of every member, the maximum, another map.

        a_r = σ(norm(F f_r + V x_r)),   b_r = σ(norm(A a_r + B max_{q ∈ set(r)} a_q))

    It knows nothing of symmetry. Members are rows of flat arrays and sets are numbers, so sets of
    any sizes cost what their members cost.

    Args:
        features: Numbers per point that do not depend on the frame, at least 1.
        coordinates: Numbers per row that do.
        width: Of both layers, at least 1.
        norm: See :class:`equivariant.nn.points.layers.FeatureNorm`.

    Source: Qi et al. 2017, with the maximum returned to the points.
    """

    def __init__(self, features: int, coordinates: int, width: int, *, norm: Norm) -> None:
        super().__init__()
        self.of_features = nn.Linear(features, width)
        self.of_coordinates = nn.Linear(coordinates, width, bias=False)
        self.of_member = nn.Linear(width, width)
        self.of_set = nn.Linear(width, width, bias=False)
        self.first, self.second = FeatureNorm(width, norm), FeatureNorm(width, norm)

    def forward(
        self,
        features: Float[Tensor, "points features"],
        coordinates: Float[Tensor, "rows coordinates"],
        membership: tuple[Tensor, Tensor, int],
    ) -> Float[Tensor, "rows width"]:
        """Hidden features of every row.

        Args:
            features: Shape (points, features).
            coordinates: Shape (rows, coordinates).
            membership: Point of each row, set of each row, and the number of sets, none empty.
        """
        point, member, sets = membership
        read = self.of_features(features)[point] + self.of_coordinates(coordinates)
        inner = leaky_relu(self.first(read), SLOPE)
        most = inner.new_zeros(sets, inner.shape[1]).scatter_reduce(
            0, member[:, None].expand_as(inner), inner, "amax", include_self=False
        )
        mixed = self.of_member(inner) + self.of_set(most)[member]
        return leaky_relu(self.second(mixed), SLOPE)


class PiecewiseLayer(nn.Module):
    """Features and vectors of points, computed in every cell of a partition by itself.

        f_i = Σ_F w_F ψ_i(Fᵀ u, Fᵀ v, z)                          numbers that do not turn
        y_i = Σ_F w_F F φ_i(Fᵀ u, Fᵀ v, z) + Σ_b c_ib(f_i) b_i     vectors that turn with the cell

    over the frames F of the point's cell with their weights
    (:class:`equivariant.nn.apen.cell_frames.CellFrames`); u are the cell's points from its centre
    in units of its size, v the vectors that come in, z the numbers that come in and the
    invariants of u and v; b are u, C u, t, C t, v and, in SE(3), two cross products. Whatever
    group element moves each cell, with an element of its own,

        f(g·x) = f(x),   y(g·x) = R_cell y(x)

    exactly, and both are continuous in x where the partition stays. With one cell this is a frame
    average over the whole cloud; with one point per cell a map of every point's numbers alone.
    Nothing has more rows than points times frames.

    Args:
        features: Numbers per point that come in, at least 0.
        vectors: Vectors per point that come in, at least 0.
        width: Numbers per point that come out, at least 1.
        vectors_out: Vectors per point that come out, at least 0.
        group: SE3() or E3().
        resolution: Length below which the size of a cell does not count, in the unit of the
            clouds, positive.
        norm: See :class:`equivariant.nn.points.layers.FeatureNorm`; "batch" is over the rows,
            points times frames, of all clouds.
        stochastic: In training, use one frame of each cell drawn by its weight, a fourth of the
            rows or fewer; in evaluation all are used in any case.

    Raises:
        ConventionError: Sizes out of range or another group.

    Example:
        >>> layer = PiecewiseLayer(0, width=16, vectors_out=1)
        >>> clouds, labels = torch.randn(2, 100, 3), torch.arange(100) % 7
        >>> f, y = layer(clouds, Partition(labels.expand(2, 100)))
        >>> f.shape, y.shape
        (torch.Size([2, 100, 16]), torch.Size([2, 100, 1, 3]))

    Source: Atzmon et al. 2024, the backbone on known partitions; Puny et al. 2022.
    """

    def __init__(
        self,
        features: int = 0,
        vectors: int = 0,
        *,
        width: int = 64,
        vectors_out: int = 0,
        group: Group | None = None,
        resolution: float = 0.01,
        norm: Norm = "batch",
        stochastic: bool = False,
    ) -> None:
        super().__init__()
        self.group = SE3() if group is None else group
        _check(self.group, (features, vectors, vectors_out), (width, resolution))
        self.features, self.vectors, self.vectors_out = features, vectors, vectors_out
        self.width, self.resolution, self.stochastic = width, resolution, stochastic
        chiral = self.group != E3()
        bases, of_points = (6, 11) if chiral else (4, 10)
        self.network = CellNetwork(
            features + of_points + 3 * vectors, 3 + 3 * vectors, width, norm=norm
        )
        if vectors_out:
            self.turned = nn.Linear(width, 3 * vectors_out, bias=False)
            self.coefficients = nn.Linear(width, vectors_out * (bases + vectors))

    def forward(
        self,
        clouds: Float[Tensor, "batch points xyz"],
        partition: Partition,
        features: Float[Tensor, "batch points features"] | None = None,
        *,
        vectors: Float[Tensor, "batch points vectors 3"] | None = None,
    ) -> tuple[Float[Tensor, "batch points width"], Float[Tensor, "batch points out 3"]]:
        """Numbers and vectors of every point.

        Args:
            clouds: Positions, shape (batch, points, 3).
            partition: Labels of shape (batch, points).
            features: Shape (batch, points, features); None where there are none.
            vectors: Shape (batch, points, vectors, 3), differences of positions; None where there
                are none.

        Returns:
            Numbers, shape (batch, points, width), and vectors, (batch, points, vectors_out, 3),
            in the unit of the clouds.

        Raises:
            ShapeError: Shapes that do not fit one another or the layer.
        """
        self._check_inputs(clouds, partition, features, vectors)
        geometry = CellGeometry.of(clouds, partition, group=self.group, resolution=self.resolution)
        bases = geometry.bases()
        known = [geometry.invariants(bases)]
        turning = geometry.offsets.unsqueeze(1)
        if features is not None:
            known.append(features.flatten(0, 1))
        if vectors is not None:
            given = vectors.flatten(0, 1)
            known += [(given * other).sum(-1) for other in (given, turning, bases[:, 2:3])]
            turning, bases = torch.cat([turning, given], 1), torch.cat([bases, given], 1)
        frames = geometry.frames(drawn=self.training and self.stochastic)
        return self.averaged(torch.cat(known, 1), turning, (bases, frames, partition))

    def averaged(
        self,
        known: Float[Tensor, "points known"],
        turning: Float[Tensor, "points channels 3"],
        cells: tuple[Tensor, CellFrames, Partition],
    ) -> tuple[Tensor, Tensor]:
        """The mean over frames of the network inside.

        Args:
            known: Numbers of each point that do not turn.
            turning: Vectors of each point that the network sees from each frame.
            cells: Vectors to combine, the frames, and the partition.
        """
        bases, frames, partition = cells
        point, frame = frames.rows(partition)
        matrix = frames.matrices[frame]
        seen = torch.bmm(turning[point], matrix).flatten(1)
        hidden = self.network(known, seen, (point, frame, len(frames.weights)))
        weight = frames.weights[frame].unsqueeze(1)
        shape = partition.labels.shape
        mean = _summed(weight * hidden, point, len(known))
        if not self.vectors_out:
            return mean.unflatten(0, shape), mean.new_zeros(*shape, 0, 3)
        seen_out = (weight * self.turned(hidden)).unflatten(1, (self.vectors_out, 3))
        turned_back = torch.bmm(seen_out, matrix.transpose(1, 2))
        out = _summed(turned_back, point, len(known))
        coefficients = self.coefficients(mean).unflatten(1, (self.vectors_out, -1))
        out = out + torch.bmm(coefficients, bases)
        return mean.unflatten(0, shape), out.unflatten(0, shape)

    def _check_inputs(
        self, clouds: Tensor, partition: Partition, features: Tensor | None, vectors: Tensor | None
    ) -> None:
        check_clouds(clouds)
        lead = tuple(clouds.shape[:2])
        if tuple(partition.labels.shape) != lead:
            raise ShapeError(
                expected=f"a partition of points of shape {lead}",
                got=f"{tuple(partition.labels.shape)}", argument="partition",
                advice="Give labels of shape (batch, points).",
            )  # fmt: skip
        wanted: Sequence[tuple[str, Tensor | None, int, tuple[int, ...]]] = (
            ("features", features, self.features, (*lead, self.features)),
            ("vectors", vectors, self.vectors, (*lead, self.vectors, 3)),
        )
        for name, given, count, shape in wanted:
            if (given is None) != (count == 0) or (
                given is not None and tuple(given.shape) != shape
            ):
                raise ShapeError(
                    expected=f"shape {shape}" if count else "None",
                    got="None" if given is None else f"shape {tuple(given.shape)}",
                    argument=name, advice="The layer was made for that many.",
                )  # fmt: skip


def _summed(rows: Tensor, point: Tensor, points: int) -> Tensor:
    return rows.new_zeros(points, *rows.shape[1:]).index_add(0, point, rows)


def _check(group: Group, counts: Sequence[int], positive: tuple[int, float]) -> None:
    if group not in (SE3(), E3()):
        raise ConventionError(
            expected="SE3() or E3()", got=str(group), argument="group",
            advice="Cells move rigidly; E3() adds reflections.",
        )  # fmt: skip
    if min(counts) < 0 or positive[0] < 1 or not positive[1] > 0:
        raise ConventionError(
            expected="counts of at least 0, a width of at least 1 and a positive resolution",
            got=f"{tuple(counts)}, {positive}", argument="width",
            advice="resolution=0.01 suits clouds of about unit size.",
        )  # fmt: skip
