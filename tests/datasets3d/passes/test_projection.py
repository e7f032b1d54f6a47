"""Every pass against a projection of the mesh that shares no code with the library."""

from __future__ import annotations

import numpy as np
import own_projection as own
import pytest
from PIL import Image

from datasets3d import ProceduralMeshes, ViewLaw, camera_of, read_camera, read_pass
from datasets3d.views.passes.arrays import pass_arrays
from renderers import RendererUnavailableError, get

SOURCE = ProceduralMeshes(instances=1, classes=["chair", "truck"], val_fraction=0.5)
KEYS = ["chair/chair-000000", "truck/truck-000000"]
LAW = ViewLaw()
ENGINES = [
    "embree",
    pytest.param("pyrender", marks=pytest.mark.pyrender),
    pytest.param("blender", marks=pytest.mark.blender),
]


def mesh_of(key):
    return SOURCE.load(next(e for e in SOURCE.entries() if f"{e.label}/{e.object_id}" == key))


def latent_of(root, key, view):
    return np.load(root / key / f"latent_{view}.npy")


def faults(found, expected):
    """Share of pixels, or largest error where both see the same surface, of every pass."""
    both = found["mask"] & expected["mask"]
    if "faces" in found:
        both &= found["faces"] == expected["faces"]
    here = both | (~found["mask"] & ~expected["mask"])
    size = len(both)
    pixel = expected["depth"] / (size * own.FOCAL_MM / own.SENSOR_MM)
    away = np.linalg.norm(found["coordinates"] - expected["coordinates"], axis=2)
    turn = np.linalg.norm(found["normals"] - expected["normals"], axis=2)
    turn = np.minimum(turn, np.linalg.norm(found["normals"] + expected["normals"], axis=2))
    return {
        "other": float((~here).mean()),
        "depth": float(np.abs(found["depth"] - expected["depth"])[here].max()),
        "footprints": float((away / pixel)[both].max()),
        "normals": float(turn[here].max()),
        "shadow": float((found["shadow"] != expected["shadow"])[here].mean()),
    }


def accepted(report, *, depth=1e-4, shadow=0.004):
    return (
        report["other"] <= 0.004
        and report["depth"] <= depth
        and report["footprints"] <= 0.1
        and report["normals"] <= 2e-3
        and report["shadow"] <= shadow
    )


@pytest.mark.parametrize("key", KEYS)
def test_passes_on_disk_are_those_of_the_mesh(known, key):
    mesh = mesh_of(key)
    for view in range(2):
        names = ("depth", "normals", "mask", "shadow", "coordinates", "faces")
        found = {name: read_pass(known, key, view, name) for name in names}
        latent = latent_of(known, key, view)
        report = faults(found, own.view(mesh, latent, 48))
        assert accepted(report), report
        assert found["mask"].any() and found["shadow"].any()
        twin = latent.copy()
        twin[0] += 0.01
        assert not accepted(faults(found, own.view(mesh, twin, 48))), "0.6 degrees off"


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_that_is_here_gives_the_passes(engine):
    try:
        renderer = get(engine)
    except RendererUnavailableError as missing:
        pytest.skip(str(missing))
    mesh, latent = mesh_of(KEYS[0]), LAW.sample(3, "a/b", view=1)
    scene = LAW.scene(mesh, latent)
    names = ("depth", "normals", "mask", "shadow", "coordinates")
    found = pass_arrays(names, renderer, scene, renderer.render(scene, 48))
    expected = own.view(mesh, latent, 48)
    solid = np.isclose(found["depth"], expected["depth"], atol=0.02, rtol=0)
    report = faults({name: np.where(solid[..., None] if a.ndim == 3 else solid, a, expected[name])
                     for name, a in found.items()}, expected)  # fmt: skip
    assert solid.mean() > 0.99
    on_object = np.abs(found["depth"] - expected["depth"])[found["mask"] & solid]
    assert on_object.max() <= 1e-4
    far, dark = (1e-4, 0.004) if engine == "embree" else (5e-4, 0.03)  # depth buffers, shadow maps
    assert accepted(report, depth=far, shadow=dark), report


def test_coordinates_are_those_of_faces_and_barycentric_weights(known):
    """A second way: the pixel's ray meets the plane of the face that the faces pass names."""
    for key in KEYS:
        mesh, latent = mesh_of(key), latent_of(known, key, 0)
        x, faces = (read_pass(known, key, 0, name) for name in ("coordinates", "faces"))
        seen = faces >= 0
        a, b, c = np.moveaxis(mesh.vertices[mesh.faces[faces[seen]]], 1, 0)
        n = np.cross(b - a, c - a)
        K, W, eye = own.camera(48)
        v, u = np.nonzero(seen)
        ways = np.stack([u, v, np.ones_like(u)], 1) @ np.linalg.inv(K).T @ W[:, :3]
        R = own.pose(latent)
        start, ways = eye @ R, ways @ R
        t = ((a - start) * n).sum(1) / (ways * n).sum(1)
        expected = start + t[:, None] * ways
        np.testing.assert_allclose(x[seen], expected, atol=5e-6)
        assert np.isnan(x[~seen]).all()
        e1, e2, d = b - a, c - a, expected - a
        area = np.linalg.norm(n, axis=1)
        inside = [np.linalg.norm(np.cross(d, e2), axis=1), np.linalg.norm(np.cross(e1, d), axis=1)]
        assert ((inside[0] + inside[1]) / area < 1.0 + 1e-3).all(), "on the face itself"


def test_coordinates_return_to_their_pixels(known):
    for key in KEYS:
        for view in range(3):
            x = read_pass(known, key, view, "coordinates").astype(float)
            seen = read_pass(known, key, view, "mask")
            uv, depth = own.project(x[seen], latent_of(known, key, view), 48)
            v, u = np.nonzero(seen)
            np.testing.assert_allclose(uv, np.stack([u, v], 1), atol=1e-3)
            shown = read_pass(known, key, view, "depth")[seen]
            np.testing.assert_allclose(depth, shown, atol=1e-5)


def test_cameras_are_the_camera_matrix_written_down(known):
    for key in KEYS:
        latent = latent_of(known, key, 2)
        K, W, _ = own.camera(48)
        for camera in (read_camera(known, key, 2), camera_of(LAW, latent, size_px=48)):
            np.testing.assert_allclose(camera.intrinsics(), K, atol=1e-12)
            np.testing.assert_allclose(camera.pose()[:3], W, atol=1e-12)
            np.testing.assert_allclose(camera.object_to_world[:3, :3], own.pose(latent), atol=1e-12)
            half = camera.intrinsics("half") - camera.intrinsics()
            np.testing.assert_allclose(half, [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], atol=1e-12)
            ahead = camera.pose("opengl") @ [0.0, 0.0, 0.0, 1.0]
            np.testing.assert_allclose(ahead, [0, 0, -2.5, 1], atol=1e-12)
            up = camera.pose("opengl")[:3, :3] @ [0.0, 0.0, 1.0]
            assert up[1] > 0.7 and camera.pose("opencv")[1, 2] < -0.7, "world's up is up"
            x = np.random.default_rng(0).uniform(-0.4, 0.4, (20, 3))
            world = x @ own.pose(latent).T
            uv, depth = camera.project(world)
            expected, deep = own.project(x, latent, 48)
            np.testing.assert_allclose(uv, expected, atol=1e-9)
            np.testing.assert_allclose(depth, deep, atol=1e-12)


def test_what_is_behind_the_camera_is_nowhere():
    camera = camera_of(LAW, np.zeros(7), size_px=8)
    uv, depth = camera.project(np.array([[0.0, 3.0, 3.0], [0.0, 0.0, 0.0]]))
    assert np.isnan(uv[0]).all() and depth[0] < 0
    np.testing.assert_allclose(uv[1], [3.5, 3.5])


def test_rgba_has_the_colors_of_the_picture_and_the_coverage_of_many_rays(known):
    key = KEYS[0]
    rgba, mask = read_pass(known, key, 0, "rgba"), read_pass(known, key, 0, "mask")
    alpha = rgba[..., 3]
    assert (alpha[mask] > 0).all() and (rgba[alpha == 0] == 0).all()
    assert ((alpha > 0) & (alpha < 255)).any(), "edges are shares"
    with Image.open(known / key / "image_0.jpg") as picture:
        difference = np.abs(rgba[..., :3].astype(int) - np.asarray(picture))[alpha == 255]
    assert np.median(difference) <= 3, "JPEG loses a little"
    fine = own.view(mesh_of(key), latent_of(known, key, 0), 144)["mask"]
    share = fine.reshape(48, 3, 48, 3).mean((1, 3))
    assert (np.abs(share - alpha / 255.0) < 0.01).mean() > 0.99
    assert np.abs(share - alpha / 255.0).max() <= 2.01 / 9
