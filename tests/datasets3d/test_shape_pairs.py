"""Clouds under linear maps: that g takes a to b, that fixed sets stay fixed, refusals."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy import stats

from datasets3d import MeshFolder, PointClouds, ProceduralMeshes, ShapePairs, transformed_clouds
from equivariant.actions import Points
from equivariant.errors import ConventionError
from equivariant.groups import (
    GL,
    SE3,
    SL,
    SO2,
    SO3,
    Affine,
    BallSampler,
    Elements,
    HaarSampler,
    NormalSampler,
    TruncatedHaarSampler,
)
from equivariant.training.loop import PairStream

LAWS = [HaarSampler(SO3()), NormalSampler(GL(3), 0.4), NormalSampler(SE3(), 0.5),
        NormalSampler(Affine(3), 0.3), TruncatedHaarSampler(SL(3), 0.6),
        TruncatedHaarSampler(GL(3), 0.5, scale_radius=0.2), None]  # fmt: skip
every_law = pytest.mark.parametrize("law", LAWS, ids=str)


@pytest.fixture(scope="module")
def clouds():
    source = ProceduralMeshes(instances=5, classes=["chair", "truck"], val_fraction=0.0)
    return PointClouds(source, points=40)


def same(one, other):
    a, b = one.tensors(), other.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def take(pairs, count, batch_size=4, **options):
    return list(islice(pairs.stream(batch_size, **options), count))


def mapped(g, cloud):
    """One cloud, point by point."""
    rows = []
    for x in cloud.double():
        moved = g[:3, :3] @ x
        rows.append(moved + g[:3, 3] if g.shape[0] == 4 else moved)
    return torch.stack(rows)


@every_law
def test_g_takes_a_to_b(clouds, law):
    pairs = ShapePairs(clouds, law=law, seed=2)
    (batch,) = take(pairs, 1, 10)
    assert batch.a.dtype == batch.b.dtype == batch.g.dtype == torch.float32
    assert batch.g.shape[-1] == pairs.group.matrix_size
    moved = Points(pairs.group)(batch.g, batch.a)
    torch.testing.assert_close(moved, batch.b, atol=2e-5, rtol=0)
    assert torch.equal(batch.label, clouds.labels[batch.object_id])
    h_a, h_b = pairs.elements(0)
    for k in range(10):
        x, index = clouds.clouds[batch.object_id[k]], batch.object_id[k]
        for h, seen in ((h_a, batch.a), (h_b, batch.b)):
            torch.testing.assert_close(mapped(h[0, index], x), seen[k].double(), atol=1e-5, rtol=0)
    if law is None:
        assert torch.equal(batch.a, clouds.clouds[batch.object_id])
        assert torch.equal(batch.g, torch.eye(3).expand(10, 3, 3))
    else:  # the broken twins: the inverse, and nothing
        assert (Points(pairs.group)(torch.linalg.inv(batch.g), batch.a) - batch.b).abs().max() > 0.1
        assert (batch.a - batch.b).abs().amax((1, 2)).min() > 1e-3


def test_from_aligned_shapes(clouds):
    pairs = ShapePairs(clouds, law=NormalSampler(GL(3), 0.4), first="aligned", seed=3)
    (batch,) = take(pairs, 1, 10)
    assert torch.equal(batch.a, clouds.clouds[batch.object_id])
    assert pairs.elements(0)[0].eq(torch.eye(3)).all()


def test_laws_are_those_that_were_asked_for(clouds):
    pairs = ShapePairs(clouds, law=HaarSampler(SO3()), pairs_per_object=300)
    for rotations in (*pairs.elements(0), *pairs.elements(1)):
        angle = ((rotations.flatten(0, 1).diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).acos()
        law = stats.kstest(angle.numpy(), lambda t: (t - np.sin(t)) / math.pi)
        assert law.pvalue > 1e-3
    first, second = (h.flatten(0, 1).flatten(1) for h in pairs.elements(0))
    correlation = torch.corrcoef(torch.cat([first, second], 1).T)[:9, 9:]
    assert correlation.abs().max() < 5 / math.sqrt(len(first))


def test_streams(clouds):
    law = NormalSampler(GL(3), 0.4)
    pairs = ShapePairs(clouds, law=law, seed=5, pairs_per_object=2)
    steps = take(pairs, 9, 7)
    assert pairs.pairs_per_epoch == 20 and isinstance(pairs, PairStream)
    for start in (1, 2, 5):
        fresh = ShapePairs(clouds, law=law, seed=5, pairs_per_object=2)
        tail = take(fresh, 9 - start, 7, start=start)
        assert all(same(a, b) for a, b in zip(steps[start:], tail, strict=True))
    whole, rows = pairs.batch(pairs.rows(1)), pairs.rows(1)
    for chosen in ([3], [19, 0], []):
        assert same(pairs.batch(rows[chosen]), whole[torch.tensor(chosen, dtype=torch.long)])
    assert not same(take(ShapePairs(clouds, law=law, seed=6), 1)[0], steps[0])
    helped = take(pairs, 3, 7, workers=1)
    assert all(same(a, b) for a, b in zip(steps, helped, strict=False))


@every_law
def test_fixed_sets(clouds, law):
    found = transformed_clouds(clouds, law, per_object=3, seed=1)
    again = transformed_clouds(clouds, law, per_object=3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    assert found.clouds.shape == (30, 40, 3) and found.clouds.dtype == torch.float32
    assert found.labels.tolist() == np.repeat(clouds.labels.numpy(), 3).tolist()
    for k in range(30):
        moved = mapped(found.matrices[k], clouds.clouds[k // 3])
        torch.testing.assert_close(moved, found.clouds[k].double(), atol=1e-5, rtol=0)
    more = transformed_clouds(clouds, law, per_object=5, seed=1)
    for kept, longer in zip(found, more, strict=True):
        assert torch.equal(longer.unflatten(0, (10, 5))[:, :3].flatten(0, 1), kept)
    if law is not None:
        assert len(found.matrices.flatten(1).unique(dim=0)) == 30
        other = transformed_clouds(clouds, law, per_object=3, seed=2)
        assert (other.matrices != found.matrices).flatten(1).any(1).all()
        # nothing is centred or scaled: what a translation or a stretch did is there
        if law.group.matrix_size == 4:
            offset = found.clouds.mean(1) - found.matrices[:, :3, 3].float()
            assert offset.abs().max() < 1e-4 and found.clouds.mean(1).norm(dim=1).min() > 0.01


def test_refusals(clouds):
    for options in ({"seed": -1}, {"pairs_per_object": 0}):
        with pytest.raises(ConventionError, match=next(iter(options))):
            ShapePairs(clouds, **options)
    with pytest.raises((ConventionError, TypeCheckError)):
        ShapePairs(clouds, first="centred")
    for options in ({"seed": -1}, {"per_object": 0}):
        with pytest.raises(ConventionError, match=next(iter(options))):
            transformed_clouds(clouds, **options)
    plane = HaarSampler(SO2())
    for make in (
        lambda law: ShapePairs(clouds, law=law),
        lambda law: transformed_clouds(clouds, law),
    ):
        with pytest.raises(ConventionError, match="points of space"):
            make(plane)
    weighted = BallSampler(SO3(), 1.0)
    with pytest.raises(ConventionError, match="equal weights"):
        transformed_clouds(clouds, weighted)
    with pytest.raises(ConventionError, match="equal weights"):
        ShapePairs(clouds, law=weighted).batch(np.array([[0, 0, 0]]))


def test_one_object():
    source = ProceduralMeshes(instances=1, classes=["chair"], val_fraction=0.0)
    one = PointClouds(source, points=7)
    (batch,) = take(ShapePairs(one, law=HaarSampler(SO3())), 1, 1)
    assert batch.a.shape == (1, 7, 3) and batch.g.shape == (1, 3, 3)
    listed = Elements(SO3(), torch.eye(3, dtype=torch.float64)[None])
    assert transformed_clouds(one, listed).clouds.shape == (1, 7, 3)


def test_real_meshes(real_data):
    data = PointClouds(MeshFolder(real_data / "lowpoly_cc0"), split="val", points=256)
    assert len(data.label_names) == 32
    clouds, labels, _ = transformed_clouds(data, HaarSampler(SO3()), per_object=2)
    assert clouds.shape == (2 * len(data), 256, 3) and int(labels.max()) == 31
    torch.testing.assert_close(clouds.norm(dim=2).amax(1), torch.ones(len(clouds)))
