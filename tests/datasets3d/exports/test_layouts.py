"""Exports, read the way their readers do, against projections of the meshes."""

from __future__ import annotations

import json
import math

import numpy as np
import own_projection as own
import pytest
import trimesh
from building import quiet
from jaxtyping import TypeCheckError
from PIL import Image
from scipy.spatial.distance import cdist

from datasets3d import (
    ArticulatedMeshes,
    BuildConfig,
    ProceduralMeshes,
    export,
    read_pass,
)
from datasets3d.exports import export as door
from datasets3d.exports.bop import depth_steps, model_info
from datasets3d.exports.coco import run_lengths
from datasets3d.meshes import MeshFolder
from equivariant.commands.main import main
from equivariant.errors import ConventionError, DataFormatError

SOURCE = ProceduralMeshes(instances=2, classes=["chair", "truck"], val_fraction=0.5)
KEYS = sorted(f"{e.label}/{e.object_id}" for e in SOURCE.entries())
SIZE = 48


def mesh_of(key):
    return SOURCE.load(next(e for e in SOURCE.entries() if f"{e.label}/{e.object_id}" == key))


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def out(exportable, tmp_path_factory):
    """Every layout of the set."""
    folder = tmp_path_factory.mktemp("out")
    for name in ("nerf", "bop", "coco"):
        report = export(exportable, folder / name, format=name, progress=False)
        assert (report.objects, report.images) == (4, 8)
        assert {p.name for p in folder.iterdir() if p.name.startswith(".")} == set()
    return folder


def box_of(u, v):
    return np.array([u.min(), v.min(), u.max(), v.max()])


def nerf_misfit(scene, frame, vertices, alpha):
    """Pixels between the box of the projected vertices and that of the picture, by NeRF's rays:
    a pixel's center is at a half, the camera looks along -z with y up."""
    c2w = np.array(frame["transform_matrix"])
    focal = 0.5 * scene["w"] / math.tan(0.5 * scene["camera_angle_x"])
    p = (vertices - c2w[:3, 3]) @ c2w[:3, :3]
    u = focal * p[:, 0] / -p[:, 2] + scene["w"] / 2
    v = scene["h"] / 2 - focal * p[:, 1] / -p[:, 2]
    rows, columns = np.nonzero(alpha > 0)
    shown = box_of(columns, rows) + np.array([0, 0, 1, 1])
    if not (p[:, 2] < 0).all():
        return math.inf
    return float(np.abs(box_of(u, v) - shown).max())


def test_nerf_scenes_project_onto_their_pictures(exportable, out):
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    for key in KEYS:
        folder = out / "nerf" / key
        scene = json.loads((folder / "transforms.json").read_text())
        assert scene["aabb_scale"] == 1 and len(scene["frames"]) == 2
        focal = SIZE * own.FOCAL_MM / own.SENSOR_MM
        for name, value in {"fl_x": focal, "fl_y": focal, "cx": 24, "cy": 24, "w": 48}.items():
            assert scene[name] == pytest.approx(value)
        for view, frame in enumerate(scene["frames"]):
            picture = pixels(folder / frame["file_path"])
            np.testing.assert_array_equal(picture, read_pass(exportable, key, view, "rgba"))
            mesh = mesh_of(key)
            used = mesh.vertices[np.unique(mesh.faces)]
            assert nerf_misfit(scene, frame, used, picture[..., 3]) < 1.0
            c2w = np.array(frame["transform_matrix"])
            for twin in (c2w @ flip, np.linalg.inv(c2w), np.diag([-1.0, -1, 1, 1]) @ c2w):
                wrong = {"transform_matrix": twin.tolist()}
                assert nerf_misfit(scene, wrong, used, picture[..., 3]) > 1.5
            R = own.pose(np.load(exportable / key / f"latent_{view}.npy"))
            np.testing.assert_allclose(c2w[:3, 3], own.camera(SIZE)[2] @ R, atol=1e-12)


def backprojected(folder, view):
    """Points of the model, in millimetres, that depth shows: the toolkit's pixel grid."""
    camera = json.loads((folder / "scene_camera.json").read_text())[str(view)]
    (truth,) = json.loads((folder / "scene_gt.json").read_text())[str(view)]
    K = np.array(camera["cam_K"]).reshape(3, 3)
    depth = pixels(folder / "depth" / f"{view:06d}.png").astype(float) * camera["depth_scale"]
    mask = pixels(folder / "mask_visib" / f"{view:06d}_000000.png") == 255
    v, u = np.nonzero(mask)
    z = depth[v, u]
    seen = np.stack([(u - K[0, 2]) * z / K[0, 0], (v - K[1, 2]) * z / K[1, 1], z], 1)
    R = np.array(truth["cam_R_m2c"]).reshape(3, 3)
    return (seen - np.array(truth["cam_t_m2c"])) @ R, mask, truth["obj_id"], camera


def test_bop_depth_returns_to_the_model(exportable, out):
    names = json.loads((out / "bop" / "objects.json").read_text())
    assert [names[str(k)] for k in range(1, 5)] == KEYS
    for number, key in ((int(n), k) for n, k in names.items()):
        split = "train" if key.endswith("0") else "val"
        folder = out / "bop" / split / f"{number:06d}"
        model = trimesh.load(out / "bop" / "models" / f"obj_{number:06d}.ply", process=False)
        np.testing.assert_allclose(model.vertices, 1000 * mesh_of(key).vertices, atol=2e-3)
        np.testing.assert_array_equal(model.faces, mesh_of(key).faces)
        for view in range(2):
            points, mask, obj_id, camera = backprojected(folder, view)
            assert obj_id == number
            np.testing.assert_array_equal(mask, read_pass(exportable, key, view, "mask"))
            x = 1000 * read_pass(exportable, key, view, "coordinates")[mask]
            np.testing.assert_allclose(points, x, atol=0.08)
            K, W, _ = own.camera(SIZE)
            np.testing.assert_allclose(camera["cam_K"], K.ravel())
            np.testing.assert_allclose(camera["cam_R_w2c"], W[:, :3].ravel(), atol=1e-12)
            np.testing.assert_allclose(camera["cam_t_w2c"], 1000 * W[:, 3], atol=1e-9)
            rgb = pixels(folder / "rgb" / f"{view:06d}.png").astype(int)
            jpeg = pixels(exportable / key / f"image_{view}.jpg")
            assert np.abs(rgb - jpeg).max() <= 2
            (info,) = json.loads((folder / "scene_gt_info.json").read_text())[str(view)]
            v, u = np.nonzero(mask)
            box = [u.min(), v.min(), u.max() - u.min(), v.max() - v.min()]
            assert info["bbox_obj"] == info["bbox_visib"] == box
            counts = {info[f"px_count_{word}"] for word in ("all", "valid", "visib")}
            assert counts == {mask.sum()} and info["visib_fract"] == 1.0
        other, *_ = backprojected(folder, 0)
        wrong = 1000 * read_pass(exportable, key, 1, "coordinates")
        wrong = wrong[np.isfinite(wrong).all(2)]
        assert cdist(other, wrong).min(1).max() > 5.0, "another view does not fit"


def test_bop_models_know_their_size(out):
    infos = json.loads((out / "bop" / "models" / "models_info.json").read_text())
    for number, key in enumerate(KEYS, 1):
        vertices = mesh_of(key).vertices * 1000
        info = infos[str(number)]
        assert info["diameter"] == pytest.approx(cdist(vertices, vertices).max())
        assert np.hypot(np.hypot(info["size_x"], info["size_y"]), info["size_z"]) == pytest.approx(
            1000
        )
        np.testing.assert_allclose([info[f"min_{a}"] for a in "xyz"], vertices.min(0))


def test_depth_takes_steps_that_hold_the_object():
    random = np.random.default_rng(0)
    for far in (1.0, 6.5, 7.0, 30.0, 5000.0):
        depth = random.uniform(0.5 * far, far, (8, 8)).astype(np.float32)
        depth[0, 0] = np.inf
        mask = np.isfinite(depth)
        steps, scale = depth_steps(depth, mask)
        assert steps[0, 0] == 0 and (steps[mask] > 0).all()
        assert np.abs(steps * scale - 1000.0 * depth)[mask].max() <= 0.5001 * scale
        assert scale == 0.1 or 1000 * far > 6500


def decoded(segmentation):
    """A mask from run lengths, one pixel after the other."""
    height, width = segmentation["size"]
    mask, place, value = np.zeros((height, width), bool), 0, False
    for length in segmentation["counts"]:
        for _ in range(length):
            mask[place % height, place // height] = value
            place += 1
        value = not value
    assert place == height * width
    return mask


def test_coco_masks_decode_to_the_masks(exportable, out):
    ids = []
    for split in ("train", "val"):
        found = json.loads((out / "coco" / f"instances_{split}.json").read_text())
        assert [(c["id"], c["name"]) for c in found["categories"]] == [(1, "chair"), (2, "truck")]
        images = {image["id"]: image for image in found["images"]}
        assert len(images) == len(found["annotations"]) == 4
        for instance in found["annotations"]:
            image = images[instance["image_id"]]
            path = exportable / image["file_name"]
            assert pixels(path).shape == (image["height"], image["width"], 3)
            key = "/".join(image["file_name"].split("/")[:2])
            assert key.endswith("0") == (split == "train")
            assert instance["category_id"] == (1 if key.startswith("chair") else 2)
            mask = decoded(instance["segmentation"])
            view = int(path.stem.rpartition("_")[2])
            np.testing.assert_array_equal(mask, read_pass(exportable, key, view, "mask"))
            x, y, w, h = instance["bbox"]
            assert mask[y : y + h, x : x + w].sum() == mask.sum() == instance["area"]
            assert mask[y].any() and mask[y + h - 1].any()
            assert mask[:, x].any() and mask[:, x + w - 1].any()
            ids.append(instance["id"])
    assert sorted(ids) == list(range(1, 9))


def test_run_lengths_of_many_masks():
    random = np.random.default_rng(0)
    masks = [random.random((5, 7)) < share for share in (0.0, 0.1, 0.5, 0.9, 1.0) for _ in range(9)]
    for mask in [*masks, np.ones((1, 1), bool), np.zeros((1, 1), bool)]:
        counts = run_lengths(mask)
        np.testing.assert_array_equal(decoded({"size": mask.shape, "counts": counts}), mask)
        assert all(n > 0 for n in counts[1:])
    twin = run_lengths(masks[20].T)
    assert (decoded({"size": (5, 7), "counts": twin}) != masks[20]).any(), "rows are no columns"


def test_what_is_lacking_is_named(tmp_path, exportable):
    source = ProceduralMeshes(instances=1, classes=["chair"])
    quiet(source, tmp_path / "set", config=BuildConfig(views=1, size_px=8, passes=("depth",)))
    for name, words in {"nerf": "rgba", "bop": "mask", "coco": "mask"}.items():
        with pytest.raises(ConventionError, match=f"--add --passes {words}`"):
            export(tmp_path / "set", tmp_path / "out", format=name, progress=False)
    with pytest.raises((ConventionError, TypeCheckError), match="kitti"):
        export(exportable, tmp_path / "out", format="kitti", progress=False)
    with pytest.raises(ConventionError, match="empty"):
        export(exportable, exportable, format="coco", progress=False)
    with pytest.raises(DataFormatError, match=r"manifest\.json"):
        export(tmp_path, tmp_path / "out", format="coco", progress=False)
    assert {p.name for p in tmp_path.iterdir()} == {"set"}


def test_layouts_of_rigid_objects_refuse_joints(tmp_path):
    source = ArticulatedMeshes(instances=1, classes=["door"])
    passes = ("depth", "mask", "rgba")
    quiet(source, tmp_path / "set", config=BuildConfig(views=1, size_px=16, passes=passes))
    for name in ("nerf", "bop"):
        with pytest.raises(ConventionError, match="joints"):
            export(tmp_path / "set", tmp_path / "out", format=name, progress=False)
    export(tmp_path / "set", tmp_path / "out", format="coco", progress=False)


def test_colors_that_other_readers_would_take_for_others(tmp_path):
    source = ProceduralMeshes(instances=1, classes=["chair"])
    config = BuildConfig(views=1, size_px=16, passes=("depth", "mask"), channel_order="bgr")
    quiet(source, tmp_path / "set", config=config)
    with pytest.raises(ConventionError, match="rgb"):
        export(tmp_path / "set", tmp_path / "coco", format="coco", progress=False)
    export(tmp_path / "set", tmp_path / "bop", format="bop", progress=False)
    shown = pixels(tmp_path / "bop" / "train" / "000001" / "rgb" / "000000.png")
    stored = pixels(tmp_path / "set" / "chair" / "chair-000000" / "image_0.jpg")
    assert np.abs(shown.astype(int) - stored[..., ::-1]).max() <= 2


def test_an_export_that_fails_leaves_nothing(exportable, tmp_path, monkeypatch):
    def broken(one, out):
        (out / "half").write_text("x")
        raise DataFormatError(expected="a", got="b", argument="c", advice="d")

    monkeypatch.setitem(door._WRITERS, "coco", broken)
    with pytest.raises(DataFormatError):
        export(exportable, tmp_path / "deep" / "out", format="coco", progress=False)
    assert list((tmp_path / "deep").iterdir()) == []


def test_models_of_mesh_files_need_their_folder(tmp_path):
    (tmp_path / "meshes" / "a").mkdir(parents=True)
    trimesh.creation.box((1.0, 2.0, 3.0)).export(tmp_path / "meshes" / "a" / "one.ply")
    source = MeshFolder(tmp_path / "meshes")
    config = BuildConfig(views=1, size_px=16, passes=("depth", "mask"), val_fraction=0.0)
    quiet(source, tmp_path / "set", config=config)
    report = export(tmp_path / "set", tmp_path / "bare", format="bop", progress=False)
    assert "--meshes" in report.remarks[0] and not (tmp_path / "bare" / "models").exists()
    meshes = tmp_path / "meshes"
    export(tmp_path / "set", tmp_path / "full", format="bop", meshes=meshes, progress=False)
    info = json.loads((tmp_path / "full" / "models" / "models_info.json").read_text())["1"]
    assert info["diameter"] == pytest.approx(1000.0)
    assert info == model_info(source.load(source.entries()[0]))


def test_the_command(exportable, tmp_path, capsys):
    words = ["export", str(exportable), "--quiet", "--format"]
    assert main([*words, "nerf", "--out", str(tmp_path / "nerf")]) == 0
    said = capsys.readouterr().out
    assert "4 objects, 8 images" in said and "light moves" in said
    assert main([*words, "nerf", "--out", str(tmp_path / "nerf")]) == 1
    assert "Choose another folder" in capsys.readouterr().err
