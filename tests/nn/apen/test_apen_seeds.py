"""First partitions: against loops, independent of order and motion, and how fine is fine enough."""

from __future__ import annotations

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SE3
from equivariant.nn import Partition, close_islands, farthest_point_partition, voronoi_partition
from equivariant.nn.apen.seeds import _by_coordinates


def clouds(batch=3, points=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, points, 3, generator=generator, dtype=torch.float64)


def by_loop(cloud, count):
    """Farthest points of one cloud, one after another, and the nearest of them."""
    points = [tuple(p) for p in cloud.tolist()]
    center = tuple(sum(p[a] for p in points) / len(points) for a in range(3))
    seeds = [max(points, key=lambda p: (math.dist(p, center), p))]
    while len(seeds) < count:
        seeds.append(max(points, key=lambda p: (min(math.dist(p, s) for s in seeds), p)))
    return [min(range(count), key=lambda m: (math.dist(p, seeds[m]), m)) for p in points]


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_farthest_points_against_a_loop(count):
    x = clouds()
    found = farthest_point_partition(x, count)
    for cloud, labels in zip(x, found.labels, strict=True):
        assert labels.tolist() == by_loop(cloud, count)


def test_ties_are_decided_by_coordinates():
    corner = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    cube = torch.cartesian_prod(corner, corner, corner)
    expected = farthest_point_partition(cube[None], 3).labels[0]
    assert expected.tolist() == by_loop(cube, 3)
    order = torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])
    assert torch.equal(farthest_point_partition(cube[order][None], 3).labels[0], expected[order])


@pytest.mark.parametrize("islands", [False, True])
def test_order_of_points_and_batch_do_not_matter(islands):
    x = clouds(batch=4)
    x[:, 20:] += torch.tensor([30.0, 0, 0])
    groups = close_islands(x) if islands else None
    found = farthest_point_partition(x, 9, islands=groups)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    shuffled = x[:, order]
    groups = close_islands(shuffled) if islands else None
    again = farthest_point_partition(shuffled, 9, islands=groups)
    assert torch.equal(again.labels, found.labels[:, order])
    for k in range(4):
        groups = close_islands(x[k : k + 1]) if islands else None
        alone = farthest_point_partition(x[k : k + 1], 9, islands=groups)
        assert torch.equal(alone.labels[0], found.labels[k])


def test_rigid_motion_of_the_whole_changes_nothing():
    x = clouds(batch=20)
    g = SE3().sample(20, generator=torch.Generator().manual_seed(0))
    moved = x @ g[:, :3, :3].mT + g[:, None, :3, 3]
    assert farthest_point_partition(moved, 8) == farthest_point_partition(x, 8)
    assert close_islands(moved) == close_islands(x)


def test_cells_of_islands_ignore_how_islands_lie():
    """The property that plain farthest points lack."""
    parts = clouds(batch=2, points=60, seed=3)
    plain = []
    islands = []
    for seed in range(6):
        g = SE3().sample(2, generator=torch.Generator().manual_seed(seed))
        away = torch.tensor([[[-60.0, 0, 0]], [[60.0, 0, 0]]], dtype=torch.float64)
        moved = parts @ g[:, :3, :3].mT + away
        x = moved.flatten(0, 1)[None]
        groups = close_islands(x, reach=6.0)
        assert groups.refines(Partition(torch.arange(120)[None] // 60))
        islands.append(farthest_point_partition(x, 10, islands=groups))
        plain.append(farthest_point_partition(x, 10))
    assert all(p == islands[0] for p in islands)
    assert any(p != plain[0] for p in plain)


def test_islands_have_a_seed_each_and_no_cell_across():
    x = clouds(batch=1, points=30)
    x[:, 10:20] += 50
    x[:, 20:] -= 50
    groups = Partition(torch.arange(30)[None] // 10)
    found = farthest_point_partition(x, 2, islands=groups)
    assert found == groups
    finer = farthest_point_partition(x, 7, islands=groups)
    assert finer.k == 7
    assert finer.refines(groups)


def test_coincident_points_share_a_cell():
    x = torch.zeros(1, 5, 3)
    x[0, 3:] = 1.0
    assert farthest_point_partition(x, 5) == Partition(torch.tensor([[0, 0, 0, 1, 1]]))
    assert farthest_point_partition(x[:, :1], 4).k == 1
    assert close_islands(x[:, :1]).k == 1


def test_voronoi_cells_are_of_the_nearest_seed():
    x = clouds()
    seeds = clouds(points=6, seed=5)
    labels = (x.unsqueeze(2) - seeds.unsqueeze(1)).norm(dim=-1).argmin(-1)
    assert voronoi_partition(x, seeds) == Partition(labels)


def test_as_many_cells_as_points_are_singletons():
    x = clouds()
    assert farthest_point_partition(x, 40) == Partition.singletons(40, 3)
    assert farthest_point_partition(x, 400) == Partition.singletons(40, 3)


def test_points_are_sorted_by_coordinates():
    x = torch.randint(0, 2, (1, 20, 3)).double()
    order = _by_coordinates(x)[0]
    rows = [tuple(p) for p in x[0][order].tolist()]
    assert rows == sorted(rows, reverse=True)


def test_refusals():
    with pytest.raises(ConventionError, match="at least one cell"):
        farthest_point_partition(clouds(), 0)
    with pytest.raises(ShapeError, match="islands"):
        farthest_point_partition(clouds(), 2, islands=Partition(torch.zeros(3, 2).long()))
    with pytest.raises((ShapeError, TypeCheckError), match="seeds"):
        voronoi_partition(clouds(), clouds(batch=2))
    with pytest.raises(ConventionError, match="reach"):
        close_islands(clouds(), 0.0)
