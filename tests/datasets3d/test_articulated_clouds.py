"""Clouds and pairs of articulated objects: points correspond, and one element per part is exact."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from datasets3d import ArticulatedClouds, ArticulatedMeshes, ArticulatedPairs, JointLaw
from equivariant.actions import Piecewise, Trivial
from equivariant.errors import ConventionError, DataFormatError
from equivariant.groups import GL, O3, SE3, SO3, HaarSampler, NormalSampler
from equivariant.measure import equivariance_error

SOURCE = ArticulatedMeshes(instances=2, classes=["door", "robot_arm", "laptop"], val_fraction=0.5)


@pytest.fixture(scope="module")
def data():
    return ArticulatedClouds(SOURCE, split="all", points=200)


def test_points_are_those_of_rest_moved_with_their_parts(data):
    assert len(data) == 6 and data.part_count == 6
    centers = data.rest.mean(1)
    torch.testing.assert_close(centers, torch.zeros_like(centers), atol=1e-14, rtol=0)
    torch.testing.assert_close(data.rest.norm(dim=-1).amax(1), torch.ones(6, dtype=torch.float64))
    for index, entry in enumerate(data.entries):
        thing, state = SOURCE.object(entry), SOURCE.state(entry, 0)
        elements = data.elements(index, state)
        # rest in the mesh's own coordinates: moved there, then centred and scaled
        size = float(1.0 / _scale(data, index))
        own = thing.mechanism.elements(state)
        for point, part in zip(data.rest[index][:20], data.parts[index][:20].tolist(), strict=True):
            mesh = point.numpy() * size + _center(data, index)
            moved = own[part] @ [*mesh, 1.0]
            got = elements[part, :3, :3] @ point + elements[part, :3, 3]
            expected = (moved[:3] - _center(data, index)) / size
            np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)
        lacking = elements[len(thing.part_names) :]
        torch.testing.assert_close(lacking, torch.eye(4).double().expand_as(lacking))


def _scale(data, index):
    return 1.0 / float(data._sampled[3][index])


def _center(data, index):
    return data._sampled[2][index].numpy()


def test_points_lie_on_their_parts_and_none_is_hidden(data):
    for index, thing in enumerate(data.objects):
        x = data.rest[index].numpy() / _scale(data, index) + _center(data, index)
        parts = data.parts[index].numpy()
        normals, offsets = thing._planes
        for point, part in zip(x, parts, strict=True):
            own = np.flatnonzero(thing.face_parts == part)
            on = own[np.abs(normals[own] @ point - offsets[own]) < 1e-9]
            assert len(on)
        assert set(parts) == set(range(len(thing.part_names)))


def test_states_of_a_set_follow_the_law_and_correspond(data):
    still = data.in_states(2, law=JointLaw(0.5, 0.5))
    assert torch.equal(still.clouds[::2], still.clouds[1::2])
    wide = data.in_states(3)
    more = data.in_states(4)
    rows = torch.arange(24).reshape(6, 4)[:, :3].flatten()
    assert torch.equal(more[rows].clouds, wide.clouds)
    assert wide.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    moved = wide.action(0)(wide.motion(0, 2), wide.clouds[0])
    torch.testing.assert_close(moved, wide.clouds[2], atol=1e-12, rtol=0)
    assert not torch.equal(wide.clouds, data.in_states(3, seed=1).clouds)
    turned = data.in_states(3, pose=HaarSampler(SO3()))
    distances = [(c[:, :30, None] - c[:, None, :30]).norm(dim=-1)
                 for c in (wide.clouds, turned.clouds)]  # fmt: skip
    torch.testing.assert_close(*distances, atol=1e-12, rtol=0)
    assert (wide.clouds - turned.clouds).abs().amax((1, 2)).min() > 0.1


@pytest.mark.parametrize("pose", [None, HaarSampler(SO3()), NormalSampler(SE3(), 1.0)])
def test_pairs_differ_by_one_element_per_part(data, pose):
    stream = ArticulatedPairs(data, pose=pose, seed=3)
    batch = next(stream.stream(6))
    assert batch.a.dtype == batch.g.dtype == torch.float32 and batch.parts.dtype == torch.int64
    action = Piecewise(SE3(), batch.parts, count=data.part_count)
    assert action.group == stream.group
    moved = action(batch.g, batch.a)
    torch.testing.assert_close(moved, batch.b, atol=2e-5, rtol=0)
    # wrong on purpose: the base's motion for all parts
    base = batch.g[:, :4, :4]
    rigid = batch.a @ base[:, :3, :3].mT + base[:, None, :3, 3]
    assert (rigid - batch.b).abs().amax((1, 2)).min() > 1e-3
    assert torch.equal(batch.label, data.labels[batch.object_id])
    assert torch.equal(batch.parts, data.parts[batch.object_id])


def test_streams_do_not_depend_on_start_share_or_batches(data):
    pairs = ArticulatedPairs(data, pose=HaarSampler(SO3()), seed=1, pairs_per_object=2)
    whole = list(islice(pairs.stream(6), 5))
    later = next(pairs.stream(6, start=4))
    assert torch.equal(later.a, whole[4].a) and torch.equal(later.g, whole[4].g)
    shares = [next(pairs.stream(6, start=1, rank=r, world=2)) for r in (0, 1)]
    assert torch.equal(torch.cat([s.b for s in shares]), whole[1].b)
    assert not torch.equal(whole[0].a, whole[2].a)
    again = ArticulatedPairs(data, pose=HaarSampler(SO3()), seed=2, pairs_per_object=2)
    assert not torch.equal(next(again.stream(6)).a, whole[0].a)


def test_a_law_for_training_and_one_for_testing(data):
    train = ArticulatedPairs(data, law=JointLaw(0.4, 0.6))
    rows = train.rows(0)
    for side in (0, 1):
        for (index, *_), state in zip(rows, train.states(rows, side), strict=True):
            low, high = data.objects[index].mechanism.limits.T
            share = (state - low) / (high - low)
            assert share.min() >= 0.4 and share.max() <= 0.6


def test_splits_and_seeds():
    train, val = (ArticulatedClouds(SOURCE, split=s, points=30) for s in ("train", "val"))
    both = ArticulatedClouds(SOURCE, split="all", points=30)
    names = [e.object_id for e in train.entries] + [e.object_id for e in val.entries]
    assert sorted(names) == [e.object_id for e in both.entries]
    assert torch.equal(both.rest[::2], train.rest) and torch.equal(both.rest[1::2], val.rest)
    other = ArticulatedClouds(SOURCE, split="all", points=30, seed=1)
    assert not torch.equal(other.rest, both.rest)


def test_refusals(data):
    with pytest.raises(ConventionError, match="points"):
        ArticulatedClouds(SOURCE, points=0)
    with pytest.raises(DataFormatError, match="none among"):
        ArticulatedClouds(ArticulatedMeshes(instances=1, val_fraction=0.0), split="val")
    with pytest.raises(ConventionError, match="per_object"):
        data.in_states(0)
    for pose in (HaarSampler(O3()), NormalSampler(GL(3), 0.1)):
        with pytest.raises(ConventionError, match="SO3 or SE3"):
            ArticulatedPairs(data, pose=pose)


def test_one_call_measures_a_network_under_motions_of_parts(data):
    """Distances to the middle of one's own part do not change; to that of the whole they do."""
    batch = next(ArticulatedPairs(data).stream(6))
    action = Piecewise(SE3(), batch.parts, count=data.part_count)
    own = torch.nn.functional.one_hot(batch.parts, data.part_count).double()

    def to_parts(x):
        middles = own.mT @ x / own.sum(1).clamp(min=1)[..., None]
        return (x - own @ middles).norm(dim=-1)

    def to_the_whole(x):
        return (x - x.mean(1, keepdim=True)).norm(dim=-1)

    invariant = Trivial(batch.a.shape[1])
    errors = [
        equivariance_error(f, batch.a.double(), act_in=action, act_out=invariant, samples=4)
        for f in (to_parts, to_the_whole)
    ]
    assert errors[0].value("relative") < 1e-13 < 1e-2 < errors[1].value("relative")
