"""Pairs from a fixed set of poses: the right clouds, exact motions, draws by numbers alone."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from datasets3d import PiecePairs, make_rooms, room_clouds
from equivariant.actions import Piecewise
from equivariant.errors import ConventionError
from equivariant.groups import O3, SE3, SO3, HaarSampler, NormalSampler


@pytest.fixture(scope="module")
def pieces():
    scenes = room_clouds(make_rooms(3, objects=(3, 5)), arrangements=4, points=120)
    return scenes[torch.tensor([0, 1, 2, 3, 4, 5, 6, 8])]  # one cloud of the last room alone


@pytest.mark.parametrize("pose", [None, HaarSampler(SO3()), NormalSampler(SE3(), 0.5)])
def test_pairs_differ_by_one_element_per_part(pieces, pose):
    pairs = PiecePairs(pieces, pose=pose, seed=1)
    batch = next(pairs.stream(7))
    action = Piecewise(SE3(), batch.parts, count=len(pieces.part_names))
    assert action.group == pairs.group
    torch.testing.assert_close(action(batch.g, batch.a), batch.b, atol=2e-5, rtol=0)
    # wrong on purpose: the motions of the next pair
    assert (action(batch.g.roll(1, 0), batch.a) - batch.b).abs().max() > 0.1
    assert batch.label.tolist() == batch.object_id.tolist() and 2 not in batch.label


def test_every_cloud_begins_a_pair_and_none_is_its_own_fellow(pieces):
    pairs = PiecePairs(pieces, pairs_per_object=5)
    rows = pairs.rows(0)
    first, second = pairs.chosen(rows)
    assert first.bincount().tolist() == [5] * 7
    assert bool((first != second).all())
    assert torch.equal(pieces.object_id[first], pieces.object_id[second])
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) > 12
    batch = pairs.batch(rows[:3])
    assert torch.equal(batch.a, pieces.clouds[first[:3]].float())
    assert torch.equal(batch.b, pieces.clouds[second[:3]].float())


def test_streams_do_not_depend_on_start_or_share(pieces):
    pairs = PiecePairs(pieces, pose=HaarSampler(SO3()), seed=3)
    whole = list(islice(pairs.stream(6), 4))
    later = next(pairs.stream(6, start=3))
    assert torch.equal(later.a, whole[3].a) and torch.equal(later.g, whole[3].g)
    shares = [next(pairs.stream(6, start=1, rank=r, world=2)) for r in (0, 1)]
    assert torch.equal(torch.cat([s.b for s in shares]), whole[1].b)
    rows = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]])
    clouds = pairs.batch(rows).a
    assert not torch.equal(clouds[0], clouds[1]) and not torch.equal(clouds[0], clouds[2])


def test_refusals(pieces):
    with pytest.raises(ConventionError, match="two clouds"):
        PiecePairs(pieces[torch.tensor([0, 4, 7])])
    with pytest.raises(ConventionError, match="SO3 or SE3"):
        PiecePairs(pieces, pose=HaarSampler(O3()))
