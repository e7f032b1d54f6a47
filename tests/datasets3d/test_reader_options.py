"""What a reader can be asked for besides a split, and pairs beyond one per object."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from datasets3d import BuildConfig, ProceduralMeshes, ThreeDIEBench, TransformPairs, ViewLaw, build
from datasets3d.views.latents import rotation_matrix
from equivariant.errors import ConventionError, DataFormatError, ShapeError

SOURCE = ProceduralMeshes(instances=5, classes=["dog", "lamp"], val_fraction=0.4)
CONFIG = BuildConfig(views=4, size_px=16, samples_per_side=1, val_fraction=0.4)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("options") / "out"
    build(SOURCE, out, config=CONFIG, workers=1, progress=False)
    return out


@pytest.fixture(scope="module")
def data(root):
    return ThreeDIEBench(root)


def test_swapped_files_are_read_in_true_colors(root, tmp_path):
    build(SOURCE, tmp_path, config=replace(CONFIG, channel_order="bgr"), workers=1, progress=False)
    true, swapped = ThreeDIEBench(root).image(0, 0), ThreeDIEBench(tmp_path)
    assert swapped.channel_order == "bgr"
    assert np.abs(swapped.image(0, 0).astype(int) - true).mean() < 5.0
    as_stored = ThreeDIEBench(tmp_path, channel_order="rgb").image(0, 0)
    np.testing.assert_array_equal(as_stored, swapped.image(0, 0)[..., ::-1])
    assert np.abs(as_stored.astype(int) - true).mean() > 10.0, "a reader that ignores the order"
    sheets = [(folder / "contact_sheet.png").stat().st_size for folder in (root, tmp_path)]
    assert abs(sheets[0] - sheets[1]) < 0.05 * sheets[0]


def test_all_objects_without_lists(root):
    every = ThreeDIEBench(root, "all")
    assert len(every) == 10 and every.label_names == ["dog", "lamp"]
    assert every.object_ids == sorted(every.object_ids)
    np.testing.assert_array_equal(every.labels, [0] * 5 + [1] * 5)


def test_fewer_views(root, tmp_path):
    two = ThreeDIEBench(root, views=2)
    np.testing.assert_array_equal(two.latents, ThreeDIEBench(root).latents[:, :2])
    assert two.views == 2 and two.load_images().shape[1] == 2
    build(SOURCE, tmp_path, config=CONFIG, workers=1, progress=False)
    short = ThreeDIEBench(tmp_path).object_ids[0]
    (tmp_path / short / "latent_3.npy").unlink()
    assert ThreeDIEBench(tmp_path).views == 3
    four = ThreeDIEBench(tmp_path, views=4)
    assert four.missing == [short] and four.views == 4
    with pytest.raises(DataFormatError, match="with 9 views"):
        ThreeDIEBench(tmp_path, views=9)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"views": 0}, "views"), ({"channel_order": "gbr"}, "channel_order"), ({"split": 1}, "split")],
)
def test_arguments_out_of_range(root, options, name):
    if name != "views":
        pytest.importorskip("beartype")
    with pytest.raises(Exception, match=name) as caught:
        ThreeDIEBench(root, **options)
    assert isinstance(caught.value, ConventionError) or "Type-check" in str(caught.value)


def test_published_pairs_are_read(root, tmp_path):
    val = ThreeDIEBench(root, "val")
    pairs = val.fixed_pairs()
    written = np.load(root / "val_pairs.npy")
    np.testing.assert_array_equal(pairs, written)
    np.testing.assert_array_equal(val.fixed_pairs(2), pairs.reshape(-1, 4, 3)[:, :2].reshape(-1, 3))
    build(SOURCE, tmp_path, config=CONFIG, workers=1, progress=False)
    other = written.copy()
    other[:, 1:] = other[:, :0:-1]
    np.save(tmp_path / "val_pairs.npy", other)
    np.testing.assert_array_equal(ThreeDIEBench(tmp_path, "val").fixed_pairs(), other)
    gone = ThreeDIEBench(tmp_path, "val").object_ids[0]
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    rest = ThreeDIEBench(tmp_path, "val").fixed_pairs()
    np.testing.assert_array_equal(rest[:, 1:], other[4:, 1:])
    np.testing.assert_array_equal(rest[:, 0], other[4:, 0] - 1)
    np.save(tmp_path / "val_pairs.npy", other[:-1])
    with pytest.raises(DataFormatError, match=r"val_pairs\.npy"):
        ThreeDIEBench(tmp_path, "val").fixed_pairs()


def take(pairs, count, size, **options):
    return list(islice(pairs.stream(size, **options), count))


def test_several_pairs_of_each_object(data):
    pairs = TransformPairs(data, pairs_per_object=3)
    count = len(data)
    for epoch in range(5):
        rows = pairs.rows(epoch)
        assert rows.shape == (3 * count, 3)
        np.testing.assert_array_equal(np.bincount(rows[:, 0]), [3] * count)
        assert (rows[:, 1] != rows[:, 2]).all()
    views = {tuple(map(int, row)) for epoch in range(60) for row in pairs.rows(epoch)[:, 1:]}
    assert len(views) == 12, "all ordered pairs of four views"
    single = TransformPairs(data)
    objects = np.arange(count)
    np.testing.assert_array_equal(pairs.views_of(objects, 7), single.views_of(objects, 7))
    drawn = [pairs.views_of(objects, e, d) for e in range(20) for d in range(3)]
    assert len({d.tobytes() for d in drawn}) > 55, "draws differ"
    large = take(pairs, 1, 2 * count)[0]
    assert len(large) == 2 * count


def test_workers_change_nothing(data):
    lazy = TransformPairs(data, in_memory=False, pairs_per_object=2)
    expected = take(TransformPairs(data, pairs_per_object=2), 5, 4, start=2)
    for workers in (0, 1, 2):
        stream = lazy.stream(4, start=2, workers=workers)
        for batch in expected:
            found = next(stream)
            for name, value in batch.tensors().items():
                assert torch.equal(found.tensors()[name], value)
        del stream


def test_given_images_of_another_data_set(data):
    images = torch.zeros(len(data), data.views + 1, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ShapeError, match="images"):
        TransformPairs(data, images=images)
    planes = torch.from_numpy(data.load_images()).contiguous()
    one, other = TransformPairs(data), TransformPairs(data, images=planes)
    rows = np.array([[0, 1, 2], [3, 2, 0]])
    assert torch.equal(one.batch(rows).a, other.batch(rows).a)
    assert torch.equal(other.images, planes)


@pytest.mark.parametrize("options", [{"pairs_per_object": 0}, {"seed": -1}, {"threads": 0}])
def test_pair_arguments_out_of_range(data, options):
    with pytest.raises(ConventionError, match=next(iter(options))):
        TransformPairs(data, **options)


def test_cone_law_tilts_by_at_most_its_angle():
    limit = 0.6
    law = ViewLaw(rotation="cone", angle_max_rad=limit)
    latents = np.stack([law.sample(0, "a/b", view=k) for k in range(4000)])
    rotations = rotation_matrix(latents)
    cosine = rotations[:, 2, 2]  # of the tilt of the object's vertical axis
    assert cosine.min() >= np.cos(limit) - 1e-12
    uniform = (1 - cosine) / (1 - np.cos(limit))
    grid = np.linspace(0, 1, 4001)[1:]
    assert np.abs(np.sort(uniform) - grid).max() < 1.95 / np.sqrt(4000)
    turns = Rotation.from_matrix(rotations).as_euler("ZYZ")[:, [0, 2]]
    resultant = np.abs(np.exp(1j * turns).mean(0))
    assert (resultant < 4 / np.sqrt(4000)).all()


def test_a_cone_of_half_a_turn_is_every_rotation():
    law = ViewLaw(rotation="cone", angle_max_rad=np.pi)
    rotations = rotation_matrix(np.stack([law.sample(0, "a/b", view=k) for k in range(4000)]))
    second = np.einsum("nij,nkl->ijkl", rotations, rotations) / len(rotations)
    expected = np.einsum("ik,jl->ijkl", np.eye(3), np.eye(3)) / 3
    assert np.abs(second - expected).max() < 5 * 0.3 / np.sqrt(4000)
