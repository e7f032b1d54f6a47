"""Corner normals and normalization, against slow loops and hand-made cases."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest
import trimesh

from datasets3d.meshes.normalize import GREY, Triangles, normalize
from datasets3d.meshes.normals import corner_normals, face_normals, weld
from equivariant.errors import DataFormatError


def by_loops(vertices, faces, crease_rad):
    """The definition, read out: O(faces²)."""
    unit, angle = [], []
    for face in faces:
        a, b, c = vertices[face]
        n = np.cross(b - a, c - a)
        unit.append(n / np.linalg.norm(n))
        spans = []
        for k in range(3):
            p, q, r = (vertices[face[(k + i) % 3]] for i in range(3))
            u, v = (q - p) / np.linalg.norm(q - p), (r - p) / np.linalg.norm(r - p)
            spans.append(math.acos(np.clip(u @ v, -1, 1)))
        angle.append(spans)
    out = np.zeros((len(faces), 3, 3))
    for f, face in enumerate(faces):
        for k in range(3):
            for g, other in enumerate(faces):
                for m in range(3):
                    same = np.allclose(vertices[face[k]], vertices[other[m]], atol=1e-9)
                    between = math.acos(np.clip(unit[f] @ unit[g], -1, 1))
                    if same and between <= crease_rad + 1e-4:
                        out[f, k] += angle[g][m] * unit[g]
            out[f, k] /= np.linalg.norm(out[f, k])
    return out


def arrays(mesh):
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int32)


@pytest.mark.parametrize("crease_deg", [0.0, 30.0, 70.0, 180.0])
@pytest.mark.parametrize(
    "mesh",
    [
        trimesh.creation.box((1, 2, 3)),
        trimesh.creation.uv_sphere(1, count=(3, 6)),
        trimesh.creation.cylinder(1, 2, sections=12),
        trimesh.creation.cone(1, 1, sections=9),
    ],
    ids=["box", "ball", "cylinder", "cone"],
)
def test_agree_with_the_loop(mesh, crease_deg):
    vertices, faces = arrays(mesh)
    crease = math.radians(crease_deg)
    got = corner_normals(vertices, faces, crease_rad=crease)
    np.testing.assert_allclose(got, by_loops(vertices, faces, crease), atol=2e-6)


def test_a_cylinder_is_round_with_flat_lids():
    vertices, faces = arrays(trimesh.creation.cylinder(1, 2, sections=16))
    normals = corner_normals(vertices, faces)
    lid = np.abs(face_normals(vertices, faces)[0][:, 2]) > 0.9
    radial = vertices[faces] * [1, 1, 0]
    np.testing.assert_allclose(np.abs(normals[lid][..., 2]), 1.0, atol=1e-6)
    np.testing.assert_allclose(normals[~lid], radial[~lid], atol=1e-6)


def test_vertices_split_by_color_are_shaded_as_one():
    vertices, faces = arrays(trimesh.creation.icosphere(2))
    soup, apart = vertices[faces].reshape(-1, 3), np.arange(3 * len(faces), dtype=np.int32)
    together = corner_normals(vertices, faces)
    np.testing.assert_allclose(corner_normals(soup, apart.reshape(-1, 3)), together, atol=1e-6)


def test_crossing_the_limit_of_one_block_changes_nothing(monkeypatch):
    vertices, faces = arrays(trimesh.creation.cone(1, 1, sections=40))
    whole = corner_normals(vertices, faces)
    monkeypatch.setattr("datasets3d.meshes.normals.BLOCK", 64)
    np.testing.assert_array_equal(corner_normals(vertices, faces), whole)


def test_weld_counts_places():
    vertices, faces = arrays(trimesh.creation.icosphere(3))
    number = weld(vertices[faces].reshape(-1, 3))
    assert len(np.unique(number)) == len(vertices)


@pytest.mark.exhaustive  # a machine that does other things besides is slower
def test_a_hundred_thousand_triangles_take_less_than_a_second():
    vertices, faces = arrays(trimesh.creation.icosphere(6))
    faces = np.concatenate((faces, faces[: len(faces) // 2] + len(vertices))).astype(np.int32)
    vertices = np.concatenate((vertices, vertices + 3.0))
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        corner_normals(vertices, faces)
        best = min(best, time.perf_counter() - start)
    assert len(faces) > 100_000
    assert best < 1.0


def box(**colors):
    vertices, faces = arrays(trimesh.creation.box((2, 4, 6)))
    return Triangles(vertices + np.array([10, 20, 30]), faces, **colors)


@pytest.mark.parametrize(("up", "expected"), [("z", (2, 4, 6)), ("y", (2, 6, 4)), ("x", (4, 6, 2))])
def test_up_axes(up, expected):
    mesh = normalize(box(), name="box", up=up)
    extent = np.ptp(mesh.vertices, axis=0)
    np.testing.assert_allclose(extent, np.array(expected) / math.sqrt(56), atol=1e-12)


@pytest.mark.parametrize("up", ["x", "y", "z"])
def test_up_is_a_rotation_that_takes_the_axis_to_z(up):
    axis = "xyz".index(up)
    points = np.vstack((np.eye(3), np.zeros((1, 3))))
    faces = np.array([[0, 1, 2], [0, 1, 3], [1, 2, 3], [0, 2, 3]], np.int32)
    mesh = normalize(Triangles(points, faces), name="corner", up=up)
    moved = (mesh.vertices[:3] - mesh.vertices[3]) * math.sqrt(3)
    np.testing.assert_allclose(moved[axis], [0, 0, 1], atol=1e-12)
    assert np.linalg.det(moved) == pytest.approx(1.0)
    if up == "y":
        np.testing.assert_allclose(moved, [[1, 0, 0], [0, 0, 1], [0, -1, 0]], atol=1e-12)


def test_scales():
    by_diagonal = normalize(box(), name="box", scale="diagonal")
    by_sphere = normalize(box(), name="box", scale="sphere")
    assert np.linalg.norm(np.ptp(by_diagonal.vertices, axis=0)) == pytest.approx(1.0)
    assert np.linalg.norm(by_sphere.vertices, axis=1).max() == pytest.approx(0.5)
    center = (by_diagonal.vertices.max(0) + by_diagonal.vertices.min(0)) / 2
    np.testing.assert_allclose(center, 0.0, atol=1e-12)


def test_flat_faces_and_lonely_vertices_go_with_their_colors():
    vertices, faces = arrays(trimesh.creation.box())
    more = np.vstack((vertices, [[50.0, 0, 0], [60.0, 0, 0], [70.0, 0, 0]]))
    flat = np.array([[0, 0, 1], [8, 9, 10]], np.int32)
    colors = np.arange(42, dtype=np.uint8).reshape(14, 3)
    mesh = normalize(
        Triangles(more, np.vstack((flat, faces)), face_colors=colors), name="box", up="z"
    )
    assert len(mesh.faces) == 12
    assert mesh.face_colors.tolist() == colors[2:].tolist()
    np.testing.assert_allclose(mesh.vertices, vertices / math.sqrt(3), atol=1e-12)


def test_grey_without_color_and_one_source_of_color():
    assert np.all(normalize(box(), name="box").face_colors == GREY)
    both = box(face_colors=np.zeros((12, 3), np.uint8), vertex_colors=np.ones((8, 3), np.uint8))
    mesh = normalize(both, name="box")
    assert mesh.face_colors is None
    assert mesh.vertex_colors.shape == (8, 3)


BAD = {
    "no faces": (np.eye(3), np.zeros((0, 3), np.int32)),
    "not finite": (np.array([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]]), np.array([[0, 1, 2]])),
    "infinite": (np.array([[0, 0, 0], [1, 0, 0], [0, np.inf, 0]]), np.array([[0, 1, 2]])),
    "no extent": (np.ones((3, 3)), np.array([[0, 1, 2]])),
    "only flat faces": (np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]])),
    "too large": (np.eye(3) * 1e200, np.array([[0, 1, 2]])),
    "bad index": (np.eye(3), np.array([[0, 1, 3]])),
    "negative index": (np.eye(3), np.array([[0, 1, -1]])),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals_name_the_file(case):
    vertices, faces = BAD[case]
    triangles = Triangles(vertices.astype(np.float64), faces.astype(np.int32))
    with pytest.raises(DataFormatError, match=r"odd/mesh\.obj"):
        normalize(triangles, name="odd/mesh.obj")


def test_tiny_and_large_coordinates_are_no_reason_to_refuse():
    vertices, faces = arrays(trimesh.creation.icosphere(1))
    shapes = [
        normalize(Triangles(vertices * s, faces), name="ball", up="z").vertices
        for s in (1e-9, 1.0, 1e9)
    ]
    for a, b in pairwise(shapes):
        np.testing.assert_allclose(a, b, atol=1e-12)
