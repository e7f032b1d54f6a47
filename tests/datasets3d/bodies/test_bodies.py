"""Capsules, bodies and their clouds, against distances to the posed bones; splits; subjects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets3d import read_motion
from datasets3d.bodies import (
    BONE_GROUPS,
    CMU_ACTIONS,
    HUMAN,
    Body,
    BodyPart,
    body_clouds,
    capsule,
    inside_capsule,
    split_frames,
    synthetic_subjects,
)
from datasets3d.bodies.subjects import stature
from datasets3d.clouds.piece_clouds import PieceClouds, join, move_pieces
from equivariant.actions import Piecewise
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SE3
from renderers import get
from renderers.scene import Camera, Scene

UP = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
ROUND_LIMBS = [n for n, p in HUMAN.items() if p.bone[1:] in ("femur", "tibia", "humerus")]


def distance_to_segment(x, a, b):
    along = b - a
    share = ((x - a) @ along / (along @ along)).clamp(0.0, 1.0)
    return (x - a - share[:, None] * along).norm(dim=-1), share


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6), radius=st.floats(0.01, 1.0), ratio=st.floats(0.3, 1.0),
    length=st.sampled_from([0.0, 1e-9, 0.1, 2.0]),
)  # fmt: skip
def test_capsules_are_closed_and_face_outwards(seed, radius, ratio, length):
    draws = np.random.default_rng(seed)
    start, axis = draws.normal(size=3), draws.normal(size=3)
    end = start + length * axis / np.linalg.norm(axis)
    end = start if length == 0.0 else end
    vertices, faces = capsule(start, end, radius=radius, end_radius=ratio * radius, depth=0.8)
    solid = trimesh.Trimesh(vertices, faces, process=False)
    assert solid.is_watertight and solid.is_winding_consistent and solid.volume > 0.0
    inside = trimesh.Trimesh(vertices, faces[:, ::-1], process=False)
    assert inside.volume < 0.0  # wrong on purpose: inside out


def test_vertices_of_a_round_capsule_are_at_its_radius():
    a, b = torch.tensor([0.1, 0.2, 0.3]).double(), torch.tensor([1.0, -0.4, 0.5]).double()
    vertices, _ = capsule(a.numpy(), b.numpy(), radius=0.25)
    gap, _ = distance_to_segment(torch.from_numpy(vertices), a, b)
    torch.testing.assert_close(gap, torch.full_like(gap, 0.25), atol=1e-12, rtol=0)
    straight = capsule(a.numpy(), b.numpy(), radius=0.25, front=tuple((b - a).tolist()))
    gap, _ = distance_to_segment(torch.from_numpy(straight[0]), a, b)
    torch.testing.assert_close(gap, torch.full_like(gap, 0.25), atol=1e-12, rtol=0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), ratio=st.floats(0.4, 1.0), depth=st.floats(0.5, 1.0),
       length=st.sampled_from([0.0, 0.3, 2.0]))  # fmt: skip
def test_inside_of_capsules_is_below_their_surface(seed, ratio, depth, length):
    draws = np.random.default_rng(seed)
    start, axis = draws.normal(size=3), draws.normal(size=3)
    end = start + length * axis / np.linalg.norm(axis)
    shape = {"radius": 0.3, "end_radius": 0.3 * ratio, "depth": depth, "front": (0.1, 1.0, 0.2)}
    if length == 0.0:
        shape["end_radius"] = 0.3
    vertices, _ = capsule(start, end, **shape)
    # towards the nearest point of the axis, and away from it
    along = end - start
    share = np.clip((vertices - start) @ along / max(along @ along, 1e-30), 0.0, 1.0)
    core = start + share[:, None] * along
    assert inside_capsule(core + 0.98 * (vertices - core), start, end, **shape).all()
    assert not inside_capsule(core + 1.02 * (vertices - core), start, end, **shape).any()


def test_inner_points_are_those_inside_of_other_parts(motions):
    (body,) = synthetic_subjects(motions["a_1"].skeleton, count=1)
    x, parts = (t.numpy() for t in body.sample(3000, seed=0))
    hidden = body.hidden(x, parts)
    assert 0.05 < hidden.mean() < 0.4
    kept, kept_parts = (t.numpy() for t in body.sample(3000, seed=0, inner=False))
    assert not body.hidden(kept, kept_parts).any()
    assert np.array_equal(kept[~hidden], x[~hidden])  # the others stay as they are
    assert set(kept_parts) == set(range(14))
    outer = body_clouds(motions, [("a_1", 0)], bodies=[body], points=500, inner=False)
    still = [body.hidden(outer.rest[k].numpy(), outer.parts[k].numpy()).any() for k in range(4)]
    assert not any(still)


def limb_error(motions, pieces, bodies, shown):
    """How far points of round limbs are from the surface around the posed bones, metres."""
    worst = 0.0
    for row, (name, t) in enumerate(shown):
        body = bodies[int(pieces.labels[row])]
        joints = motions[name].on(body.skeleton).positions[t]
        for limb in ROUND_LIMBS:
            part = body.parts[limb]
            x = pieces.clouds[row][pieces.point_parts[row] == body.part_names.index(limb)]
            a, b = (joints[body.skeleton.index(j)] @ UP.mT for j in (part.start, part.end))
            # the root's way is scaled and centred: compare with the limb moved there
            offset = pieces.elements[row, 0, :3, 3] - (joints[0] @ UP.mT)
            gap, share = distance_to_segment(x, a + offset, b + offset)
            inner = (share > 0.0) & (share < 1.0)
            radius = part.radius_m + share * (part.end_radius_m - part.radius_m)
            assert len(x) > 20
            worst = max([worst, *(gap - radius)[inner].abs().tolist()])
    return worst


def test_points_stay_on_their_bones(motions):
    bodies = synthetic_subjects(motions["a_1"].skeleton, count=2)
    shown = [("a_1", 0), ("a_1", 29), ("b_2", 7)]
    pieces = body_clouds(motions, shown, bodies=bodies, points=1500)
    assert pieces.clouds.shape == (3, 1500, 3)
    error = limb_error(motions, pieces, bodies, shown)
    assert error < 2e-3  # flat triangles lie up to 1.3 % of the radius below the round surface
    # wrong on purpose: frames in another order
    assert limb_error(motions, pieces, bodies, shown[::-1]) > 0.05


def test_meshes_of_bodies_are_posed_as_their_points_are(motions):
    (body,) = synthetic_subjects(motions["a_1"].skeleton, count=1)
    elements = body.elements(motions["a_1"], torch.tensor([4]))[0]
    still, moved = body.mesh(), body.mesh(elements)
    parts = torch.from_numpy(body.surface[2]).repeat_interleave(3)
    corners = torch.from_numpy(still.vertices[still.faces.reshape(-1)])
    expected = move_pieces(elements, corners, parts).numpy()
    np.testing.assert_allclose(moved.vertices[moved.faces.reshape(-1)], expected, atol=1e-13)
    image = get("embree").render(Scene(moved, camera=Camera(position=(0.0, -4.0, 1.0))), 64)
    assert np.array_equal(image.faces >= 0, image.mask) and image.mask.sum() > 100
    # faces look outwards still
    normals = np.cross(*(moved.vertices[moved.faces[:, k]] - moved.vertices[moved.faces[:, 0]]
                         for k in (1, 2)))  # fmt: skip
    assert (np.einsum("fi,fi->f", normals, moved.corner_normals[:, 0]) > 0).all()


def test_motions_between_clouds_are_exact(motions):
    bodies = synthetic_subjects(motions["a_1"].skeleton, count=2)
    frames = [("a_1", t) for t in range(0, 30, 6)] + [("b_1", 3)]
    pieces = body_clouds(motions, frames, bodies=bodies, points=300, samples=1, subjects="all")
    assert len(pieces) == 12 and pieces.labels.tolist() == [0, 1] * 6
    a, b = torch.tensor([0, 2, 5, 11]), torch.tensor([4, 10, 3, 1])
    g = pieces.motion(a, b)
    action = pieces.action(a)
    assert isinstance(action, Piecewise) and action.group.contains(g).all()
    torch.testing.assert_close(action(g, pieces.clouds[a]), pieces.clouds[b], atol=1e-13, rtol=0)
    assert (action(g, pieces.clouds[b]) - pieces.clouds[b]).abs().max() > 0.1
    one = pieces.action(0)(pieces.motion(0, 4), pieces.clouds[0])
    torch.testing.assert_close(one, pieces.clouds[4], atol=1e-13, rtol=0)
    with pytest.raises(ConventionError, match="same objects"):
        pieces.motion(0, 1)


def test_clouds_are_centred_and_stand(motions):
    body = synthetic_subjects(motions["a_1"].skeleton, count=1)
    free = body_clouds(motions, [("a_1", 3)], bodies=body, centred=False)
    centred = body_clouds(motions, [("a_1", 3)], bodies=body)
    shift = free.clouds - centred.clouds
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift))
    assert abs(float(shift[0, 0, 2])) < 1e-12
    assert centred.elements[0, 0, :2, 3].abs().max() < 1e-12  # the pelvis moves with the root


def test_a_cloud_depends_on_its_frame_alone(motions):
    bodies = synthetic_subjects(motions["a_1"].skeleton, count=3)
    frames = [("a_2", 4), ("b_1", 9), ("b_1", 10), ("a_1", 0)]
    together = body_clouds(motions, frames, bodies=bodies, points=50)
    turned = body_clouds(motions, frames[::-1], bodies=bodies, points=50)
    assert torch.equal(together.clouds, turned.clouds.flip(0))
    assert torch.equal(together.point_parts, turned.point_parts.flip(0))
    other = body_clouds(motions, frames, bodies=bodies, points=50, seed=1)
    assert not torch.equal(together.clouds, other.clouds)


def test_subjects_differ_in_proportions_not_in_size(motions):
    skeleton = motions["a_1"].skeleton
    bodies = synthetic_subjects(skeleton)
    assert len(bodies) == 10
    tall = [stature(body.skeleton) for body in bodies]
    assert tall == pytest.approx([stature(skeleton)] * 10, rel=1e-12)
    lengths = torch.stack([body.skeleton.lengths_m for body in bodies])
    assert float(torch.pdist(lengths).min()) > 0.03
    for bones in BONE_GROUPS.values():
        own = lengths[:, [skeleton.index(bone) for bone in bones]]
        ratio = own / skeleton.lengths_m[[skeleton.index(bone) for bone in bones]]
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    free = synthetic_subjects(skeleton, equally_tall=False, girth_spread=0.2)
    assert np.std([stature(body.skeleton) for body in free]) > 0.01
    assert len({body.girths["head"] for body in free}) == 10
    more = synthetic_subjects(skeleton, count=12)
    assert all(torch.equal(a.skeleton.offsets_m, b.skeleton.offsets_m)
               for a, b in zip(bodies, more, strict=False))  # fmt: skip
    covered = sorted(bone for bones in BONE_GROUPS.values() for bone in bones)
    assert covered == sorted(skeleton.names[1:])


@pytest.mark.parametrize("kind", ["random frames", "unseen sequences", "unseen action"])
def test_splits_hold_every_frame_once(motions, kind):
    actions = {"a_1": "walk", "a_2": "walk", "b_1": "jump", "b_2": "walk"}
    splits = split_frames(motions, kind, every=3, actions=actions, shares=(2, 1, 1))
    every = sorted((name, t) for name, m in motions.items() for t in range(0, len(m), 3))
    assert sorted(frame for part in splits.values() for frame in part) == every
    clips = {part: {name for name, _ in frames} for part, frames in splits.items()}
    if kind == "random frames":
        assert clips["train"] & clips["test"]
        assert len(splits["test"]) == pytest.approx(len(every) / 4, abs=1)
    else:
        assert not clips["train"] & clips["test"] and not clips["train"] & clips["val"]
    if kind == "unseen action":
        assert clips["test"] == {"b_1"}
    assert splits == split_frames(
        dict(reversed(motions.items())), kind, every=3, actions=actions, shares=(2, 1, 1)
    )


def test_subjects_are_told_apart_with_poses_not_seen(motions):
    bodies = synthetic_subjects(motions["a_1"].skeleton, count=3)
    splits = split_frames(motions, "unseen sequences", every=10, shares=(2, 1, 1))
    sets = {part: body_clouds(motions, frames, bodies=bodies, points=20, subjects="all")
            for part, frames in splits.items()}  # fmt: skip
    for part, frames in splits.items():
        assert sets[part].labels.bincount().tolist() == [len(frames)] * 3
    # relative poses of two parts are not shared between training and test
    poses = {part: (SE3().inverse(s.elements[:, 0]) @ s.elements[:, 5])[:, :3, :3].flatten(1)
             for part, s in sets.items()}  # fmt: skip
    assert float(torch.cdist(poses["train"], poses["test"]).min()) > 1e-3


def test_refusals(motions):
    skeleton = motions["a_1"].skeleton
    bodies = synthetic_subjects(skeleton, count=1)
    for settings_, match in (
        ({"frames": []}, "frames"), ({"frames": [("a_1", 30)]}, "not there"),
        ({"frames": [("c", 0)]}, "not there"), ({"points": 0}, "points"), ({"seed": -1}, "seed"),
        ({"bodies": []}, "bodies"), ({"subjects": "some"}, "subjects"),
    ):  # fmt: skip
        given = {"frames": [("a_1", 0)], "bodies": bodies, **settings_}
        with pytest.raises((ConventionError, TypeError), match=match):
            body_clouds(motions, given.pop("frames"), **given)
    with pytest.raises(ConventionError, match="tail"):
        Body(skeleton, {"tail": BodyPart("root", "root", "tail", 0.1, 0.1)})
    with pytest.raises(ConventionError, match="girths"):
        Body(skeleton, girths={"tail": 1.0})
    with pytest.raises(ConventionError, match="count"):
        synthetic_subjects(skeleton, count=0)
    with pytest.raises(ConventionError, match="unknown: a_1"):
        split_frames(motions, "unseen action")
    with pytest.raises(ConventionError, match="every"):
        split_frames(motions, "random frames", every=0)
    pieces = body_clouds(motions, [("a_1", 0)], bodies=bodies, points=10)
    with pytest.raises(ShapeError, match="elements"):
        replace(pieces, elements=pieces.elements[:, :3])
    with pytest.raises(ConventionError, match="object_id"):
        replace(pieces, object_id=pieces.object_id + 4)
    assert len(pieces[:0]) == 0 and pieces[:0].clouds.shape == (0, 10, 3)


def test_pieces_move_as_the_action_does():
    g = SE3().sample(5, 3, generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parts = torch.tensor([0, 1, 2, 2, 1, 0, 0, 1]).expand(5, 8)
    action = Piecewise(SE3(), parts)
    torch.testing.assert_close(join(g), action.group.join(list(g.unbind(1))))
    torch.testing.assert_close(move_pieces(g, x, parts), action(join(g), x))
    assert isinstance(PieceClouds.__doc__, str)


def test_real_motions(real_data):
    folder = real_data / "cmu_mocap" / "02"
    if not folder.is_dir():
        pytest.skip(f"no motions in {folder}")
    motions = {k: read_motion(folder / "02.asf", folder / f"{k}.amc") for k in ("02_01", "02_04")}
    assert set(motions) <= set(CMU_ACTIONS)
    splits = split_frames(motions, "unseen action", every=120)
    bodies = synthetic_subjects(motions["02_01"].skeleton)
    pieces = body_clouds(motions, splits["test"], bodies=bodies)
    low, high = pieces.clouds.amin((0, 1)), pieces.clouds.amax((0, 1))
    assert -0.15 < low[2] < 0.1 and 1.3 < high[2] < 2.1
    assert float(pieces.point_parts[0].bincount(minlength=14).min()) > 20
