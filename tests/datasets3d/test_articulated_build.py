"""Builds of articulated objects: masks, states and motions on disk agree with the objects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from building import bytes_of, quiet

from datasets3d import (
    ArticulatedMeshes,
    ArticulatedViews,
    BuildConfig,
    JointLaw,
    ProceduralMeshes,
    ThreeDIEBench,
    ViewLaw,
    build,
    estimate,
    verify,
)
from datasets3d.views import work
from datasets3d.views.parts import read_mechanism, read_part_mask
from datasets3d.views.storage import warnings_of
from equivariant.errors import ConventionError, DataFormatError
from renderers import get
from renderers.scene import Scene, camera_axes

SOURCE = ArticulatedMeshes(instances=2, classes=["door", "robot_arm"], val_fraction=0.5)
CONFIG = BuildConfig(views=3, size_px=40, samples_per_side=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("articulated") / "set"
    report = quiet(SOURCE, folder, config=CONFIG)
    assert (report.objects, report.images, report.failed) == (4, 12, {})
    return folder


def test_the_same_build_gives_the_same_bytes(root, tmp_path):
    quiet(SOURCE, tmp_path / "again", config=CONFIG, workers=2)
    assert bytes_of(tmp_path / "again") == bytes_of(root)
    for shard in (0, 1):
        quiet(SOURCE, tmp_path / "shards", config=CONFIG, shard=shard, num_shards=2)
    quiet(SOURCE, tmp_path / "shards", config=CONFIG)
    assert bytes_of(tmp_path / "shards") == bytes_of(root)
    assert verify(root) == []


def test_states_and_joints_on_disk_are_those_of_the_source(root):
    views = ArticulatedViews(root, "all")
    assert views.states.shape == (4, 3, 5)
    for index, key in enumerate(views.object_ids):
        entry = next(e for e in SOURCE.entries() if f"{e.label}/{e.object_id}" == key)
        mechanism = SOURCE.object(entry).mechanism
        assert views.mechanisms[index] == mechanism
        joints = len(mechanism.joints)
        for view in range(3):
            state = views.states[index, view]
            assert np.array_equal(state[:joints], SOURCE.state(entry, view))
            assert not state[joints:].any()
    manifest = json.loads((root / "manifest.json").read_text())
    assert [c["name"] for c in manifest["latent_columns"]][7:] == [
        f"joint_{k}" for k in range(1, 6)
    ]
    assert manifest["source"]["source"] == "articulated" and "parts" in manifest["conventions"]


def test_masks_are_the_parts_that_rays_hit(root):
    """A slow second way: each pixel's ray against every triangle."""
    views = ArticulatedViews(root, "all")
    entry = next(e for e in SOURCE.entries() if e.label == "robot_arm")
    index = views.object_ids.index(f"{entry.label}/{entry.object_id}")
    thing = SOURCE.object(entry)
    mesh = thing.posed(views.states[index, 1])
    R, mask = views.rotations[index, 1], views.mask(index, 1)
    assert mask.shape == (40, 40) and mask.max() <= 6 and len(np.unique(mask)) > 3
    camera = CONFIG.law.scene(mesh, np.zeros(7)).camera
    right, up, forward = camera_axes(camera)
    slope = np.tan(camera.field_of_view_rad / 2)
    triangles = (mesh.vertices @ R.T)[mesh.faces]
    a, e1, e2 = (
        triangles[:, 0],
        triangles[:, 1] - triangles[:, 0],
        triangles[:, 2] - triangles[:, 0],
    )
    wrong = 0
    for row in range(40):
        for column in range(40):
            x, y = (2 * column + 1) / 40 - 1, 1 - (2 * row + 1) / 40
            ray = forward + slope * (x * right + y * up)
            h = np.cross(ray, e2)
            det = np.einsum("fi,fi->f", e1, h)
            with np.errstate(divide="ignore", invalid="ignore"):
                s = np.array(camera.position) - a
                u = np.einsum("fi,fi->f", s, h) / det
                q = np.cross(s, e1)
                v = q @ ray / det
                t = np.einsum("fi,fi->f", e2, q) / det
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
            t = np.where(hit, t, np.inf)
            expected = thing.face_parts[t.argmin()] + 1 if hit.any() else 0
            wrong += int(expected != mask[row, column])
    assert wrong <= 3  # rays that meet an edge, in single precision
    # wrong on purpose: the mask of another view
    assert (views.mask(index, 0) != mask).sum() > 20


def test_transforms_take_one_view_to_another(root):
    views = ArticulatedViews(root, "train")
    for index, key in enumerate(views.object_ids):
        entry = next(e for e in SOURCE.entries() if f"{e.label}/{e.object_id}" == key)
        thing = SOURCE.object(entry)
        joints = len(thing.mechanism.joints)
        worlds = [
            thing.posed(views.states[index, k, :joints]).vertices @ views.rotations[index, k].T
            for k in range(3)
        ]
        g = views.transform(index, 0, 2)
        for part in range(len(thing.part_names)):
            block = g[4 * part : 4 * part + 4, 4 * part : 4 * part + 4]
            own = thing.vertex_parts == part
            moved = worlds[0][own] @ block[:3, :3].T + block[:3, 3]
            np.testing.assert_allclose(moved, worlds[2][own], atol=1e-12, rtol=0)


def test_readers_of_rigid_views_read_them_too(root, tmp_path):
    plain = ThreeDIEBench(root, "all", cache=False)
    assert plain.latents.shape == (4, 3, 7)
    quiet(ProceduralMeshes(instances=1, classes=["dog"], val_fraction=0.0), tmp_path / "rigid")
    assert not list((tmp_path / "rigid").rglob("parts_*"))
    manifest = json.loads((tmp_path / "rigid" / "manifest.json").read_text())
    assert len(manifest["latent_columns"]) == 7 and "parts" not in manifest["conventions"]
    assert "faces" not in manifest["config"]
    with pytest.raises(DataFormatError, match="articulated"):
        ArticulatedViews(tmp_path / "rigid")


def test_the_law_of_joints_is_part_of_the_settings(root, tmp_path):
    narrow = ArticulatedMeshes(instances=2, classes=["door", "robot_arm"], val_fraction=0.5,
                               law=JointLaw(0.5, 0.5))  # fmt: skip
    with pytest.raises(ConventionError, match="from_share"):
        quiet(narrow, root, config=CONFIG)
    quiet(narrow, tmp_path / "narrow", config=CONFIG)
    views = ArticulatedViews(tmp_path / "narrow", "all")
    assert np.array_equal(views.states[:, 0], views.states[:, 2])


def test_damage_is_found(root, tmp_path):
    quiet(SOURCE, tmp_path / "set", config=CONFIG)
    folder = tmp_path / "set" / "door" / "door-000000"
    (folder / "parts_1.png").unlink()
    assert verify(tmp_path / "set") == ["door/door-000000 is damaged: without parts_1.png"]
    with pytest.raises(DataFormatError, match="readable mask"):
        read_part_mask(folder / "parts_1.png")
    for text in ('{"joints": [{"name": "leaf"}], "part_names": []}', "[" * 200_000):
        (folder / "mechanism.json").write_text(text)
        with pytest.raises(DataFormatError, match="parts and joints"):
            read_mechanism(folder / "mechanism.json")
    (folder / "warnings.json").write_text("[" * 200_000)
    assert warnings_of(folder) == ["warnings.json is damaged"]
    with pytest.raises(DataFormatError, match="grey"):
        read_part_mask(folder / "image_0.jpg")
    views = ArticulatedViews(tmp_path / "set", "all", cache=False)
    np.save(folder / "latent_0.npy", np.zeros(7))
    with pytest.raises(DataFormatError, match="12 numbers"):
        _ = views.states


def test_estimates_count_masks():
    found = estimate(SOURCE, config=CONFIG, workers=1, objects=2, views=2)
    rigid = estimate(ProceduralMeshes(instances=2, classes=["dog", "lamp"]), config=CONFIG,
                     workers=1, objects=2, views=2)  # fmt: skip
    assert found.images == 12 and found.bytes > rigid.bytes


def test_renderers_that_name_no_faces_are_refused(tmp_path, monkeypatch):
    class Blind(type(get("embree"))):
        names_faces = False

    monkeypatch.setattr(work, "_renderer", lambda name, samples: Blind())
    with pytest.raises(ConventionError, match="names the faces"):
        build(SOURCE, tmp_path / "set", config=CONFIG, workers=1, progress=False)


def test_faces_of_a_rendering_agree_with_its_mask():
    thing = SOURCE.object(SOURCE.entries()[0])
    image = get("embree").render(Scene(thing.mesh), 32)
    assert image.faces.dtype == np.int32
    assert np.array_equal(image.faces >= 0, image.mask)
    below = ViewLaw().scene(thing.mesh, np.zeros(7))
    assert (get("embree").render(below, 32).faces < len(thing.mesh.faces)).all()
