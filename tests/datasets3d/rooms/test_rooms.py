"""Rooms: nothing overlaps, motions are planar and exact, and cameras see what is not hidden."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets3d.clouds.partial_clouds import depth_points, scan_mesh, seen_points
from datasets3d.meshes import ArticulatedMeshes, MeshFolder, ProceduralMeshes
from datasets3d.meshes.normals import face_normals
from datasets3d.rooms import FurnitureMeshes, arrange, make_rooms, room_clouds, scan_room
from datasets3d.rooms.arrangement import overlap
from datasets3d.rooms.room_clouds import corner_cameras
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import SE2
from renderers import get
from renderers.scene import Camera, Scene


@pytest.fixture(scope="module")
def rooms():
    return make_rooms(3)


def corners(place, half):
    c, s = math.cos(place[2]), math.sin(place[2])
    local = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * half
    return local @ np.array([[c, s], [-s, c]]) + place[:2]


def inside(points, place, half, slack=0.0):
    c, s = math.cos(place[2]), math.sin(place[2])
    local = (points - place[:2]) @ np.array([[c, -s], [s, c]])
    return (np.abs(local) < np.array(half) + slack).all(-1)


def overlap_by_points(a, a_half, b, b_half):
    """A fine grid of one rectangle's points, asked whether they lie in the other."""
    u = np.linspace(-1, 1, 61)
    grid = np.stack(np.meshgrid(u, u), -1).reshape(-1, 2) * a_half
    c, s = math.cos(a[2]), math.sin(a[2])
    return bool(inside(grid @ np.array([[c, s], [-s, c]]) + a[:2], b, b_half).any())


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_overlap_against_grids_of_points(seed):
    draws = np.random.default_rng(seed)
    a, b = (np.array([*draws.uniform(-1, 1, 2), draws.uniform(-4, 4)]) for _ in range(2))
    a_half, b_half = draws.uniform(0.1, 0.8, (2, 2))
    found = overlap(a, a_half, b, b_half)
    assert found == overlap(b, b_half, a, a_half)
    if overlap_by_points(a, a_half, b, b_half):
        assert found
    if found:  # a grid misses slivers: grown by two of its steps it must meet
        grown = overlap_by_points(a, a_half * 1.05 + 0.03, b, b_half * 1.05 + 0.03)
        assert grown


def test_arrangements_keep_apart_and_on_the_floor(rooms):
    for room in rooms:
        for draw in range(6):
            places = room.arrangement(draw)
            for i, (place, half) in enumerate(zip(places, room.half_sizes, strict=True)):
                assert (np.abs(corners(place, half)) <= np.array(room.size_m) / 2 + 1e-9).all()
                for other, size in zip(places[:i], room.half_sizes[:i], strict=True):
                    assert not overlap_by_points(place, half, other, size)
    # wrong on purpose: all at one place
    piled = np.zeros((2, 3))
    assert overlap_by_points(piled[0], rooms[0].half_sizes[0], piled[1], rooms[0].half_sizes[1])


def test_arrangements_depend_on_their_numbers_alone(rooms):
    again = make_rooms(1)[0]
    assert np.array_equal(again.arrangement(4), rooms[0].arrangement(4))
    assert all(np.array_equal(a.vertices, b.vertices)
               for a, b in zip(again.meshes, rooms[0].meshes, strict=True))  # fmt: skip
    assert not np.array_equal(rooms[0].arrangement(0), rooms[0].arrangement(1))
    other = make_rooms(1, seed=1)[0]
    assert other.size_m != again.size_m
    assert len({room.object_names for room in rooms}) == 3


def test_motions_between_arrangements_are_exact_and_planar(rooms):
    pieces = room_clouds(rooms, arrangements=3, points=400)
    assert len(pieces) == 9 and pieces.clouds.shape == (9, 400, 3)
    a, b = torch.tensor([0, 4, 8]), torch.tensor([2, 3, 6])
    moved = pieces.action(a)(pieces.motion(a, b), pieces.clouds[a])
    torch.testing.assert_close(moved, pieces.clouds[b], atol=1e-12, rtol=0)
    torch.testing.assert_close(
        pieces.clouds[a][..., 2], pieces.clouds[b][..., 2], atol=1e-14, rtol=0
    )
    planar = pieces.elements[..., [0, 1, 3], :][..., [0, 1, 3]]
    assert bool(SE2().contains(planar).all())
    floor = pieces.point_parts == 0
    assert torch.equal(pieces.clouds[0][floor[0]], pieces.clouds[2][floor[2]])
    assert floor.sum(1).tolist() == [100] * 9
    assert float(pieces.clouds[..., 2].min()) > -1e-12
    one_shot = pieces[pieces.labels == 1]
    assert len(one_shot) == 3 and one_shot.labels.unique().tolist() == [1]
    more = room_clouds(rooms, arrangements=4, points=400)
    assert torch.equal(more.clouds[[0, 1, 2]], pieces.clouds[:3])


def nearest(triangles, points):
    """Distance of each point to the nearest of all triangles, and which that is."""
    found = [
        np.linalg.norm(
            trimesh.triangles.closest_point(triangles, np.tile(x, (len(triangles), 1))) - x, axis=1
        )
        for x in points
    ]
    return np.min(found, 1), np.argmin(found, 1)


def test_points_lie_on_the_posed_mesh(rooms):
    room = rooms[0]
    pieces = room_clouds([room], arrangements=2, points=300)
    mesh = room.mesh(room.arrangement(1))
    x = pieces.clouds[1].numpy()
    distance, face = nearest(mesh.vertices[mesh.faces], x)
    assert distance.max() < 1e-9
    assert (room.surface[2][face] == pieces.point_parts[1].numpy()).mean() > 0.97
    other = room.mesh(room.arrangement(0)).vertices[mesh.faces]
    assert nearest(other, x)[0].max() > 0.1


def test_scans_see_surfaces_that_are_not_hidden(rooms):
    room = rooms[1]
    mesh = room.mesh(room.arrangement(0))
    scan = scan_room(room, 0, cameras=1, points=300)
    surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    distance, face = nearest(surface.triangles, scan.points.numpy())
    assert distance.max() < 1e-4
    assert (room.surface[2][face] == scan.parts.numpy()).mean() > 0.97  # but where two parts touch
    camera = corner_cameras(room)[0]
    origin = np.array(camera.position)
    # nothing lies between the camera and the points: a ray to just before each meets nothing
    away = scan.points.numpy() - origin
    length = np.linalg.norm(away, axis=1)
    a, e1, e2 = _triangles(surface)
    blocked = [_first_hit(origin, d, a, e1, e2) < 1 - 0.01 / t
               for d, t in zip(away[:80], length[:80], strict=True)]  # fmt: skip
    assert not any(blocked)
    both = scan_room(room, 0, cameras=4, points=4000)
    assert len(both.parts.unique()) >= len(scan.parts.unique())
    assert torch.equal(scan.points, scan_room(room, 0, cameras=1, points=300).points)


def _triangles(surface):
    t = surface.triangles
    return t[:, 0], t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]


def _first_hit(origin, ray, a, e1, e2):
    h = np.cross(ray, e2)
    with np.errstate(divide="ignore", invalid="ignore"):
        det = np.einsum("fi,fi->f", e1, h)
        u = np.einsum("fi,fi->f", origin - a, h) / det
        q = np.cross(origin - a, e1)
        v, t = q @ ray / det, np.einsum("fi,fi->f", e2, q) / det
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-9)
    return t[hit].min() if hit.any() else np.inf


def test_seen_points_against_rays(rooms):
    room = rooms[0]
    pieces = room_clouds([room], arrangements=1, points=600)
    mesh, camera = room.mesh(room.arrangement(0)), corner_cameras(room)[0]
    image = get("embree").render(Scene(mesh, camera=camera, floor=None), 256)
    x = pieces.clouds[0].numpy()
    seen = seen_points(x, image, camera)
    a, e1, e2 = _triangles(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False))
    origin = np.array(camera.position)
    free = np.array([_first_hit(origin, p - origin, a, e1, e2) > 1 - 1e-6 for p in x])
    points, _ = depth_points(image, camera)
    hidden, right = ~free, seen == free
    inside_picture = seen_points(x, image, camera, tolerance=1e3)
    assert len(points) > 1000 and hidden[inside_picture].mean() > 0.2
    assert right[inside_picture].mean() > 0.95
    assert inside_picture.mean() > 0.8 and not seen[~inside_picture].any()
    below = np.array([0.0, 0.0, -1.0])
    assert not seen_points(x + below, image, camera)[inside_picture].any()


def test_scans_of_other_meshes_show_their_parts():
    source = ArticulatedMeshes(instances=1, classes=["drawer"])
    (entry,) = source.entries()
    thing, state = source.object(entry), source.state(entry, 0)
    cameras = [Camera(position=(x, 0.4, 1.2)) for x in (1.8, -1.8)]
    mesh, draws = thing.posed(state), np.random.default_rng(0)
    x, part = scan_mesh(mesh, thing.face_parts, cameras, points=200, generator=draws)
    distance, face = nearest(mesh.vertices[mesh.faces], x)
    assert distance.max() < 1e-5 and (thing.face_parts[face] == part).mean() > 0.97
    front, _ = scan_mesh(mesh, thing.face_parts, cameras[:1], points=200, generator=draws)
    backwards = face_normals(mesh.vertices, mesh.faces)[0][:, 0] < -0.9
    seen = nearest(mesh.vertices[mesh.faces], front)[1]
    assert not backwards[seen].any() and backwards[face].mean() > 0.2
    with pytest.raises(ConventionError, match="that see"):
        away = Camera(position=(3.0, 0.0, 0.0), target=(9.0, 0.0, 0.0))
        scan_mesh(mesh, thing.face_parts, [away], points=5, generator=draws)
    with pytest.raises(ConventionError, match="1 camera"):
        scan_mesh(mesh, thing.face_parts, [], points=5, generator=draws)


def test_rooms_of_any_meshes(real_data):
    assert len(make_rooms(1, source=ProceduralMeshes(instances=1), objects=(2, 2))[0].meshes) == 2
    folder = real_data / "lowpoly_cc0"
    if not folder.is_dir():
        pytest.skip(f"no meshes in {folder}")
    room = make_rooms(1, source=MeshFolder(folder), objects=(4, 4))[0]
    pieces = room_clouds([room], arrangements=2)
    assert pieces.clouds.isfinite().all() and len(pieces.part_names) == 5


@pytest.mark.parametrize("label", FurnitureMeshes.all_classes())
def test_furniture_is_closed_and_stands(label):
    source = FurnitureMeshes(instances=3, classes=[label])
    for entry in source.entries():
        mesh = source.load(entry)
        assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).is_watertight
        assert source.describe()["source"] == "furniture"
    assert not np.array_equal(mesh.vertices, source.load(source.entries()[0]).vertices)


def test_refusals(rooms):
    with pytest.raises(ConventionError, match="larger"):
        arrange(np.full((5, 2), 1.0), (1.5, 1.5), generator=np.random.default_rng(0))
    for bad in ({"objects": (0, 3)}, {"size_m": (3.0, 2.0)}, {"object_size_m": (-1.0, 1.0)}):
        with pytest.raises(ConventionError, match=next(iter(bad))):
            make_rooms(1, **bad)
    with pytest.raises(ConventionError, match="count"):
        make_rooms(0)
    with pytest.raises(ConventionError, match="draw"):
        rooms[0].arrangement(-1)
    for bad in ({"arrangements": 0}, {"points": 1}, {"floor_share": 1.0}):
        with pytest.raises(ConventionError, match="arrangements"):
            room_clouds(rooms, **bad)
    with pytest.raises(ConventionError, match="cameras"):
        scan_room(rooms[0], 0, cameras=5)
    image = get("embree").render(Scene(rooms[0].meshes[0]), 8)
    blind = type(image)(image.rgb, image.depth, image.normals, image.mask, image.shadow)
    with pytest.raises(DataFormatError, match="faces"):
        depth_points(blind, corner_cameras(rooms[0])[0])
    assert room_clouds(rooms[:1], arrangements=1, floor_share=0.0, points=50).parts.min() == 1
