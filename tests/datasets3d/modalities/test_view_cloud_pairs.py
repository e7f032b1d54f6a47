"""Pairs of clouds of views: exact elements, the pictures' own pairs, seeds alone."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from datasets3d import (
    ElementConvention,
    ThreeDIEBench,
    TransformPairs,
    ViewCloudPairs,
    ViewClouds,
)
from equivariant.actions import Points
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import Sim


@pytest.fixture(scope="module")
def small(moved):
    return ViewClouds(ThreeDIEBench(moved, cache=False), points=300)


def test_shared_points_are_moved_by_g_exactly(small):
    pairs = ViewCloudPairs(small, points=50, pairs_per_object=4)
    assert pairs.group == Sim(3)
    batch = next(pairs.stream(8))
    moved = Points(Sim(3))(batch.g.double(), batch.a.double())
    assert float((moved - batch.b).abs().max()) < 1e-5
    back = Points(Sim(3))(torch.linalg.inv(batch.g.double()), batch.a.double())
    assert float((back - batch.b).abs().max()) > 0.05
    rows = pairs.rows(0)[:8]
    chosen = pairs.chosen(rows)
    assert (chosen[:, 0] == chosen[:, 1]).all() and len(np.unique(chosen[0, 0])) == 50


def test_they_show_the_views_and_elements_of_the_pictures(small):
    settings = {"seed": 5, "pairs_per_object": 3}
    convention = ElementConvention("similarity", frame="world")
    pictures = TransformPairs(small.dataset, convention=convention, **settings)
    pairs = ViewCloudPairs(small, **settings)
    for p, c in zip(islice(pictures.stream(4), 3), pairs.stream(4), strict=False):
        assert torch.equal(p.object_id, c.object_id) and torch.equal(p.label, c.label)
        assert torch.equal(p.g, c.g)
        assert torch.equal(p.pose_a, c.pose_a) and torch.equal(p.pose_b, c.pose_b)


def test_partial_clouds_are_what_each_camera_sees(small):
    pairs = ViewCloudPairs(small, of="partial", pairs_per_object=2)
    assert pairs.points == 75
    rows = pairs.rows(0)
    views, chosen = pairs.views_of(rows), pairs.chosen(rows)
    batch = pairs.batch(rows)
    for k, (index, _, _) in enumerate(rows.tolist()):
        for side, points in enumerate((batch.a, batch.b)):
            cloud = small.cloud(index, int(views[k, side]))
            assert cloud.visible[chosen[k, side]].all()
            np.testing.assert_allclose(points[k], cloud.points[chosen[k, side]], atol=1e-6)
    assert (chosen[:, 0] != chosen[:, 1]).any()
    many = ViewCloudPairs(small, of="partial", points=400)
    assert next(many.stream(2)).a.shape == (2, 400, 3), "with return where fewer are seen"


def test_independent_clouds_share_no_order(small):
    pairs = ViewCloudPairs(small, of="independent", points=100)
    chosen = pairs.chosen(pairs.rows(0))
    assert all(len(np.unique(one)) == 100 for one in chosen.reshape(-1, 100))
    assert len(np.intersect1d(*chosen[0])) < 60


def test_batches_depend_on_seed_and_position_alone(small, moved):
    pairs = ViewCloudPairs(small, of="partial", points=20, pairs_per_object=4)
    whole = list(islice(pairs.stream(4), 4))
    resumed = list(islice(pairs.stream(4, start=2), 2))
    fresh = ViewClouds(ThreeDIEBench(moved, cache=False), points=300)
    fresh.sample(1)  # another order of reading
    workers = ViewCloudPairs(fresh, of="partial", points=20, pairs_per_object=4)
    for a, b in zip(whole[2:], resumed, strict=True):
        assert torch.equal(a.a, b.a) and torch.equal(a.b, b.b) and torch.equal(a.g, b.g)
    for a, b in zip(whole, workers.stream(4, workers=2), strict=False):
        assert torch.equal(a.a, b.a) and torch.equal(a.b, b.b)
    halves = [next(pairs.stream(4, rank=r, world=2)) for r in (0, 1)]
    assert torch.equal(torch.cat([h.a for h in halves]), whole[0].a)
    other = ViewCloudPairs(small, of="partial", points=20, pairs_per_object=4, seed=1)
    assert not torch.equal(next(other.stream(4)).a, whole[0].a)


def test_doors(small, moved):
    with pytest.raises(ConventionError, match="points"):
        ViewCloudPairs(small, points=301)
    with pytest.raises(ConventionError, match="two views"):
        ViewCloudPairs(ViewClouds(ThreeDIEBench(moved, views=1, cache=False)))
    blind = ViewClouds(ThreeDIEBench(moved, cache=False), points=1)
    hidden = [not blind.visible(o)[v].any() for o in range(2) for v in range(3)]
    assert any(hidden)
    with pytest.raises(DataFormatError, match="sees"):
        pairs = ViewCloudPairs(blind, of="partial", pairs_per_object=6)
        pairs.batch(pairs.rows(0))
