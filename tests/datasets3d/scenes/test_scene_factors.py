"""Scenes under factors of camera and light, and scenes in shards: against a projection of their
own numbers that shares no code with the library."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import own_projection as own
import pytest
import torch
from building import bytes_of, quiet
from scene_sets import CONFIG, FLOATING, OBJECTS, STANDING

from datasets3d import (
    AmbientLight,
    CameraOrbit,
    FocalLength,
    FurtherLights,
    ObjectPath,
    ObjectScale,
    ObjectTranslation,
    SceneMeshes,
    ScenePairs,
    SceneViews,
    ShardSize,
    SpotEnergy,
    ThreeDIEBench,
    ViewLaw,
    export,
    read_camera,
    read_flow,
    read_pass,
    repair,
    verify,
)
from datasets3d.scenes.scene_files import rows_in
from datasets3d.views.schema import Manifest
from datasets3d.views.upkeep.recorded import recorded_config
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError

FACTORS = (CameraOrbit(elevation_rad=(0.4, 1.1)), FocalLength(), SpotEnergy(), AmbientLight(),
           FurtherLights(1))  # fmt: skip
LAW = ViewLaw(factors=FACTORS)
VARIED = dataclasses.replace(CONFIG, law=LAW)
SIZE = CONFIG.size_px


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    root = tmp_path_factory.mktemp("varied") / "set"
    quiet(FLOATING, root, config=VARIED)
    return root


def camera_of_row(value):
    """K, [R | t] and the eye, from the columns of a latent by name."""
    phi, up = value["camera_azimuth_rad"], value["camera_elevation_rad"]
    eye = 2.5 * np.array([np.cos(up) * np.cos(phi), np.cos(up) * np.sin(phi), np.sin(up)])
    ahead = -eye / 2.5
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(ahead, right), ahead])
    focal = SIZE * value["focal_length_mm"] / 36.0
    K = np.array([[focal, 0, (SIZE - 1) / 2], [0, focal, (SIZE - 1) / 2], [0, 0, 1]])
    return K, R, -R @ eye


def numbers(root, key, view):
    """The law's columns by name, and the rows of the objects, from the file alone."""
    names = [column["name"] for column in json.loads((root / "manifest.json").read_text())[
        "latent_columns"]]  # fmt: skip
    latent = np.load(root / key / f"latent_{view}.npy")
    assert len(names) == len(latent)
    first = names.index("object_1_rotation_x_rad")
    return dict(zip(names[:first], latent[:first], strict=True)), latent[first:].reshape(-1, 7)


def test_pixels_are_where_objects_and_camera_say(varied):
    data = SceneViews(varied, "all", cache=False)
    key = data.object_ids[0]
    for view in range(3):
        value, rows = numbers(varied, key, view)
        x = read_pass(varied, key, view, "coordinates").astype(float)
        found = data.instances(0, view)
        K, R, t = camera_of_row(value)
        off = 0.0
        for k, row in enumerate(rows):
            v, u = np.nonzero(found == k + 1)
            world = row[6] * x[v, u] @ own.pose(row).T + row[3:6]
            seen = (world @ R.T + t) @ K.T
            place = seen[:, :2] / seen[:, 2:]
            np.testing.assert_allclose(place, np.stack([u, v], 1), atol=3e-3)
            K0, W0, _ = own.camera(SIZE)  # the broken twin: the camera that does not move
            fixed = (world @ W0[:, :3].T + W0[:, 3]) @ K0.T
            off = max(off, float(np.abs(fixed[:, :2] / fixed[:, 2:] - place).max(initial=0.0)))
        assert off > 1.0 and np.isnan(x[found == 0]).all()
        np.testing.assert_allclose(
            read_camera(varied, key, view).world_to_camera[:3, :3], R, atol=1e-12
        )
        np.testing.assert_allclose(data.object_latents[0, view], rows)


def test_flow_follows_objects_and_camera(varied):
    key = SceneViews(varied, "all", cache=False).object_ids[0]
    value, rows = numbers(varied, key, 1)
    flow, x = read_flow(varied, key, 0, 1), read_pass(varied, key, 0, "coordinates").astype(float)
    found = read_pass(varied, key, 0, "instances")
    K, R, t = camera_of_row(value)
    for k, row in enumerate(rows):
        v, u = np.nonzero(found == k + 1)
        world = row[6] * x[v, u] @ own.pose(row).T + row[3:6]
        seen = (world @ R.T + t) @ K.T
        expected = seen[:, :2] / seen[:, 2:] - np.stack([u, v], 1)
        np.testing.assert_allclose(flow.flow[v, u], expected, atol=1e-6)


def test_factors_move_no_object_and_are_recorded(varied, floating):
    a, b = (SceneViews(root, "all", cache=False) for root in (varied, floating))
    np.testing.assert_array_equal(a.object_latents, b.object_latents)
    np.testing.assert_array_equal(a.latents, b.latents)
    assert a.columns == tuple(column.name for column in LAW.columns())
    for (low, high), column in zip(LAW.ranges()[7:], a.all_latents[0].T[7:], strict=True):
        assert (low <= column).all() and (column <= high).all()
    manifest = Manifest.read(varied)
    assert recorded_config(manifest.config).law == LAW and verify(varied) == []
    g = ScenePairs(a).batch(np.array([[0, 0, 1]])).g
    torch.testing.assert_close(g, ScenePairs(b).batch(np.array([[0, 0, 1]])).g)


def test_sets_of_scenes_with_factors_grow_and_are_repaired(varied, tmp_path):
    quiet(FLOATING, tmp_path / "set", config=dataclasses.replace(VARIED, views=2, passes=()))
    quiet(FLOATING, tmp_path / "set", config=VARIED, add=True)
    assert bytes_of(tmp_path / "set") == bytes_of(varied)
    next((tmp_path / "set").glob("*/*/instances_1.png")).unlink()
    assert repair(tmp_path / "set", workers=1).left == []
    assert bytes_of(tmp_path / "set") == bytes_of(varied)


@pytest.mark.parametrize(
    ("law", "reason"),
    [
        (ViewLaw(factors=(ObjectTranslation(),)), "ArrangementLaw"),
        (ViewLaw(factors=(CameraOrbit(), ObjectScale())), "ArrangementLaw"),
        (ViewLaw(path=ObjectPath(3)), "placed anew in every view"),
    ],
)
def test_what_places_one_object_is_refused_by_name(law, reason, tmp_path):
    with pytest.raises(ConventionError, match=reason):
        quiet(STANDING, tmp_path / "set", config=dataclasses.replace(CONFIG, law=law))
    assert not (tmp_path / "set").exists()


def test_exports_of_scenes_with_factors(varied, tmp_path):
    export(varied, tmp_path / "coco", format="coco", progress=False)
    with pytest.raises(ConventionError, match="stands still"):
        export(varied, tmp_path / "nerf", format="nerf", progress=False)


@pytest.mark.parametrize("kind", ["standing", "varied"])
def test_shards_of_scenes_read_as_folders_do(request, kind, tmp_path):
    root = request.getfixturevalue(kind)
    export(root, tmp_path / "shards", format="shards", shard_size=ShardSize(images=3),
           progress=False)  # fmt: skip
    source, config = (STANDING, CONFIG) if kind == "standing" else (FLOATING, VARIED)
    quiet(source, tmp_path / "built", config=config, layout="shards",
          shard_size=ShardSize(images=3))  # fmt: skip
    assert bytes_of(tmp_path / "built") == bytes_of(tmp_path / "shards")
    for split in ("all", "train"):
        a = SceneViews(root, split, cache=False)
        b = SceneViews(tmp_path / "built", split, cache=False)
        assert a.members == b.members and a.object_names == b.object_names
        np.testing.assert_array_equal(a.object_latents, b.object_latents)
        np.testing.assert_array_equal(a.object_poses, b.object_poses)
        np.testing.assert_array_equal(a.member_labels, b.member_labels)
        np.testing.assert_array_equal(a.instances(0, 2), b.instances(0, 2))
    rows = np.array([[0, 0, 2], [0, 1, 0]])
    one, other = ScenePairs(a), ScenePairs(b)
    torch.testing.assert_close(one.batch(rows).g, other.batch(rows).g)
    torch.testing.assert_close(one.batch(rows).a, other.batch(rows).a)
    torch.testing.assert_close(one.instances(rows).mask_b, other.instances(rows).mask_b)
    key = a.object_ids[0]
    np.testing.assert_array_equal(
        read_flow(root, key, 0, 1).flow, read_flow(tmp_path / "built", key, 0, 1).flow
    )
    few = SceneViews(tmp_path / "built", "train", views=2, cache=False)
    assert few.object_latents.shape[1] == 2


def test_shards_without_scenes_and_damaged_latents_are_refused(varied, tmp_path):
    quiet(OBJECTS, tmp_path / "one", config=dataclasses.replace(CONFIG, views=1, passes=()),
          layout="shards")  # fmt: skip
    with pytest.raises(DataFormatError, match="data set of scenes"):
        SceneViews(tmp_path / "one", cache=False)
    assert ThreeDIEBench(tmp_path / "one", cache=False) is not None
    key = SceneViews(varied, "all", cache=False).object_ids[0]
    (tmp_path / key).mkdir(parents=True)
    for content in (np.zeros(20), np.zeros((5, 7)), np.zeros(60, np.float32)):
        np.save(tmp_path / key / "latent_0.npy", content)
        with pytest.raises(DataFormatError, match=r"latent_0\.npy"):
            rows_in(tmp_path, key, 0, 4)


def test_the_command_takes_factors_of_camera_and_light(tmp_path, capsys):
    words = ["--objects-per-scene", "2", "--scenes", "2", "--views", "2", "--size", "24",
             "--workers", "1", "--instances", "1"]  # fmt: skip
    out = str(tmp_path / "set")
    assert main(["build", out, *words, "--factors", "orbit", "lights", "--layout", "shards"]) == 0
    assert SceneViews(out, "all", cache=False).all_latents.shape[2] == 7 + 2 + 8
    assert main(["build", out + "2", *words, "--factors", "scale"]) == 1
    assert "ArrangementLaw" in capsys.readouterr().err
    assert isinstance(STANDING, SceneMeshes)
