"""First partitions of clouds: cells around seeds that spread over each cloud."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.apen.partition import Partition
from equivariant.nn.points.neighbors import check_clouds
from equivariant.shapes import Float, Int

_UNREACHED = 1e30


def farthest_point_partition(
    clouds: Float[Tensor, "batch points 3"], cells: int, *, islands: Partition | None = None
) -> Partition:
    """Cells of the points nearest to seeds, of which each is the farthest from those before it.

        s_1 = argmax_i |x_i - x̄|,   s_m = argmax_i min_{l < m} |x_i - x_{s_l}|
        label_i = argmin_m |x_i - x_{s_m}|

    The order of the points does not matter: equal distances are decided by coordinates, the
    largest (x, y, z) first, and equally near seeds by which came first. Turning or moving a whole
    cloud changes nothing but rounding.

    With ``islands``, distances from one island to another count as infinite: every island has a
    seed of its own, the point farthest from its own centroid, and no cell reaches across. Then
    the cells depend on the shape of each island and not on how islands lie to one another, and
    parts that are islands may move without changing any cell.

    Args:
        clouds: Shape (batch, points, 3), any unit, at least one point.
        cells: Seeds per cloud, at least 1. Fewer cells come out where points coincide or are
            fewer, more where there are more islands.
        islands: Groups of points between which no cell reaches; None for one group.

    Returns:
        Cells, numbered as their seeds were found.

    Raises:
        ShapeError: The last axis is not 3, there is no point, or islands of other points.
        ConventionError: Fewer than one cell.

    Example:
        >>> cloud = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [9, 0, 0], [10.5, 0, 0]]])
        >>> farthest_point_partition(cloud, 2).labels.tolist()
        [[1, 1, 0, 0]]

    Source: Atzmon et al. 2024, the simple partition model; Eldar et al. 1997, farthest points.
    """
    check_clouds(clouds)
    if cells < 1:
        raise ConventionError(
            expected="at least one cell", got=str(cells), argument="cells",
            advice="128 for clouds of 2,048 points.",
        )  # fmt: skip
    with torch.no_grad():
        order = _by_coordinates(clouds)
        sorted_points = clouds.detach().take_along_dim(order[..., None], 1)
        groups = _groups(islands, order, clouds)
        labels = _spread(sorted_points.double(), cells, groups)
        return Partition(torch.empty_like(labels).scatter_(1, order, labels))


def voronoi_partition(
    clouds: Float[Tensor, "batch points 3"], seeds: Float[Tensor, "batch seeds 3"]
) -> Partition:
    """Cells of the points nearest to given seeds; equally near ones go to the first seed.

    Args:
        clouds: Shape (batch, points, 3).
        seeds: Positions, shape (batch, seeds, 3), at least one.

    Raises:
        ShapeError: There is no seed, or another batch.

    Example:
        >>> cloud = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [9, 0, 0]]])
        >>> voronoi_partition(cloud, cloud[:, [0, 2]]).labels.tolist()
        [[0, 0, 1]]
    """
    check_clouds(clouds)
    if seeds.ndim != 3 or seeds.shape[1] < 1 or seeds.shape[0] != len(clouds):
        raise ShapeError(
            expected=f"seeds of shape ({len(clouds)}, seeds, 3), at least one",
            got=f"shape {tuple(seeds.shape)}", argument="seeds",
            advice="Each cloud has its own seeds.",
        )  # fmt: skip
    mode = "donot_use_mm_for_euclid_dist"
    distance = torch.cdist(clouds.detach().double(), seeds.detach().double(), compute_mode=mode)
    return Partition(distance.argmin(-1))


def close_islands(
    clouds: Float[Tensor, "batch points 3"], reach: float = 5.0, *, neighbors: int = 8
) -> Partition:
    """Groups of points that hang together by short steps: parts that do not touch are apart.

    Two points are joined where one is among the nearest ``neighbors`` of the other and not
    farther than ``reach`` times the median distance to the nearest point. As long as parts stay
    farther apart than that, the groups do not depend on how parts lie to one another. The search
    is by a k-d tree on the CPU, wherever the clouds are, in O(n log n).

    Args:
        clouds: Shape (batch, points, 3).
        reach: In units of the median distance to the nearest other point of the cloud, positive.
        neighbors: How many near points are looked at, at least 1.

    Raises:
        ConventionError: Reach or neighbours out of range.

    Example:
        >>> line = torch.arange(20.0)[:, None] * torch.tensor([0.1, 0, 0])
        >>> close_islands(torch.cat([line, line + 5])[None]).counts.tolist()
        [2]
    """
    check_clouds(clouds)
    if not reach > 0 or neighbors < 1:
        raise ConventionError(
            expected="a positive reach and at least one neighbor",
            got=f"reach {reach}, neighbors {neighbors}", argument="reach",
            advice="5 joins the points of a sampled surface.",
        )  # fmt: skip
    points = clouds.detach().double().cpu().numpy()
    labels = np.stack([_islands(cloud, reach, neighbors) for cloud in points])
    return Partition(torch.from_numpy(labels).long().to(clouds.device))


def _islands(cloud: np.ndarray, reach: float, neighbors: int) -> np.ndarray:
    count = len(cloud)
    if count == 1:
        return np.zeros(1, dtype=np.int64)
    near = min(neighbors + 1, count)
    distance, index = cKDTree(cloud).query(cloud, k=near)
    spacing = np.median(distance[:, 1])
    rows = np.repeat(np.arange(count), near)
    joined = distance.ravel() <= reach * spacing
    graph = coo_matrix(
        (np.ones(joined.sum(), dtype=np.int8), (rows[joined], index.ravel()[joined])),
        shape=(count, count),
    )
    _, labels = connected_components(graph, directed=False)
    found: np.ndarray = labels.astype(np.int64)
    return found


def _by_coordinates(clouds: Tensor) -> Int[Tensor, "batch points"]:
    """Order of the points by falling (x, y, z)."""
    order = torch.arange(clouds.shape[1], device=clouds.device).expand(clouds.shape[:2])
    for axis in (2, 1, 0):
        values = clouds.detach()[..., axis].gather(1, order)
        order = order.gather(1, values.sort(dim=1, descending=True, stable=True).indices)
    return order


def _groups(islands: Partition | None, order: Tensor, clouds: Tensor) -> Partition:
    if islands is None:
        return Partition.single_cell(clouds.shape[1], len(clouds), device=clouds.device)
    if islands.labels.shape != clouds.shape[:2]:
        raise ShapeError(
            expected=f"islands of points of shape {tuple(clouds.shape[:2])}",
            got=f"{tuple(islands.labels.shape)}", argument="islands",
            advice="Make them with close_islands(clouds).",
        )  # fmt: skip
    return Partition(islands.labels.gather(1, order))


def _spread(
    points: Float[Tensor, "batch points 3"], cells: int, groups: Partition
) -> Int[Tensor, "batch points"]:
    """Number of the nearest seed of each point, seeds chosen one after another."""
    batch, count = points.shape[:2]
    labels, group = points.new_zeros(batch, count, dtype=torch.int64), groups.labels
    x, y, z = (points[..., axis].contiguous() for axis in range(3))
    distance = _first_distances(points, groups)
    wanted = groups.counts.clamp(min=min(cells, count))[:, None]
    several = groups.cells > batch
    for seed in range(int(wanted.max())):
        chosen = distance.argmax(1, keepdim=True)
        away = (x - x.gather(1, chosen)).square_()
        away += (y - y.gather(1, chosen)).square_()
        away += (z - z.gather(1, chosen)).square_()
        nearer = away < distance
        if several:
            nearer &= group == group.gather(1, chosen)
        nearer &= wanted > seed
        labels.masked_fill_(nearer, seed)
        distance = torch.where(nearer, away, distance)
    return labels


def _first_distances(points: Tensor, groups: Partition) -> Tensor:
    """Infinite at the first seed of each group, and farther than any point elsewhere."""
    away = (points - groups.means(points)).square().sum(-1)
    farthest = groups.gather(groups.scatter(away, reduce="max"))
    places = torch.arange(away.shape[1], device=away.device).expand_as(away)
    first = torch.where(away == farthest, places, away.shape[1])
    start = groups.gather(groups.scatter(first, reduce="min")) == places
    return torch.full_like(away, _UNREACHED).masked_fill_(start, torch.inf)
