"""Frames of cells that change continuously with the points, and what does not turn at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.groups import E3, O3, SO3, Group
from equivariant.nn.apen.partition import Partition
from equivariant.nn.frames.frame_average import signed_frames
from equivariant.nn.frames.principal_axes import symmetric_axes
from equivariant.shapes import Float, Int

GAP_BELOW, GAP_ABOVE = 0.02, 0.15


@dataclass(frozen=True)
class CellGeometry:
    """The points of every cell seen from its centre, in units of its size.

        c = mean x_i,   s² = mean |x_i - c|² + ε²,   u_i = (x_i - c) / s
        C = mean u_i u_iᵀ,   t = mean |u_i|² u_i

    ε, the resolution, keeps all of it smooth where a cell shrinks to a point.

    Args:
        offsets: u_i, shape (all points, 3).
        sizes: s of each cell, shape (cells, 1), in the unit of the points.
        covariance: C of each cell, shape (cells, 3, 3); its trace is below 1.
        skewness: t of each cell, shape (cells, 3).
        partition: The cells.
        group: SE3() or E3().

    Source: the moments of frame averaging (Puny et al. 2022), and third ones.
    """

    offsets: Float[Tensor, "points 3"]
    sizes: Float[Tensor, "cells 1"]
    covariance: Float[Tensor, "cells 3 3"]
    skewness: Float[Tensor, "cells 3"]
    partition: Partition
    group: Group

    @classmethod
    def of(
        cls, clouds: Float[Tensor, "batch points 3"], partition: Partition,
        *, group: Group, resolution: float,
    ) -> CellGeometry:  # fmt: skip
        """The geometry of the cells of clouds.

        Args:
            clouds: Shape (batch, points, 3).
            partition: Their cells, labels of shape (batch, points).
            group: SE3() or E3().
            resolution: ε, in the unit of the clouds, positive.
        """
        index = partition.index
        wide = clouds.double()  # far from the origin, differences are small
        centered = (wide - partition.means(wide)).to(clouds.dtype).flatten(0, 1)
        square = _cell_means(centered.square().sum(-1, keepdim=True), partition)
        sizes = (square + resolution**2).sqrt()
        offsets = centered / sizes[index]
        products = (offsets.unsqueeze(-1) * offsets.unsqueeze(-2)).flatten(1)
        cubes = offsets.square().sum(-1, keepdim=True) * offsets
        moments = _cell_means(torch.cat([products, cubes], 1), partition)
        covariance = moments[:, :9].unflatten(1, (3, 3))
        return cls(offsets, sizes, covariance, moments[:, 9:], partition, group)

    def bases(self) -> Float[Tensor, "points count 3"]:
        """Vectors that turn with the cell: u, C u, t, C t; in SE(3) u × t and t × C t too."""
        index = self.partition.index
        u, skew, covariance = self.offsets, self.skewness, self.covariance
        bent = torch.einsum("cij,cj->ci", covariance, skew)
        along = torch.einsum("nij,nj->ni", covariance[index], u)
        found = [u, along, skew[index], bent[index]]
        if self.group != E3():
            normal = torch.linalg.cross(skew, bent)
            found += [torch.linalg.cross(u, skew[index]), normal[index]]
        return torch.stack(found, 1)

    def invariants(self, bases: Float[Tensor, "points count 3"]) -> Float[Tensor, "points numbers"]:
        """Numbers that do not turn, polynomials in the points and so continuous everywhere.

        Of a point: inner products of u with u, C u, t, C t, and in SE(3) the triple product
        u · (t × C t), which reflections change. Of its cell: trace, trace of the square and
        determinant of C, t · t, t · C t, and s.

        Args:
            bases: What :meth:`bases` returned.
        """
        u = self.offsets
        chosen = bases[:, :4] if self.group == E3() else bases[:, [0, 1, 2, 3, 5]]
        products = (chosen * u.unsqueeze(1)).sum(-1)
        covariance, skew = self.covariance, self.skewness
        of_cell = torch.stack(
            [
                covariance.diagonal(dim1=1, dim2=2).sum(1),
                covariance.square().sum((1, 2)),
                torch.linalg.det(covariance.to(_wide(covariance))).to(u.dtype),
                skew.square().sum(1),
                torch.einsum("ci,cij,cj->c", skew, covariance, skew),
                self.sizes[:, 0],
            ],
            1,
        )
        return torch.cat([products, of_cell[self.partition.index]], 1)

    def frames(self, *, drawn: bool = False) -> CellFrames:
        """The frames of every cell, with their weights.

        Args:
            drawn: One frame per cell, drawn by its weight, instead of all.
        """
        return CellFrames.of(self.covariance, group=self.group, drawn=drawn)


@dataclass(frozen=True)
class CellFrames:
    """Frames of cells with weights that sum to one and vanish where a frame is not determined.

    λ_1 <= λ_2 <= λ_3 are the eigenvalues of C. The principal axes with every choice of signs,
    4 of them in SE(3) and 8 in E(3), share the weight

        w = q(λ_2 - λ_1) q(λ_3 - λ_2),   q rising smoothly from 0 at 0.02 to 1 at 0.15

    and the rest, 1 - w, belongs to the zero matrix, a "frame" in which every point lies at the
    centre: what remains there are invariants. Where two eigenvalues meet, and the axes would
    jump, w is zero already. So is it for single points, pairs, points on a line, cells that are
    round, cubes, squares. A mean over these frames commutes with the group at every cell, and is
    continuous in the points.

    Args:
        matrices: Columns are axes, shape (frames of all cells, 3, 3).
        weights: Shape (frames of all cells,).
        cells: Row of the cell of each frame.
        places: Row of each cell's frame by slot, shape (slots, cells); -1 where it has weight
            zero and is left out.

    Source: Puny et al. 2022, frames; Dym et al. 2024, weighted frames and why they are needed.
    """

    matrices: Float[Tensor, "frames 3 3"]
    weights: Float[Tensor, " frames"]
    cells: Int[Tensor, " frames"]
    places: Int[Tensor, "slots cells"]

    @classmethod
    def of(
        cls, covariance: Float[Tensor, "cells 3 3"], *, group: Group, drawn: bool = False
    ) -> CellFrames:
        """The frames of covariances whose traces are at most 1.

        Args:
            covariance: Shape (cells, 3, 3).
            group: SE3() or E3().
            drawn: One frame per cell, drawn by its weight.
        """
        wide = covariance.to(_wide(covariance))
        axes = symmetric_axes(wide)
        weight = frame_weight(wide, axes)
        signed = signed_frames(axes, O3() if group == E3() else SO3()).transpose(0, 1)
        slots = len(signed) + 1
        every = torch.cat([signed, torch.zeros_like(signed[:1])])
        shares = torch.cat([(weight / (slots - 1)).expand(slots - 1, -1), 1 - weight[None]])
        if drawn:
            slot = torch.multinomial(shares.detach().T, 1)[:, 0]
            cells = torch.arange(len(covariance), device=covariance.device)
            kept = every[slot, cells].to(covariance.dtype)
            return cls(kept, torch.ones_like(kept[:, 0, 0]), cells, cells[None])
        slot, cells = (shares > 0).nonzero(as_tuple=True)
        places = torch.full(shares.shape, -1, dtype=torch.int64, device=covariance.device)
        places[slot, cells] = torch.arange(len(slot), device=covariance.device)
        dtype = covariance.dtype
        return cls(every[slot, cells].to(dtype), shares[slot, cells].to(dtype), cells, places)

    def rows(self, partition: Partition) -> tuple[Tensor, Tensor]:
        """Every point once for every frame of its cell.

        Args:
            partition: The cells.

        Returns:
            Point and frame of each row, both int64.
        """
        frame = self.places[:, partition.index]
        slot, point = (frame >= 0).nonzero(as_tuple=True)
        return point, frame[slot, point]


def frame_weight(
    covariance: Float[Tensor, "cells 3 3"], axes: Float[Tensor, "cells 3 3"]
) -> Float[Tensor, " cells"]:
    """How far the principal axes are determined: 0 where eigenvalues meet, 1 where they differ.

    Args:
        covariance: Shape (cells, 3, 3), traces at most 1.
        axes: Eigenvectors by ascending eigenvalue. Taken as constant: the derivative of an
            eigenvalue is v · dC v whatever the vectors do.
    """
    fixed = axes.detach()
    values = torch.einsum("cia,cij,cja->ca", fixed, covariance, fixed)
    share = ((values.diff(dim=1) - GAP_BELOW) / (GAP_ABOVE - GAP_BELOW)).clamp(0, 1)
    return (share.square() * (3 - 2 * share)).prod(1)


def _cell_means(values: Tensor, partition: Partition) -> Tensor:
    total = values.new_zeros(partition.cells, values.shape[1])
    total = total.index_add(0, partition.index, values)
    return total / partition.sizes[:, None].to(values.dtype)


def _wide(values: Tensor) -> torch.dtype:
    return torch.float64 if values.dtype == torch.float64 else torch.float32
