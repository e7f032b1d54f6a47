"""Sequences of views: windows of recorded ones, random ones, and their elements."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from datasets3d import (
    BuildConfig,
    ElementConvention,
    ObjectPath,
    ObjectTranslation,
    ProceduralMeshes,
    ThreeDIEBench,
    ViewLaw,
    ViewSequences,
    build,
    export,
)
from equivariant.errors import ConventionError, DataFormatError

LENGTH = 4


def made(root, views, **law):
    source = ProceduralMeshes(instances=3, classes=["chair", "truck"], val_fraction=0.0)
    config = BuildConfig(views=views, size_px=8, law=ViewLaw(**law))
    build(source, root, config=config, workers=1, progress=False)
    return ThreeDIEBench(root)


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    law = {"path": ObjectPath(length=LENGTH), "factors": (ObjectTranslation(),)}
    return made(tmp_path_factory.mktemp("moving"), 10, **law)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return made(tmp_path_factory.mktemp("still"), 6)


def every_row(sequences, epochs=40):
    return np.concatenate([sequences.rows(epoch) for epoch in range(epochs)])


@pytest.mark.parametrize(
    ("length", "starts"), [(4, {0, 4}), (3, {0, 1, 4, 5}), (2, {0, 1, 2, 4, 5, 6, 8})]
)
def test_windows_stay_in_one_recorded_sequence(moving, length, starts):
    sequences = ViewSequences(moving, length)
    rows = every_row(sequences)
    assert (np.diff(rows[:, 1:], axis=1) == 1).all()
    assert set(rows[:, 1].tolist()) == starts


def test_steps_are_the_recorded_ones(moving):
    sequences = ViewSequences(moving, 3, convention=ElementConvention("rigid", frame="world"))
    batch = next(sequences.stream(6))
    assert batch.images.shape == (6, 3, 3, 8, 8)
    steps = [place for place, name in enumerate(moving.columns) if name.startswith("step_")]
    for k in range(6):
        o, first = int(batch.object_id[k]), int(batch.views[k, 0])
        step = moving.all_latents[o, first, steps]
        for t in range(2):
            turn = batch.g[k, t, :3, :3].double().numpy()
            assert np.allclose(turn, Rotation.from_rotvec(step[:3]).as_matrix(), atol=1e-6)
            place, then = (batch.poses[k, s, :3, 3].numpy() for s in (t, t + 1))
            assert np.allclose(then - place, step[3:], atol=1e-12)
            assert np.allclose(turn @ place + batch.g[k, t, :3, 3].numpy(), then, atol=1e-6)


@pytest.mark.parametrize("elements", ["rotation", "rotation+color", "rigid"])
def test_elements_are_those_of_pairs(still, elements):
    sequences = ViewSequences(still, 4, convention=ElementConvention(elements))
    batch = next(sequences.stream(6))
    assert sequences.views_order == "random"
    for t in range(3):
        rows = torch.stack([batch.object_id, batch.views[:, t], batch.views[:, t + 1]], 1).numpy()
        pair = sequences.pairs.batch(rows)
        assert torch.equal(pair.g, batch.g[:, t])
        assert torch.equal(pair.a, batch.images[:, t])
        assert torch.equal(pair.b, batch.images[:, t + 1])
        assert torch.equal(pair.pose_b, batch.poses[:, t + 1, :3, :3])
    flat = batch.pairs()
    assert len(flat) == 18
    assert torch.equal(flat.g[4], batch.g[1, 1])
    assert torch.equal(flat.a[4], batch.images[1, 1])
    assert flat.object_id.tolist() == batch.object_id.repeat_interleave(3).tolist()


def test_random_sequences_have_different_views_and_all_of_them(still):
    sequences = ViewSequences(still, 5, sequences_per_object=2)
    rows = every_row(sequences)
    assert all(len(set(row[1:].tolist())) == 5 for row in rows)
    counts = np.bincount(rows[:, 1], minlength=6) / len(rows)
    assert np.abs(counts - 1 / 6).max() < 0.05, "the first view is uniform"
    assert not np.array_equal(sequences.rows(0), sequences.rows(1))
    again = ViewSequences(still, 5, sequences_per_object=2)
    assert np.array_equal(sequences.rows(3), again.rows(3))


def test_streams_resume_and_are_shared_out(still):
    sequences = ViewSequences(still, 3)
    whole, later = sequences.stream(4), sequences.stream(4, start=2)
    batches = [next(whole) for _ in range(3)]
    assert torch.equal(batches[2].images, next(later).images)
    shares = [next(sequences.stream(4, start=1, rank=rank, world=2)) for rank in range(2)]
    assert torch.equal(torch.cat([share.views for share in shares]), batches[1].views)
    by_workers = sequences.stream(4, workers=1)
    assert torch.equal(next(by_workers).images, batches[0].images)


def test_batches_of_one_and_other_dtypes(still):
    batch = next(ViewSequences(still, 2, in_memory=False).stream(1)).to(dtype=torch.float64)
    assert (len(batch), batch.images.dtype, batch.g.dtype) == (1, torch.float64, torch.float64)


def test_shards_give_the_same(moving, tmp_path):
    export(moving.root, tmp_path / "shards", format="shards")
    found = next(ViewSequences(ThreeDIEBench(tmp_path / "shards"), 3).stream(5))
    wanted = next(ViewSequences(moving, 3).stream(5))
    assert torch.equal(found.views, wanted.views)
    assert torch.equal(found.images, wanted.images)


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"length": 1}, ConventionError, "length"),
        ({"length": 7}, ConventionError, "2 to 6"),
        ({"length": 3, "seed": -1}, ConventionError, "seed"),
        ({"length": 3, "order": "recorded"}, DataFormatError, "recorded sequence of 3"),
    ],
)
def test_what_is_refused(still, arguments, error, word):
    with pytest.raises(error, match=word):
        ViewSequences(still, **arguments)
    with pytest.raises(ConventionError, match="batch_size"):
        next(ViewSequences(still, 3).stream(100))
