"""Clouds: uniform on the surface and dependent on nothing else; pairs: that g takes a to b."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from scipy import stats

from datasets3d import MeshFolder, PointClouds, PointPairs, ProceduralMeshes
from datasets3d.clouds.surface_points import sample_surface, to_unit_sphere
from equivariant.actions import Points
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import O3, SE3, SO3
from equivariant.training.loop import PairStream

TETRAHEDRON = "OFF\n4 4 0\n0 0 0\n{} 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"


def write(root, name, length):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TETRAHEDRON.format(length))


@pytest.fixture
def folder(tmp_path):
    names = ["axe/train/a.off", "axe/test/b.off", "bed/train/c.off", "bed/train/d.off"]
    for length, name in enumerate([*names, "car/test/e.off"], start=1):
        write(tmp_path, name, length)
    return tmp_path


@pytest.fixture(scope="module")
def clouds():
    source = ProceduralMeshes(instances=5, classes=["chair", "truck"], val_fraction=0.0)
    return PointClouds(source, points=40)


def same(one, other):
    a, b = one.tensors(), other.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def take(pairs, count, batch_size=4, **options):
    return list(islice(pairs.stream(batch_size, **options), count))


def test_samples_are_uniform_by_area():
    """Two triangles of areas 1 and 3, one of none; in each, coordinates of the right law."""
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 5], [6, 0, 5], [0, 1, 5]])
    faces = np.array([[0, 0, 1], [0, 1, 2], [3, 4, 5], [5, 5, 3]], np.int32)
    count = 20_000
    x = sample_surface(vertices, faces, count, generator=np.random.default_rng(0))
    upper = x[:, 2] > 2.5
    np.testing.assert_allclose(x[:, 2], np.where(upper, 5.0, 0.0), atol=1e-12)
    assert stats.binomtest(int(upper.sum()), count, 0.75).pvalue > 1e-3
    for part, length in ((x[upper], 6.0), (x[~upper], 2.0)):
        u, v = part[:, 0] / length, part[:, 1]
        assert (u >= 0).all() and (v >= 0).all() and (1 - u - v >= -1e-12).all()
        # in a uniform triangle each barycentric coordinate t has P(T <= t) = 1 - (1 - t)²
        for coordinate in (u, v, 1 - u - v):
            assert stats.kstest(coordinate, lambda t: 1 - (1 - t) ** 2).pvalue > 1e-3
        # the broken twin, without the square root, is told apart
        assert stats.kstest(1 - (1 - u) ** 2, lambda t: 1 - (1 - t) ** 2).pvalue < 1e-6


def test_a_mesh_without_area_is_refused():
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    for faces in (np.array([[0, 1, 2]], np.int32), np.zeros((0, 3), np.int32)):
        with pytest.raises(DataFormatError, match="area"):
            sample_surface(flat, faces, 3, generator=np.random.default_rng(0))


def test_unit_sphere_of_coincident_points():
    assert to_unit_sphere(np.full((3, 3), 0.3)).round(12).tolist() == [[0.0] * 3] * 3


def test_folders_give_splits_and_labels(folder):
    train, val, every = (
        PointClouds(MeshFolder(folder), split=split, points=50) for split in ("train", "val", "all")
    )
    assert [entry.object_id for entry in train.entries] == ["a", "c", "d"]
    assert [entry.object_id for entry in val.entries] == ["b", "e"]
    assert train.label_names == val.label_names == ["axe", "bed", "car"]
    assert (train.labels.tolist(), val.labels.tolist()) == ([0, 1, 1], [0, 2])
    assert (len(train), len(val), len(every)) == (3, 2, 5)
    assert every.clouds.shape == (5, 50, 3) and every.clouds.dtype == torch.float32
    assert every.clouds is every.clouds
    center, radius = every.clouds.mean(1), every.clouds.norm(dim=2).amax(1)
    torch.testing.assert_close(center, torch.zeros(5, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(radius, torch.ones(5))


def test_points_depend_on_seed_and_object_alone(folder):
    every = PointClouds(MeshFolder(folder), split="all", points=50)
    val = PointClouds(MeshFolder(folder), split="val", points=50)
    assert torch.equal(every.clouds[[1, 4]], val.clouds)
    write(folder, "aardvark/train/z.off", 2)
    more = PointClouds(MeshFolder(folder), split="all", points=50)
    assert torch.equal(more.clouds[1:], every.clouds)
    other = PointClouds(MeshFolder(folder), split="all", points=50, seed=1)
    assert (other.clouds != more.clouds).any((1, 2)).all()


def test_a_split_is_drawn_where_the_source_states_none(tmp_path):
    for k in range(40):
        write(tmp_path, f"axe/{k}.off", 1 + k)
    parts = {
        split: {
            entry.object_id
            for entry in PointClouds(
                MeshFolder(tmp_path), split=split, points=3, val_fraction=0.5
            ).entries
        }
        for split in ("train", "val")
    }
    assert len(parts["train"] | parts["val"]) == 40 and not parts["train"] & parts["val"]
    assert 5 < len(parts["val"]) < 35


def test_refusals_of_clouds(folder):
    source = MeshFolder(folder)
    for options in ({"points": 0}, {"seed": -1}, {"val_fraction": 1.5}):
        with pytest.raises(ConventionError, match=next(iter(options))):
            PointClouds(source, **options)
    with pytest.raises((ConventionError, TypeCheckError)):
        PointClouds(source, split="test")
    for path in (folder / "axe" / "test").iterdir():
        path.unlink()
    (folder / "car" / "test" / "e.off").unlink()
    with pytest.raises(DataFormatError, match="val"):
        PointClouds(MeshFolder(folder), split="val")


@pytest.mark.parametrize("group", [SO3(), SE3()])
def test_g_takes_a_to_b(clouds, group):
    pairs = PointPairs(clouds, group=group, seed=2)
    (batch,) = take(pairs, 1, len(clouds))
    moved = Points(group)(batch.g, batch.a)
    torch.testing.assert_close(moved, batch.b, atol=1e-5, rtol=0)
    assert batch.a.dtype == batch.b.dtype == batch.g.dtype == torch.float32
    stored = clouds.clouds[batch.object_id].double()
    torch.testing.assert_close(
        stored @ batch.pose_a.transpose(1, 2), batch.a.double(), atol=1e-6, rtol=0
    )
    rotation = batch.g[:, :3, :3].double()
    torch.testing.assert_close(rotation @ batch.pose_a, batch.pose_b, atol=1e-6, rtol=0)
    assert torch.equal(batch.label, clouds.labels[batch.object_id])
    # the broken twins: the inverse, and another pair's element
    for wrong in (group.inverse(batch.g), batch.g.roll(1, 0)):
        errors = (Points(group)(wrong, batch.a) - batch.b).abs().amax((1, 2))
        assert (errors > 1e-2).all()


def test_elements_follow_their_law(clouds):
    pairs = PointPairs(clouds, group=SE3(), pairs_per_object=200, translation_scale=0.3)
    poses, motions = (part.flatten(0, 1) for part in pairs.elements(0))
    for rotation in (poses, motions[:, :3, :3]):
        # of Haar measure each entry has mean 0 and is uniform in [-1, 1]
        assert stats.kstest(rotation[:, 1, 2].numpy(), "uniform", args=(-1, 2)).pvalue > 1e-3
    translations = motions[:, :3, 3].flatten().numpy()
    assert stats.kstest(translations, "norm", args=(0, 0.3)).pvalue > 1e-3
    assert len(poses[:, 0, 0].unique()) == len(poses)


def test_poses_as_stored_and_no_translation(clouds):
    pairs = PointPairs(clouds, group=SE3(), random_pose=False, translation_scale=0.0)
    (batch,) = take(pairs, 1)
    assert torch.equal(batch.a, clouds.clouds[batch.object_id])
    assert not batch.g[:, :3, 3].any()


def test_a_step_is_a_function_of_its_number(clouds):
    pairs = PointPairs(clouds, group=SE3(), seed=5, pairs_per_object=2)
    assert isinstance(pairs, PairStream)
    steps = take(pairs, 12)  # five batches of four in an epoch of twenty pairs
    fresh = PointPairs(clouds, group=SE3(), seed=5, pairs_per_object=2)
    for start in (0, 4, 7):
        (again,) = take(fresh, 1, start=start)
        assert same(again, steps[start])
    for one, other in pairwise(steps):
        assert not torch.equal(one.g, other.g)
    seen = torch.cat([batch.object_id for batch in steps[:5]])
    assert sorted(seen.tolist()) == sorted(2 * list(range(len(clouds))))
    assert not same(take(PointPairs(clouds, group=SE3(), seed=6), 1)[0], steps[0])


def test_shares_of_processes_make_the_batch(clouds):
    pairs = PointPairs(clouds)
    for step, whole in enumerate(take(pairs, 3)):
        shares = [take(pairs, 1, start=step, rank=rank, world=2)[0] for rank in range(2)]
        assert torch.equal(torch.cat([share.b for share in shares]), whole.b)


def test_workers_give_the_same_batches(clouds):
    pairs = PointPairs(clouds, group=SE3())
    for one, other in zip(take(pairs, 4), take(pairs, 4, workers=2), strict=True):
        assert same(one, other)


def test_rows_of_several_epochs_and_of_none(clouds):
    pairs = PointPairs(clouds)
    rows = np.concatenate([pairs.rows(0)[:2], pairs.rows(3)[:2]])
    mixed = pairs.batch(rows)
    assert torch.equal(mixed.b[:2], pairs.batch(pairs.rows(0)[:2]).b)
    assert torch.equal(mixed.b[2:], pairs.batch(pairs.rows(3)[:2]).b)
    assert len(pairs.batch(rows[:0])) == 0


def test_refusals_of_pairs(clouds):
    for options in ({"seed": -1}, {"pairs_per_object": 0}, {"translation_scale": -1.0}):
        with pytest.raises(ConventionError, match=next(iter(options))):
            PointPairs(clouds, **options)
    with pytest.raises(ConventionError, match="SE3"):
        PointPairs(clouds, group=O3())
    with pytest.raises(ConventionError, match="1 to 10 pairs"):
        PointPairs(clouds).stream(11)
    with pytest.raises(ConventionError, match="multiple of 2"):
        PointPairs(clouds).stream(3, world=2)
    with pytest.raises(ConventionError, match="rank"):
        PointPairs(clouds).stream(2, rank=1)


def test_real_meshes(real_data):
    source = MeshFolder(real_data / "lowpoly_cc0")
    train, val = (PointClouds(source, split=split, points=64) for split in ("train", "val"))
    assert (len(train), len(val)) == (541, 195)
    assert train.label_names == val.label_names and len(train.label_names) == 32
    assert val.clouds.shape == (195, 64, 3) and torch.isfinite(val.clouds).all()
    torch.testing.assert_close(val.clouds.norm(dim=2).amax(1), torch.ones(195))
    (batch,) = take(PointPairs(val, group=SE3()), 1, 128)
    moved = Points(SE3())(batch.g, batch.a)
    torch.testing.assert_close(moved, batch.b, atol=1e-5, rtol=0)
