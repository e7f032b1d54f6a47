"""Scenes against a projection of each object's own mesh that shares no code with the library."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import own_projection as own
import pytest
import torch
from building import bytes_of, quiet
from PIL import Image
from scene_sets import CONFIG, FLOATING, OBJECTS, STANDING

from datasets3d import (
    ArrangementLaw,
    BuildConfig,
    MeshFolder,
    ObjectScale,
    ProceduralMeshes,
    SceneMeshes,
    ScenePairs,
    SceneViews,
    ThreeDIEBench,
    ViewLaw,
    export,
    read_flow,
    read_pass,
    repair,
    verify,
    write_pass_sheet,
)
from datasets3d.scenes.record import read_members
from datasets3d.scenes.scene_meshes import SceneOfObjects
from equivariant.actions import Points
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import SE3, Sim
from renderers.albedo import albedo_at

SIZE = 48


def meshes_of(keys):
    entries = {f"{e.label}/{e.object_id}": e for e in OBJECTS.entries()}
    return [OBJECTS.load(entries[key]) for key in keys]


def posed(mesh, row):
    """Vertices in the world, from the seven numbers of an object in a latent."""
    return row[6] * mesh.vertices @ own.pose(row).T + row[3:6]


def cast(vertices, faces):
    """Depth at which every pixel's ray meets a mesh alone; infinite where it does not."""
    K, W, eye = own.camera(SIZE)
    v, u = np.mgrid[:SIZE, :SIZE]
    ways = np.stack([u, v, np.ones_like(u)], -1).reshape(-1, 3) @ np.linalg.inv(K).T @ W[:, :3]
    return own.cast(eye, ways, vertices[faces])[0].reshape(SIZE, SIZE)


def views(root, index=0, split="all"):
    data = SceneViews(root, split, cache=False)
    for view in range(data.views):
        path = root / data.object_ids[index] / f"latent_{view}.npy"
        yield data, view, np.load(path)[7:].reshape(-1, 7)


@pytest.mark.parametrize("kind", ["standing", "floating"])
def test_masks_are_what_each_object_covers_less_what_is_nearer(request, kind):
    root, occluded = request.getfixturevalue(kind), 0
    for data, view, rows in views(root):
        meshes = meshes_of(data.members[0])
        depths = np.stack(
            [cast(posed(m, row), m.faces) for m, row in zip(meshes, rows, strict=True)]
        )
        key = data.object_ids[0]
        bits, found = read_pass(root, key, view, "silhouettes"), data.instances(0, view)
        for k, depth in enumerate(depths):
            alone = (bits >> k) % 2 == 1
            assert (alone != np.isfinite(depth)).mean() < 0.003
            others = np.delete(depths, k, 0).min(0)
            expected = np.isfinite(depth) & (depth < others)
            assert ((found == k + 1) != expected).mean() < 0.003
            occluded += int((np.isfinite(depth) & ~expected).sum())
            assert not ((found == k + 1) & ~alone).any()
        nearest = depths.min(0)
        seen = (found > 0) & np.isfinite(nearest)
        shown = read_pass(root, key, view, "depth")
        assert np.quantile(np.abs(shown - nearest)[seen], 0.99) < 1e-4
        assert ((found > 0) == read_pass(root, key, view, "mask")).all()
        twin = np.stack(
            [cast(posed(m, r), m.faces) for m, r in zip(meshes, rows[::-1], strict=True)]
        )
        assert ((twin.argmin(0) + 1 != found)[found > 0]).mean() > 0.2, "rows of other objects"
    assert kind == "standing" or occluded > 8, "some object hides another"


def test_coordinates_of_pixels_are_on_their_own_object(standing):
    for data, view, rows in views(standing):
        x = read_pass(standing, data.object_ids[0], view, "coordinates").astype(float)
        found = data.instances(0, view)
        K, W, _ = own.camera(SIZE)
        for k, row in enumerate(rows):
            v, u = np.nonzero(found == k + 1)
            world = row[6] * x[v, u] @ own.pose(row).T + row[3:6]
            seen = (world @ W[:, :3].T + W[:, 3]) @ K.T
            np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], np.stack([u, v], 1), atol=2e-3)
        assert np.isnan(x[found == 0]).all()


@pytest.mark.parametrize("kind", ["standing", "floating"])
def test_flow_follows_every_object(request, kind):
    """Against the move of each point by its object's own numbers, projected here."""
    root = request.getfixturevalue(kind)
    data = SceneViews(root, "all", cache=False)
    key = data.object_ids[0]
    b = np.load(root / key / "latent_1.npy")[7:].reshape(-1, 7)
    flow, x = read_flow(root, key, 0, 1), read_pass(root, key, 0, "coordinates").astype(float)
    K, W, _ = own.camera(SIZE)
    found = data.instances(0, 0)
    for k, row in enumerate(b):
        v, u = np.nonzero(found == k + 1)
        world = row[6] * x[v, u] @ own.pose(row).T + row[3:6]
        seen = (world @ W[:, :3].T + W[:, 3]) @ K.T
        expected = seen[:, :2] / seen[:, 2:] - np.stack([u, v], 1)
        np.testing.assert_allclose(flow.flow[v, u], expected, atol=1e-6)
    assert np.isnan(flow.flow[found == 0]).all()
    start, end = flow.correspondences()
    place = np.rint(end).astype(int)
    same = found[start[:, 1], start[:, 0]] == data.instances(0, 1)[place[:, 1], place[:, 0]]
    assert len(start) > 20 and same.mean() > 0.75, "but for pixels at outlines"


@pytest.mark.parametrize("source", [STANDING, FLOATING])
def test_objects_are_apart_and_where_the_law_says(source):
    entry, law = source.entries()[0], ViewLaw()
    made = source.scene(entry)
    for view in range(8):
        angles = np.stack([law.sample(view, str(k), view=view) for k in range(source.objects)])
        R = np.stack([own.pose(row) for row in angles])
        placed = source.places(entry, view, R)
        world = [
            p[3] * x @ r.T + p[:3] for p, x, r in zip(placed, made.shapes, R, strict=True)
        ]  # fmt: skip
        assert np.linalg.norm(placed[:, :2], axis=1).max() <= source.arrangement.spread
        floor = source.arrangement.placement == "floor"
        for k, x in enumerate(world):
            low = x[:, 2].min()
            assert abs(low + 0.3) < 1e-12 if floor else low > -1.0
            for other, y in zip(placed[k + 1 :], world[k + 1 :], strict=True):
                axes = 2 if floor else 3
                reach = [np.linalg.norm((a - c[:3])[:, :axes], axis=1).max()
                         for a, c in ((x, placed[k]), (y, other))]  # fmt: skip
                apart = np.linalg.norm((placed[k] - other)[:axes])
                assert apart > sum(reach), "disjoint cylinders or spheres"


def test_scenes_of_a_split_show_its_objects_alone():
    split = {f"{e.label}/{e.object_id}": e.split for e in OBJECTS.entries()}
    for entry in SceneMeshes(OBJECTS, scenes=12, val_fraction=0.5).entries():
        keys = STANDING.scene(entry).keys if entry in STANDING.entries() else [
            f"{m.label}/{m.object_id}"
            for m in SceneMeshes(OBJECTS, scenes=12, val_fraction=0.5).members(entry)
        ]  # fmt: skip
        assert len(set(keys)) == 3 and {split[key] for key in keys} == {entry.split}


def test_the_first_seven_columns_are_those_of_the_law(standing):
    data = ThreeDIEBench(standing, "all", cache=False)
    assert len(data.columns) == 7 and data.latents.shape == (2, 3, 7)
    drawn = ViewLaw().sample(0, data.object_ids[0], view=2)
    np.testing.assert_array_equal(data.latents[0, 2, 3:], drawn[3:])
    assert (data.latents[..., :3] == 0).all()
    row = np.load(standing / data.object_ids[0] / "latent_2.npy")
    own_draw = ViewLaw().sample(0, f"{data.object_ids[0]}|object 2", view=2)
    np.testing.assert_array_equal(row[14:17], own_draw[:3])


@pytest.mark.parametrize(("kind", "group"), [("standing", SE3()), ("floating", Sim(3))])
def test_every_object_has_its_own_g(request, kind, group):
    data = SceneViews(request.getfixturevalue(kind), "all", cache=False)
    pairs = ScenePairs(data, pairs_per_object=2)
    rows = pairs.rows(0)
    batch = pairs.batch(rows)
    count = data.member_objects.shape[1]
    assert pairs.group.factors == (group,) * count and batch.label is None
    pairs.group.check_member(batch.g.double())
    for k, (scene, i, j) in enumerate(rows.tolist()):
        a, b = ([
            np.load(data.root / data.object_ids[scene] / f"latent_{v}.npy")[7:].reshape(-1, 7)
        ][0] for v in (i, j))  # fmt: skip
        for o, mesh in enumerate(meshes_of(data.members[scene])):
            g = batch.g[k, 4 * o : 4 * o + 4, 4 * o : 4 * o + 4].double()
            x, y = (torch.from_numpy(posed(mesh, row)) for row in (a[o], b[o]))
            moved = Points(group)(g[None], x[None])[0]
            assert float((moved - y).abs().max()) < 1e-5
            wrong = torch.from_numpy(posed(mesh, a[(o + 1) % count]))
            assert float((Points(group)(g[None], wrong[None])[0] - y).abs().max()) > 0.02
    known = pairs.instances(rows)
    assert known.labels.shape == (len(rows), count) and known.seen().any()
    label = data.object_names[int(known.objects[0, 1])].split("/")[0]
    assert data.object_label_names[int(known.labels[0, 1])] == label


def test_builds_go_on_grow_are_verified_and_repaired(standing, tmp_path):
    grown = tmp_path / "grown"
    few = SceneMeshes(OBJECTS, scenes=2, objects=3, val_fraction=0.5)
    quiet(few, grown, config=replace(CONFIG, views=2))
    quiet(few, grown, config=CONFIG, add=True)
    assert bytes_of(grown) == bytes_of(standing)
    assert verify(grown) == []
    (grown / "scene/scene-000000/instances_1.png").unlink()
    (grown / "scene/scene-000001/scene.json").write_text("{}")
    assert len(verify(grown)) == 2
    repair(grown, progress=False)
    assert bytes_of(grown) == bytes_of(standing)
    other = SceneMeshes(OBJECTS, scenes=2, objects=2, val_fraction=0.5)
    with pytest.raises(ConventionError, match="objects_per_scene"):
        quiet(other, grown, config=CONFIG, add=True)
    more = SceneMeshes(
        ProceduralMeshes(instances=5, classes=["chair", "teapot", "truck"], val_fraction=0.5),
        scenes=2, val_fraction=0.5,
    )  # fmt: skip
    with pytest.raises(ConventionError, match="of_instances"):
        quiet(more, grown, config=CONFIG, add=True)


def test_sheets_show_scenes(standing, tmp_path):
    write_pass_sheet(standing, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 100


def test_shards_keep_scenes(standing, tmp_path):
    export(standing, tmp_path / "shards", format="shards", progress=False)
    export(tmp_path / "shards", tmp_path / "back", format="folders", progress=False)
    a, b = bytes_of(standing), bytes_of(tmp_path / "back")
    assert {k: v for k, v in b.items() if v} == {k: v for k, v in a.items() if v}
    data = ThreeDIEBench(tmp_path / "shards", "all")
    assert data.columns == ThreeDIEBench(standing, "all", cache=False).columns


def test_bop_and_coco_have_every_instance(standing, tmp_path):
    export(standing, tmp_path / "bop", format="bop", progress=False)
    export(standing, tmp_path / "coco", format="coco", progress=False)
    data = SceneViews(standing, "all", cache=False)
    names = json.loads((tmp_path / "bop/objects.json").read_text())
    infos = json.loads((tmp_path / "bop/models/models_info.json").read_text())
    assert set(names.values()) == set(data.object_names) and set(infos) == set(names)
    coco = [json.loads((tmp_path / f"coco/instances_{s}.json").read_text())
            for s in ("train", "val")]  # fmt: skip
    ids = [note["id"] for half in coco for note in half["annotations"]]
    assert len(set(ids)) == len(ids)
    for scene, (key, split) in enumerate(zip(data.object_ids, ("train", "val"), strict=True)):
        folder = tmp_path / f"bop/{split}/{scene + 1:06d}"
        truth, info, cameras = (
            json.loads((folder / f"scene_{name}.json").read_text())
            for name in ("gt", "gt_info", "camera")
        )
        for view in range(3):
            found, areas = data.instances(scene, view), {}
            for k, (pose, note) in enumerate(zip(truth[str(view)], info[str(view)], strict=True)):
                mask = np.asarray(Image.open(folder / f"mask_visib/{view:06d}_{k:06d}.png")) > 0
                whole = np.asarray(Image.open(folder / f"mask/{view:06d}_{k:06d}.png")) > 0
                np.testing.assert_array_equal(mask, found == k + 1)
                assert note["px_count_visib"] == mask.sum() and note["px_count_all"] == whole.sum()
                name = names[str(pose["obj_id"])]
                assert name == data.members[scene][k]
                areas[name] = int(mask.sum())
                lines = (tmp_path / f"bop/models/obj_{pose['obj_id']:06d}.ply").read_text()
                body = lines.split("end_header\n")[1].splitlines()
                count = int(lines.split("element vertex ")[1].split()[0])
                model = np.array([line.split()[:3] for line in body[:count]], float)
                R = np.array(pose["cam_R_m2c"]).reshape(3, 3)
                np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
                seen = model @ R.T + pose["cam_t_m2c"]
                K = np.array(cameras[str(view)]["cam_K"]).reshape(3, 3)
                uv = (seen @ K.T)[:, :2] / seen[:, 2:]
                v, u = np.nonzero(whole)
                inside = (uv.min(0) > 1).all() and (uv.max(0) < SIZE - 2).all()
                if inside and len(u):
                    assert np.abs(uv.min(0) - [u.min(), v.min()]).max() < 1.6
                    assert np.abs(uv.max(0) - [u.max(), v.max()]).max() < 1.6
            half = coco[scene]
            image = next(i for i in half["images"] if i["file_name"] == f"{key}/image_{view}.jpg")
            own_notes = [n for n in half["annotations"] if n["image_id"] == image["id"]]
            assert sorted(n["area"] for n in own_notes) == sorted(a for a in areas.values() if a)
            category = {c["id"]: c["name"] for c in half["categories"]}
            labels = sorted(name.split("/")[0] for name, a in areas.items() if a)
            assert sorted(category[n["category_id"]] for n in own_notes) == labels


def test_exports_that_do_not_fit_are_refused(standing, floating, tmp_path):
    with pytest.raises(ConventionError, match="one object"):
        export(standing, tmp_path / "nerf", format="nerf", progress=False)
    with pytest.raises(ConventionError, match="one size"):
        export(floating, tmp_path / "bop", format="bop", progress=False)


def test_textures_and_colors_of_vertices_are_kept_in_one_mesh(tmp_path):
    """The color of every face's middle is that of the object's own mesh."""
    chair = meshes_of([f"chair/{'chair-000000'}"])[0]
    random = np.random.default_rng(0)
    tinted = replace(
        chair, face_colors=None,
        vertex_colors=random.integers(0, 255, chair.vertices.shape).astype(np.uint8),
    )  # fmt: skip
    uv = random.random((len(chair.faces), 3, 2)).astype(np.float32)
    pictures = [random.integers(0, 255, (16, 16, 3)).astype(np.uint8) for _ in range(2)]
    wrapped = [
        replace(chair, texture=picture, corner_uv=uv, face_textured=np.arange(len(uv)) % 2 == 0)
        for picture in pictures
    ]
    meshes = [chair, tinted, *wrapped]
    notes = []
    made = SceneOfObjects.of(tuple("abcd"), meshes, notes)
    middle = np.full((1, 3), 1 / 3)
    for k, mesh in enumerate(meshes):
        own_faces = np.flatnonzero(made.face_objects == k)
        joint = albedo_at(made.mesh, own_faces, np.repeat(middle, len(own_faces), 0))
        order = np.arange(len(mesh.faces))
        if mesh.face_textured is not None:
            order = np.concatenate([order[~mesh.face_textured], order[mesh.face_textured]])
        alone = albedo_at(mesh, order, np.repeat(middle, len(order), 0))
        np.testing.assert_allclose(joint, alone, atol=2e-3)
        corners = made.mesh.vertices[made.mesh.faces[own_faces]]
        np.testing.assert_array_equal(corners, mesh.vertices[mesh.faces[order]])
    assert notes == []


def test_scenes_of_mesh_files(tmp_path):
    for name, size in (("a", 1.0), ("b", 2.0)):
        folder = tmp_path / "meshes" / name
        folder.mkdir(parents=True)
        text = f"v 0 0 0\nv {size} 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
        (folder / "x.obj").write_text(text)
    source = SceneMeshes(MeshFolder(tmp_path / "meshes"), scenes=1, objects=2, val_fraction=0.0)
    config = BuildConfig(views=2, size_px=24, val_fraction=0.0)
    quiet(source, tmp_path / "set", config=config)
    assert SceneViews(tmp_path / "set", cache=False).object_names == ["a/x", "b/x"]
    (tmp_path / "set/scene/scene-000000/latent_1.npy").unlink()
    repair(tmp_path / "set", meshes=tmp_path / "meshes", progress=False)
    assert verify(tmp_path / "set") == []


def test_doors(standing, tmp_path):
    with pytest.raises(ConventionError, match="objects"):
        SceneMeshes(OBJECTS, scenes=1, objects=9)
    with pytest.raises(ConventionError, match="rigid"):
        SceneMeshes(STANDING, scenes=1)
    with pytest.raises(DataFormatError, match="objects in the split"):
        SceneMeshes(OBJECTS, scenes=2, objects=7, val_fraction=0.5).entries()
    with pytest.raises(ConventionError, match="arrangement"):
        ArrangementLaw(spread=0.0)
    tight = SceneMeshes(
        OBJECTS, scenes=1, objects=3, val_fraction=0.0,
        arrangement=ArrangementLaw(scale=(2.0, 2.0), spread=0.3),
    )  # fmt: skip
    with pytest.raises(ConventionError, match="room"):
        tight.places(tight.entries()[0], 0, np.tile(np.eye(3), (3, 1, 1)))
    law = ViewLaw(factors=(ObjectScale(),))
    with pytest.raises(ConventionError, match="factors"):
        quiet(STANDING, tmp_path / "x", config=replace(CONFIG, law=law))
    with pytest.raises(ConventionError, match="instances"):
        quiet(OBJECTS, tmp_path / "x", config=BuildConfig(passes=("instances",)))
    quiet(OBJECTS, tmp_path / "one", config=BuildConfig(views=1, size_px=16))
    with pytest.raises(DataFormatError, match="scenes"):
        SceneViews(tmp_path / "one", cache=False)
    for text in ("", "[]", '{"objects": []}', '{"objects": [3]}', '{"objects": ["a"]}', "[" * 9999):
        copy = Path(tmp_path / "scene.json")
        copy.write_text(text)
        with pytest.raises(DataFormatError, match="names of a scene"):
            read_members(copy)
