"""Clouds of views against the passes of the same views, trimesh, and rays of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import own_projection as own
import pytest
import trimesh
from building import SQUARE, quiet

from datasets3d import (
    BuildConfig,
    MeshFolder,
    ProceduralMeshes,
    ThreeDIEBench,
    ViewClouds,
    ViewLaw,
    read_camera,
    read_depth_cloud,
    read_pass,
)
from datasets3d.modalities.view_cloud import SurfaceSample, back_projected, view_cloud
from equivariant.errors import ConventionError, DataFormatError
from renderers import Ambient, Floor, RendererError, Scene, get
from renderers.albedo import albedo_at
from renderers.sight import Sight

SIZE, VIEWS = 64, 3


def posed(clouds, index, view):
    """The mesh where the view shows it, from its latent alone."""
    mesh, latent = clouds.mesh(index), clouds.dataset.all_latents[index, view]
    vertices = latent[10] * mesh.vertices @ own.pose(latent).T + latent[7:10]
    return trimesh.Trimesh(vertices, mesh.faces, process=False)


def pixels_of(points, size=SIZE):
    K, W, _ = own.camera(size)
    seen = (points @ W[:, :3].T + W[:, 3]) @ K.T
    return seen[:, :2] / seen[:, 2:], seen[:, 2]


@pytest.mark.parametrize("index", [0, 1])
def test_points_lie_on_the_posed_mesh_with_its_normals(clouds, index):
    for view in range(VIEWS):
        cloud, solid = clouds.cloud(index, view), posed(clouds, index, view)
        _, away, _ = trimesh.proximity.closest_point_naive(solid, cloud.points[::10])
        assert away.max() < 1e-7
        faces = clouds.sample(index).faces
        flat = solid.face_normals[faces]
        assert (np.einsum("ni,ni->n", flat, cloud.normals) > 0.3).all(), "outwards"
        np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1.0, atol=1e-9)
        twin = cloud.points[::10] + np.array([0.01, 0.0, 0.0])
        assert trimesh.proximity.closest_point_naive(solid, twin)[1].max() > 1e-3


def depth_errors(root, key, view, points):
    """How far the depth of points is from that of the nearest pixels of the mask, in what a pixel
    spans along the surface; infinite where no pixel around a point is of the mask."""
    mask, depth = read_pass(root, key, view, "mask"), read_pass(root, key, view, "depth")
    normals = read_pass(root, key, view, "normals")
    uv, deep = pixels_of(points)
    K, _, eye = own.camera(SIZE)
    ways = (points - eye) / np.linalg.norm(points - eye, axis=1, keepdims=True)
    best = np.full(len(points), np.inf)
    for across in (0, 1):
        for down in (0, 1):
            column, row = (np.floor(uv).astype(int) + np.array([across, down])).T
            slope = np.abs((normals[row, column] * ways).sum(1))
            span = deep / K[0, 0] / np.maximum(slope, 0.1)
            error = np.abs(deep - depth[row, column]) / span
            best = np.minimum(best, np.where(mask[row, column], error, np.inf))
    return best, mask[np.rint(uv[:, 1]).astype(int), np.rint(uv[:, 0]).astype(int)]


@pytest.mark.parametrize("index", [0, 1])
def test_visible_points_are_what_the_pixels_see(moved, clouds, index):
    key = clouds.dataset.object_ids[index]
    for view in range(VIEWS):
        cloud = clouds.cloud(index, view)
        assert 0.1 < cloud.visible.mean() < 0.7
        error, on_mask = depth_errors(moved, key, view, cloud.points[cloud.visible])
        assert on_mask.mean() > 0.88, "the rest lies within half a pixel of the outline"
        assert (error < 1.5).mean() > 0.98 and np.median(error) < 0.3
        hidden, _ = depth_errors(moved, key, view, cloud.points[~cloud.visible])
        assert (hidden < 1.5).mean() < 0.7, "the twin: walls are thin, yet not what pixels see"


@pytest.mark.parametrize("index", [0, 1])
def test_visibility_is_that_of_rays_against_every_triangle(clouds, index):
    for view in range(2):
        cloud, solid = clouds.cloud(index, view), posed(clouds, index, view)
        _, _, eye = own.camera(SIZE)
        pick = np.arange(0, len(cloud), 8)
        ways = cloud.points[pick] - eye
        first, _, _ = own.cast(eye, ways, solid.vertices[solid.faces])
        floor = cloud.points[pick, 2] > own.FLOOR
        expected = (first > 1.0 - 1e-4) & floor
        assert (expected == cloud.visible[pick]).mean() > 0.995


def test_what_is_out_of_the_picture_or_below_the_floor_is_not_visible(clouds):
    mesh, law = clouds.mesh(0), ViewLaw()
    sample = SurfaceSample.draw(mesh, 500, generator=np.random.default_rng(0))
    scene, sight = law.scene(mesh, np.zeros(7)), Sight(mesh)
    free = view_cloud(scene, sample, sight).visible
    cut = view_cloud(replace(scene, floor=Floor(height=0.0)), sample, sight)
    assert not cut.visible[cut.points[:, 2] < 0].any()
    assert (cut.visible == free)[cut.points[:, 2] > 0].all()
    aside = view_cloud(replace(scene, translation=(1.0, 0.0, 0.0)), sample, sight)
    uv, _ = pixels_of(aside.points)
    outside = ((uv < -0.5) | (uv > SIZE - 0.5)).any(1)
    assert outside.any() and aside.visible.any() and not (aside.visible & outside).any()
    behind = view_cloud(replace(scene, translation=(0.0, 3.0, 3.0)), sample, sight)
    assert not behind.visible.any()


def test_shared_points_of_two_views_differ_by_g(clouds):
    for index in range(2):
        a, b = clouds.cloud(index, 0), clouds.cloud(index, 2)
        pose_a, pose_b = clouds.dataset.poses[index, [0, 2]]
        g = pose_b @ np.linalg.inv(pose_a)
        np.testing.assert_allclose(a.points @ g[:3, :3].T + g[:3, 3], b.points, atol=1e-12)
        turn = g[:3, :3] / np.cbrt(np.linalg.det(g[:3, :3]))
        np.testing.assert_allclose(a.normals @ turn.T, b.normals, atol=1e-12)
        assert (a.colors == b.colors).all()
        wrong = np.linalg.inv(pose_a) @ pose_b
        assert np.abs(a.points @ wrong[:3, :3].T + wrong[:3, 3] - b.points).max() > 0.05


def unlit(mesh, latent):
    """A picture of the albedo alone, and the face, the point and its weights of every pixel."""
    scene = ViewLaw().scene(mesh, latent)
    scene = replace(scene, floor=None, spot=None, ambient=Ambient(level=1.0, sky=0.0))
    picture = get("embree", samples_per_side=1).render(scene, SIZE)
    K, W, eye = own.camera(SIZE)
    v, u = np.nonzero(picture.mask)
    ways = np.stack([u, v, np.ones_like(u)], 1) @ np.linalg.inv(K).T @ W[:, :3]
    triangles = (mesh.vertices @ own.pose(latent).T)[mesh.faces]
    _, face, weights = own.cast(eye, ways, triangles)
    same = face == picture.faces[picture.mask]
    return picture.rgb[picture.mask][same], face[same], weights[same]


@pytest.mark.parametrize("kind", ["mixed", "vertices", "faces"])
def test_colors_are_the_albedo_of_the_pixels(colored, kind):
    # of texels larger than pixels: of smaller ones a pixel shows a mean, a point its own color
    mesh = replace(colored, texture=np.ascontiguousarray(colored.texture[::4, ::4]))
    if kind != "mixed":
        mesh = replace(
            mesh, texture=None, corner_uv=None, face_textured=None, corner_tint=None,
            vertex_colors=np.random.default_rng(1).integers(0, 255, mesh.vertices.shape)
            .astype(np.uint8) if kind == "vertices" else None,
        )  # fmt: skip
    rgb, face, weights = unlit(mesh, np.array([0.4, -0.3, 1.0, 0, 0, 0, 0]))
    assert len(rgb) > 300
    found = SurfaceSample.at(mesh, face, weights)
    cloud = view_cloud(Scene(mesh), found, Sight(mesh))
    assert np.abs(cloud.srgb().astype(int) - rgb).max() <= 1
    assert found.colors.dtype == np.float32 and found.colors.max() <= 1.0
    twin = albedo_at(mesh, face[::-1], weights)
    assert np.abs(twin - found.colors).max() > 0.05


def test_depth_is_a_cloud_again(moved, clouds):
    for index, key in enumerate(clouds.dataset.object_ids):
        cloud = read_depth_cloud(moved, key, 1)
        mask, depth = read_pass(moved, key, 1, "mask"), read_pass(moved, key, 1, "depth")
        assert len(cloud.points) == mask.sum()
        uv, deep = pixels_of(cloud.points)
        np.testing.assert_allclose(uv, cloud.pixels, atol=1e-3)
        np.testing.assert_allclose(deep, depth[cloud.pixels[:, 1], cloud.pixels[:, 0]], atol=1e-5)
        away = trimesh.proximity.closest_point_naive(posed(clouds, index, 1), cloud.points[::9])[1]
        assert away.max() < 1e-5
        wrong = trimesh.proximity.closest_point_naive(posed(clouds, index, 0), cloud.points[::9])[1]
        assert wrong.max() > 0.01
    camera = read_camera(moved, key, 0)
    holes = depth.copy()
    holes[mask] = np.inf
    assert not len(back_projected(holes, mask, camera).points)
    with pytest.raises(ConventionError, match="shape"):
        back_projected(depth[:3], mask, camera)


def test_samples_depend_on_seed_object_and_number_alone(moved, clouds):
    again = ViewClouds(ThreeDIEBench(moved, cache=False), points=2000)
    np.testing.assert_array_equal(again.sample(1).points, clouds.sample(1).points)
    np.testing.assert_array_equal(again.visible(1), np.stack(
        [clouds.cloud(1, view).visible for view in range(VIEWS)]))  # fmt: skip
    other = ViewClouds(ThreeDIEBench(moved, cache=False), points=2000, seed=1)
    assert (other.sample(1).points != clouds.sample(1).points).any()


def test_doors_name_what_is_wrong(moved, clouds, tmp_path):
    data = clouds.dataset
    with pytest.raises(ConventionError, match="points"):
        ViewClouds(data, points=0)
    with pytest.raises(DataFormatError, match="meshes of all objects"):
        ViewClouds(data, source=ProceduralMeshes(instances=1, classes=["dog"]))
    mesh = clouds.mesh(0)
    with pytest.raises(RendererError, match="weights"):
        albedo_at(mesh, np.zeros(2, int), np.zeros((3, 3)))
    with pytest.raises(RendererError, match="faces"):
        albedo_at(mesh, np.full(1, len(mesh.faces)), np.ones((1, 3)) / 3)
    with pytest.raises(RendererError, match="faces"):
        Sight(mesh).unhidden(np.zeros((1, 3)), np.array([-1]), np.ones(3))
    assert Sight(mesh).unhidden(np.zeros((0, 3)), np.zeros(0, int), np.ones(3)).shape == (0,)


def test_mesh_files_that_changed_are_refused(tmp_path):
    folder = tmp_path / "meshes" / "flat"
    folder.mkdir(parents=True)
    (folder / "a.off").write_text(SQUARE)
    quiet(
        MeshFolder(tmp_path / "meshes"), tmp_path / "set",
        config=BuildConfig(views=2, size_px=24, val_fraction=0.0),
    )  # fmt: skip
    data = ThreeDIEBench(tmp_path / "set", cache=False)
    with pytest.raises(ConventionError, match="folder of mesh files"):
        ViewClouds(data)
    found = ViewClouds(data, meshes=tmp_path / "meshes", points=50)
    assert found.cloud(0, 0).visible.any()
    (folder / "a.off").write_text(SQUARE.replace("0.5", "0.6"))
    with pytest.raises(DataFormatError, match="changed"):
        ViewClouds(data, meshes=tmp_path / "meshes", points=50).mesh(0)
