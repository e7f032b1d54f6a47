"""Procedural objects: determinism, independence, and no symmetry that a rotation could hide in."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from datasets3d.meshes import ProceduralMeshes
from datasets3d.meshes.designs import DESIGNS
from datasets3d.meshes.normalize import Triangles, normalize
from datasets3d.meshes.procedural import palette
from equivariant.errors import ConventionError, DataFormatError

NEAR = 0.04  # of the box diagonal
LIMIT = 0.85  # share of the turned surface that may lie near the unturned one


def surface(mesh, count, generator):
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    face = generator.choice(len(area), count, p=area / area.sum())
    u, v = np.sqrt(generator.random((count, 1))), generator.random((count, 1))
    weights = np.hstack((1 - u, u * (1 - v), u * v))
    return np.einsum("nk,nki->ni", weights, corners[face])


def rotations():
    """The 23 of the cube, turns about the vertical, and random ones, all of 45 degrees or more."""
    generator = np.random.default_rng(7)
    cube = Rotation.create_group("O").as_matrix()
    chosen = [r for r in cube if np.trace(r) < 2.9]
    turns = np.arange(2, 15) * np.pi / 8
    chosen += list(Rotation.from_rotvec(turns[:, None] * [0, 0, 1]).as_matrix())
    while len(chosen) < 90:
        turn = Rotation.from_quat(generator.normal(size=4))
        if turn.magnitude() > np.pi / 4:
            chosen.append(turn.as_matrix())
    return chosen


ROTATIONS = rotations()


def worst_overlap(mesh):
    generator = np.random.default_rng(0)
    tree = KDTree(surface(mesh, 2500, generator))
    probe = surface(mesh, 1200, generator)
    own = np.mean(tree.query(probe)[0] < NEAR)
    turned = [np.mean(tree.query(probe @ r.T)[0] < NEAR) for r in ROTATIONS]
    return float(own), float(max(turned))


@pytest.mark.parametrize("label", sorted(DESIGNS))
def test_no_rotation_keeps_the_shape(label):
    source = ProceduralMeshes(instances=2, classes=[label], seed=3)
    for entry in source.entries():
        own, turned = worst_overlap(source.load(entry))
        assert own > 0.98
        assert turned < LIMIT


@pytest.mark.parametrize(
    "solid",
    [
        trimesh.creation.box((1, 2, 3)),
        trimesh.creation.cylinder(1, 3),
        trimesh.creation.cone(1, 2),
        trimesh.creation.torus(2, 0.5),
    ],
    ids=["box", "cylinder", "cone", "torus"],
)
def test_the_test_sees_symmetry(solid):
    triangles = Triangles(np.asarray(solid.vertices), np.asarray(solid.faces, np.int32))
    assert worst_overlap(normalize(triangles, name="solid", up="z"))[1] > 0.95


def test_a_small_knob_does_not_pass_for_asymmetry():
    solid = trimesh.util.concatenate(
        [
            trimesh.creation.cylinder(1, 3),
            trimesh.creation.icosphere(1, 0.2).apply_translation((1, 0, 0)),
        ]
    )
    triangles = Triangles(np.asarray(solid.vertices), np.asarray(solid.faces, np.int32))
    assert worst_overlap(normalize(triangles, name="solid", up="z"))[1] > LIMIT


def test_meshes_keep_the_contract():
    source = ProceduralMeshes(instances=2)
    entries = source.entries()
    assert entries == sorted(entries)
    assert len(ProceduralMeshes.all_classes()) == 16
    for entry in entries:
        mesh = source.load(entry)
        assert np.linalg.norm(np.ptp(mesh.vertices, axis=0)) == pytest.approx(1.0)
        np.testing.assert_allclose(mesh.vertices.max(0), -mesh.vertices.min(0), atol=1e-12)
        assert mesh.vertices.dtype == np.float64
        assert mesh.faces.dtype == np.int32
        assert mesh.face_colors.shape == mesh.faces.shape
        assert len(mesh.faces) < 2000
        assert 4 <= len(np.unique(mesh.face_colors, axis=0)) <= 8
        length = np.linalg.norm(mesh.corner_normals, axis=2)
        np.testing.assert_allclose(length, 1.0, atol=1e-5)


@pytest.mark.parametrize("label", sorted(DESIGNS))
def test_solids_are_closed_and_face_outwards(label):
    source = ProceduralMeshes(instances=1, classes=[label])
    mesh = source.load(source.entries()[0])
    whole = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert whole.is_watertight
    assert whole.is_winding_consistent
    assert all(part.volume > 0 for part in whole.split())


def same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("vertices", "faces", "corner_normals", "face_colors")
    )


def test_an_instance_depends_on_seed_class_and_number_alone():
    few = ProceduralMeshes(instances=2, classes=["truck"], seed=5)
    many = ProceduralMeshes(instances=9, seed=5, val_fraction=0.5)
    chosen = {entry.object_id: entry for entry in many.entries()}
    for entry in reversed(few.entries()):
        assert same(few.load(entry), many.load(chosen[entry.object_id]))


def test_other_seeds_numbers_and_classes_give_other_objects():
    a = ProceduralMeshes(instances=2, classes=["truck", "chair"], seed=5)
    b = ProceduralMeshes(instances=2, classes=["truck", "chair"], seed=6)
    loaded = [s.load(e) for s in (a, b) for e in s.entries()]
    for i, first in enumerate(loaded):
        for second in loaded[:i]:
            assert not same(first, second)


def test_the_split_is_exact_and_stable():
    source = ProceduralMeshes(instances=50, classes=["axe"], val_fraction=0.2)
    splits = [entry.split for entry in source.entries()]
    assert splits.count("val") == 10
    shorter = ProceduralMeshes(instances=20, classes=["axe"], val_fraction=0.2)
    assert [entry.split for entry in shorter.entries()] == splits[:20]
    for fraction, expected in ((0.0, "train"), (1.0, "val")):
        all_one = ProceduralMeshes(instances=3, classes=["axe"], val_fraction=fraction)
        assert {entry.split for entry in all_one.entries()} == {expected}


def test_colors_say_nothing_about_the_class():
    """Mean hues of classes differ no more than those of random halves of one class."""
    source = ProceduralMeshes(instances=40)
    means: dict[str, list[np.ndarray]] = {}
    for entry in source.entries():
        mesh = source.load(entry)
        means.setdefault(entry.label, []).append(mesh.face_colors.mean(0))
    centers = np.array([np.mean(values, axis=0) for values in means.values()])
    spread = np.std(np.concatenate(list(means.values())), axis=0)
    assert np.all(np.abs(centers - centers.mean(0)) < 0.6 * spread + 12)


def test_the_colors_of_a_palette_differ():
    for seed in range(200):
        colors = palette(np.random.default_rng(seed)).astype(int)
        apart = np.abs(colors[:, None] - colors[None]).sum(2)[~np.eye(8, dtype=bool)]
        assert apart.min() > 12
        assert np.abs(np.diff(colors.max(1))).min() > 20


@pytest.mark.parametrize(
    "settings",
    [
        {"instances": 0},
        {"instances": 1, "seed": -1},
        {"instances": 1, "val_fraction": 1.5},
        {"instances": 1, "classes": ["unicorn"]},
        {"instances": 1, "classes": []},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(ConventionError):
        ProceduralMeshes(**settings)


def test_entries_of_another_source_are_refused():
    foreign = ProceduralMeshes(instances=5, classes=["chair"]).entries()[-1]
    with pytest.raises(DataFormatError, match="chair-000004"):
        ProceduralMeshes(instances=2).load(foreign)
    with pytest.raises(DataFormatError, match="chair-000004"):
        ProceduralMeshes(instances=9, classes=["axe"]).load(foreign)


def test_describe_holds_the_settings():
    source = ProceduralMeshes(instances=3, classes=["truck", "axe"], seed=4)
    described = source.describe()
    assert described["classes"] == "axe,truck"
    assert (described["instances"], described["seed"]) == (3, 4)
