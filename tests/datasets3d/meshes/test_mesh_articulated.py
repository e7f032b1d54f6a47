"""Articulated objects: joints against SciPy's rotations, closed parts, limits, seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from datasets3d.meshes import ArticulatedMeshes, ArticulatedObject, JointLaw, MeshEntry
from datasets3d.meshes.articulated import Joint, Mechanism
from datasets3d.meshes.articulated.parts_assembly import PartsAssembly
from equivariant.errors import ConventionError, DataFormatError, ShapeError
from equivariant.groups import SE3, Product
from renderers.scene import Mesh

CLASSES = ArticulatedMeshes.all_classes()


def things(label, instances=2, **settings):
    source = ArticulatedMeshes(instances=instances, classes=[label], **settings)
    return source, source.entries()


def moved_one_joint_at_a_time(mechanism, state, point, part):
    """Move a point of a part outwards-in: its own joint first, then its parent's, and so on."""
    while part:
        joint, value = mechanism.joints[part - 1], state[part - 1]
        if joint.kind == "hinge":
            turn = Rotation.from_rotvec(value * np.array(joint.axis))
            point = turn.apply(point - np.array(joint.point)) + np.array(joint.point)
        else:
            point = point + value * np.array(joint.axis)
        part = joint.parent
    return point


@pytest.mark.parametrize("label", CLASSES)
def test_elements_against_joints_one_at_a_time(label):
    source, entries = things(label)
    draws = np.random.default_rng(0)
    for entry in entries:
        thing = source.object(entry)
        for k in range(3):
            state = source.state(entry, k)
            elements = thing.mechanism.elements(state)
            for part in range(len(thing.part_names)):
                x = draws.normal(size=3)
                slow = moved_one_joint_at_a_time(thing.mechanism, state, x, part)
                np.testing.assert_allclose((elements[part] @ [*x, 1.0])[:3], slow, atol=1e-13)
        # wrong on purpose: the last part's chain without its parent
        chain = [j for j in thing.mechanism.joints if j.parent]
        if chain:
            alone = Mechanism(thing.part_names, tuple(
                Joint(j.name, j.kind, 0, j.part, j.point, j.axis, j.low, j.high)
                for j in thing.mechanism.joints))  # fmt: skip
            gap = alone.elements(state)[chain[-1].part] - elements[chain[-1].part]
            assert np.abs(gap).max() > 1e-3


@pytest.mark.parametrize("label", CLASSES)
def test_transforms_take_states_to_states(label):
    source, (entry, *_) = things(label)
    thing = source.object(entry)
    a, b, c = (source.state(entry, k) for k in range(3))
    group = Product(*[SE3()] * len(thing.part_names))
    ab = torch.from_numpy(thing.transform(a, b))
    assert bool(group.contains(ab))
    parts = group.split(ab)
    start, end = thing.posed(a).vertices, thing.posed(b).vertices
    for part, g in enumerate(parts):
        own = thing.vertex_parts == part
        moved = start[own] @ g[:3, :3].numpy().T + g[:3, 3].numpy()
        np.testing.assert_allclose(moved, end[own], atol=1e-12, rtol=0)
    bc, ac = (torch.from_numpy(thing.transform(*pair)) for pair in ((b, c), (a, c)))
    torch.testing.assert_close(bc @ ab, ac, atol=1e-12, rtol=0)
    torch.testing.assert_close(parts[0], torch.eye(4, dtype=torch.float64), atol=0, rtol=0)
    assert np.array_equal(thing.transform(a, a).round(12), np.eye(4 * len(parts)))
    both = thing.transform(np.stack([a, b]), np.stack([b, c]))
    np.testing.assert_allclose(both, np.stack([ab, bc]), atol=1e-15)
    assert np.array_equal(thing.posed(thing.mechanism.rest).vertices, thing.mesh.vertices)


@pytest.mark.parametrize("label", CLASSES)
def test_parts_are_closed_and_every_part_moves(label):
    source, entries = things(label, instances=4)
    for entry in entries:
        thing = source.object(entry)
        mesh = thing.mesh
        assert (
            thing.face_parts.max() + 1 == len(thing.part_names) == len(thing.mechanism.joints) + 1
        )
        assert len(np.unique(mesh.vertices[mesh.faces].reshape(-1, 3), axis=0)) > 50
        np.testing.assert_allclose(np.linalg.norm(np.ptp(mesh.vertices, axis=0)), 1.0)
        for solid in np.unique(thing.face_solids):
            own = thing.face_solids == solid
            assert len(np.unique(thing.face_parts[own])) == 1
            found = trimesh.Trimesh(mesh.vertices, mesh.faces[own], process=False)
            assert found.is_watertight and found.is_winding_consistent and found.volume > 0.0
            # convex: every vertex is below the plane of every face
            heights = (found.vertices[np.unique(found.faces)][:, None] - found.triangles[:, 0]
                       ) * found.face_normals  # fmt: skip
            assert heights.sum(-1).max() < 1e-9
        for part in range(len(thing.part_names)):
            whole = trimesh.Trimesh(mesh.vertices, mesh.faces[thing.face_parts == part],
                                    process=False)  # fmt: skip
            assert whole.is_watertight
        holed = trimesh.Trimesh(mesh.vertices, mesh.faces[1:], process=False)
        assert not holed.is_watertight  # wrong on purpose: a face less
        low, high = thing.mechanism.limits.T
        moved = thing.mechanism.elements(low) - thing.mechanism.elements(low + 0.4 * (high - low))
        assert np.abs(moved).max((1, 2))[1:].min() > 0.05
        assert (low <= 0.0).all() and (high >= 0.0).all()


def test_solids_share_no_vertex():
    source, entries = things("excavator", instances=1)
    thing = source.object(entries[0])
    solids = np.full(len(thing.mesh.vertices), -1)
    for solid in np.unique(thing.face_solids):
        own = np.unique(thing.mesh.faces[thing.face_solids == solid])
        assert (solids[own] == -1).all()
        solids[own] = solid


def test_states_keep_their_limits_and_follow_the_law():
    for law in (JointLaw(), JointLaw(0.25, 0.75), JointLaw(1.0, 1.0)):
        source, (entry, _) = things("lamp_arm", law=law)
        low, high = source.object(entry).mechanism.limits.T
        states = np.stack([source.state(entry, k) for k in range(200)])
        share = (states - low) / (high - low)
        assert share.min() >= law.from_share - 1e-12 and share.max() <= law.to_share + 1e-12
        np.testing.assert_allclose(
            share.mean(0), (law.from_share + law.to_share) / 2,
            atol=5 * (law.to_share - law.from_share) / np.sqrt(12 * 200) + 1e-12,
        )  # fmt: skip


def test_objects_and_states_depend_on_their_numbers_alone():
    few, one = ArticulatedMeshes(instances=2, classes=["door"], seed=5), things("door", seed=5)[0]
    many = ArticulatedMeshes(instances=3, seed=5)
    for entry in few.entries():
        a, b = few.object(entry), many.object(entry)
        assert np.array_equal(a.mesh.vertices, b.mesh.vertices)
        assert np.array_equal(a.mesh.face_colors, b.mesh.face_colors)
        assert a.mechanism == b.mechanism
        assert np.array_equal(few.state(entry, 3), many.state(entry, 3))
        assert np.array_equal(few.state(entry, 3), one.state(entry, 3))
        assert not np.array_equal(few.state(entry, 3), few.state(entry, 4))
    first, second = few.entries()
    assert few.object(first).mechanism != few.object(second).mechanism
    other = ArticulatedMeshes(instances=2, classes=["door"], seed=6)
    assert other.object(first).mechanism != few.object(first).mechanism
    assert other.describe() != few.describe()
    assert ArticulatedMeshes(instances=2, classes=["door"], seed=5,
                             law=JointLaw(0.0, 0.5)).describe() != few.describe()  # fmt: skip


def test_points_inside_of_their_part_are_hidden():
    whole = PartsAssembly(np.random.default_rng(0), np.zeros((8, 3), np.uint8))
    whole.base("boxes")
    whole.box(0, (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    whole.box(0, (1.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    whole.slide("other", on="boxes", axis=(0.0, 0.0, 1.0), high=1.0)
    whole.box(0, (0.0, 0.0, 0.0), (0.5, 0.5, 0.5))
    triangles = whole.triangles()
    normals = np.tile(np.float32([0, 0, 1]), (36, 3, 1))
    mesh = Mesh(triangles.vertices, triangles.faces, normals, triangles.face_colors)
    thing = ArticulatedObject(mesh, whole.face_parts, whole.face_solids, whole.mechanism())
    # faces 12-23 are those of the box that sticks out, 24-35 of another part inside
    points = np.array([[0.5, 0.2, 0.1], [1.2, 0.5, 0.1], [1.0, 0.2, 0.0], [0.25, 0.0, 0.0]])
    faces = np.array([12, 12, 0, 24])
    assert thing.hidden(points, faces).tolist() == [True, False, True, False]


def test_refusals():
    source, (entry, _) = things("door")
    thing = source.object(entry)
    with pytest.raises(DataFormatError, match="entry of this source"):
        source.object(MeshEntry("door", "door-000009", None, ""))
    with pytest.raises(ConventionError, match="draw"):
        source.state(entry, -1)
    with pytest.raises(ConventionError, match="classes"):
        ArticulatedMeshes(instances=1, classes=["teapot"])
    with pytest.raises(ShapeError, match="one number per joint"):
        thing.transform(np.zeros(3), np.zeros(3))
    with pytest.raises(ShapeError, match="face_parts"):
        ArticulatedObject(thing.mesh, thing.face_parts[1:], thing.face_solids, thing.mechanism)
    for shares in ((0.5, 0.4), (-0.1, 1.0), (0.0, float("nan"))):
        with pytest.raises(ConventionError, match="from_share"):
            JointLaw(*shares)
    with pytest.raises(ConventionError, match="joints"):
        Mechanism(("a", "b"), ())
    whole = PartsAssembly(np.random.default_rng(0), np.zeros((8, 3), np.uint8))
    whole.base("box")
    with pytest.raises(ConventionError, match="on 'nowhere'"):
        whole.hinge("lid", on="nowhere", point=(0.0,) * 3, axis=(0.0, 0.0, 1.0), high=1.0)
    with pytest.raises(ConventionError, match="about 0"):
        whole.hinge("lid", on="box", point=(0.0,) * 3, axis=(0.0, 0.0, 1.0), low=0.1, high=1.0)
