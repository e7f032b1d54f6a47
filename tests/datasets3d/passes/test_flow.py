"""Flow between views against a reprojection that shares no code with the library."""

from __future__ import annotations

import numpy as np
import own_projection as own
import pytest
from building import quiet

from datasets3d import (
    ArticulatedMeshes,
    ArticulatedViews,
    BuildConfig,
    ProceduralMeshes,
    ViewLaw,
    read_camera,
    read_flow,
    read_pass,
)
from datasets3d.views.passes.flow import flow_between
from equivariant.errors import ConventionError, DataFormatError

SOURCE = ProceduralMeshes(instances=1, classes=["chair", "truck"], val_fraction=0.5)
KEYS = ["chair/chair-000000", "truck/truck-000000"]
SIZE = 48


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    """Views that differ by moderate rotations, so that much is seen in both."""
    root = tmp_path_factory.mktemp("near") / "set"
    config = BuildConfig(
        views=3, size_px=SIZE, law=ViewLaw(angle_max_rad=0.5), passes=("coordinates", "mask")
    )
    quiet(SOURCE, root, config=config)
    return root


def reprojected(root, key, a, b, *, backwards=False):
    """Flow and visibility from both latents and the mesh: rays of camera a, the hit turned by
    g = R_b R_a^-1, camera matrix of b, and every ray back against every triangle."""
    entry = next(e for e in SOURCE.entries() if f"{e.label}/{e.object_id}" == key)
    mesh = SOURCE.load(entry)
    latents = [np.load(root / key / f"latent_{k}.npy") for k in (a, b)]
    K, W, eye = own.camera(SIZE)
    R_a, R_b = map(own.pose, latents)
    v, u = np.mgrid[:SIZE, :SIZE].reshape(2, -1)
    ways = np.stack([u, v, np.ones_like(u)], 1) @ np.linalg.inv(K).T @ W[:, :3]
    depth, face, _ = own.cast(eye, ways, (mesh.vertices @ R_a.T)[mesh.faces])
    hit = face >= 0
    points = eye + depth[hit, None] * ways[hit]
    g = R_b @ R_a.T
    moved = points @ (g if backwards else g.T)
    homogeneous = (moved @ W[:, :3].T + W[:, 3]) @ K.T
    place = homogeneous[:, :2] / homogeneous[:, 2:]
    flow = np.full((SIZE * SIZE, 2), np.nan)
    flow[hit] = place - np.stack([u, v], 1)[hit]
    back, _, _ = own.cast(eye, moved - eye, (mesh.vertices @ R_b.T)[mesh.faces])
    visible = np.zeros(SIZE * SIZE, bool)
    visible[hit] = (back > 1 - 1e-3) & ((place > -0.5) & (place < SIZE - 0.5)).all(1)
    return flow.reshape(SIZE, SIZE, 2), visible.reshape(SIZE, SIZE)


@pytest.mark.parametrize("key", KEYS)
def test_flow_is_the_reprojection(near, key):
    found = read_flow(near, key, 0, 2)
    flow, visible = reprojected(near, key, 0, 2)
    both = np.isfinite(flow).all(2) & np.isfinite(found.flow).all(2)
    assert both.sum() > 100 and (np.isfinite(found.flow).all(2) != both).sum() <= 3
    error = np.abs(found.flow - flow)[both]
    assert error.max() < 2e-3, "pixels"
    assert np.abs(flow[both]).max() > 2.0, "something moves"
    assert found.visible[visible].mean() > 0.99, "what is seen is found"
    assert visible[found.visible].mean() > 0.9, "hidden by less than three pixels' span"
    assert (found.visible & ~both).sum() <= 3 and not found.visible.all()


def test_a_broken_twin_is_rejected(near):
    """The element the wrong way round."""
    found = read_flow(near, KEYS[0], 0, 2)
    flow, _ = reprojected(near, KEYS[0], 0, 2, backwards=True)
    both = np.isfinite(flow).all(2) & np.isfinite(found.flow).all(2)
    assert np.abs(found.flow - flow)[both].max() > 1.0
    other = read_flow(near, KEYS[0], 0, 1)
    assert np.nanmax(np.abs(found.flow - other.flow)) > 1.0


def test_correspondences_see_the_same_point(near):
    for key in KEYS:
        found = read_flow(near, key, 1, 0)
        start, end = found.correspondences()
        assert len(start) > 100 and start.dtype == np.int64
        x_a, x_b = (read_pass(near, key, k, "coordinates") for k in (1, 0))
        nearest = np.rint(end).astype(int)
        x, y = x_a[start[:, 1], start[:, 0]], x_b[nearest[:, 1], nearest[:, 0]]
        known = np.isfinite(y).all(1)
        assert known.mean() > 0.9
        span = 2.5 / (SIZE * own.FOCAL_MM / own.SENSOR_MM)
        away = np.linalg.norm(x - y, axis=1)[known]
        assert np.median(away) < span
        uv, _ = own.project(x.astype(float), np.load(near / key / "latent_0.npy"), SIZE)
        np.testing.assert_allclose(end, uv, atol=1e-3)


def test_from_a_view_to_itself_nothing_moves(near):
    found = read_flow(near, KEYS[0], 1, 1)
    mask = read_pass(near, KEYS[0], 1, "mask")
    np.testing.assert_array_equal(found.visible, mask)
    assert np.abs(found.flow[mask]).max() < 1e-3 and np.isnan(found.flow[~mask]).all()


def test_there_and_back_is_the_start(near):
    """Flow of b at the place that a flows to returns, where both see it, on smooth surfaces."""
    there, back = read_flow(near, KEYS[1], 0, 1), read_flow(near, KEYS[1], 1, 0)
    start, end = there.correspondences()
    place = np.rint(end).astype(int)
    returned = end + back.flow[place[:, 1], place[:, 0]]
    assert np.nanmedian(np.abs(returned - start)) < 0.3


def test_flow_of_articulated_objects_follows_their_parts(tmp_path):
    source = ArticulatedMeshes(instances=1, classes=["robot_arm"], val_fraction=0.0)
    law = ViewLaw(angle_max_rad=0.3)
    passes = ("coordinates", "faces")
    quiet(source, tmp_path, config=BuildConfig(views=2, size_px=SIZE, law=law, passes=passes))
    views, entry = ArticulatedViews(tmp_path), source.entries()[0]
    key, thing = views.object_ids[0], source.object(entry)
    found = read_flow(tmp_path, key, 0, 1)
    x, faces = (read_pass(tmp_path, key, 0, name) for name in ("coordinates", "faces"))
    posed = thing.posed(source.state(entry, 1))
    seen = faces >= 0
    rest, moved = thing.mesh.vertices[thing.mesh.faces], posed.vertices[posed.faces]
    a, b, c = np.moveaxis(rest[faces[seen]], 1, 0)
    points = []  # barycentric weights at rest, the same after the motion
    for p, corners, now in zip(x[seen], np.stack([a, b, c], 1), moved[faces[seen]], strict=True):
        system = np.vstack([corners.T, np.ones(3)])
        share = np.linalg.lstsq(system, np.append(p, 1.0), rcond=None)[0]
        points.append(share @ now)
    latent = np.load(tmp_path / key / "latent_1.npy")
    uv, _ = own.project(np.array(points), latent, SIZE)
    v, u = np.nonzero(seen)
    np.testing.assert_allclose(found.flow[seen], uv - np.stack([u, v], 1), atol=5e-3)
    assert found.visible.sum() > 50
    rigid, _ = own.project(x[seen].astype(float), latent, SIZE)
    assert np.abs(rigid - uv).max() > 0.5, "taking it for rigid is wrong"


def test_what_cannot_be_is_refused(near, tmp_path):
    quiet(SOURCE, tmp_path, config=BuildConfig(views=1, size_px=8, passes=("mask",)))
    with pytest.raises(DataFormatError, match="--passes coordinates"):
        read_flow(tmp_path, KEYS[0], 0, 0)
    with pytest.raises(ConventionError, match="reach"):
        read_flow(near, KEYS[0], 0, 1, reach_px=0.0)
    x = read_pass(near, KEYS[0], 0, "coordinates")
    with pytest.raises(ConventionError, match="shape"):
        flow_between(x, x[:-1], read_camera(near, KEYS[0], 0))
