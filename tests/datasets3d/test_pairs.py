"""Pairs: what a batch holds, that it depends on nothing it should not, and that g is right."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch
from scipy import stats

from datasets3d import (
    BuildConfig,
    ElementConvention,
    ProceduralMeshes,
    ThreeDIEBench,
    TransformPairs,
    build,
)
from equivariant.errors import ConventionError
from equivariant.groups import Spin3

VIEWS, OBJECTS, SIZE = 5, 12, 16
CONVENTIONS = [
    ElementConvention(elements=elements, frame=frame, cover=cover)
    for elements in ("rotation", "rotation+color")
    for frame, cover in (("object", False), ("object", True), ("world", False))
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs") / "data"
    source = ProceduralMeshes(instances=4, classes=["axe", "lamp", "truck"], val_fraction=0.0)
    config = BuildConfig(views=VIEWS, size_px=SIZE, samples_per_side=1)
    build(source, folder, config=config, workers=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def data(root):
    return ThreeDIEBench(root)


def same(one, other):
    a, b = one.tensors(), other.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def take(pairs, count, batch_size=4, **options):
    return list(islice(pairs.stream(batch_size, **options), count))


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_batch_holds_the_stated_rows(data, in_memory):
    mean, std = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
    pairs = TransformPairs(data, mean=mean, std=std, in_memory=in_memory)
    rows = np.array([[3, 0, 4], [3, 4, 0], [11, 2, 1], [0, 1, 1]])
    batch = pairs.batch(rows)
    for k, (index, first, second) in enumerate(rows.tolist()):
        for views, view in ((batch.a, first), (batch.b, second)):
            expected = (data.image(index, view) / 255.0 - mean) / np.array(std)
            np.testing.assert_allclose(views[k].permute(1, 2, 0), expected, atol=2e-6)
        np.testing.assert_array_equal(batch.pose_a[k], data.rotations[index, first])
        np.testing.assert_array_equal(batch.pose_b[k], data.rotations[index, second])
    np.testing.assert_array_equal(batch.object_id, rows[:, 0])
    np.testing.assert_array_equal(batch.label, data.labels[rows[:, 0]])
    assert batch.a.dtype == batch.g.dtype == torch.float32
    assert batch.pose_a.dtype == torch.float64 and batch.label.dtype == torch.int64
    assert batch.a.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch.g[0], batch.g[1].T)
    torch.testing.assert_close(batch.g[3], torch.eye(3))


def test_own_statistics_normalize(data):
    pairs = TransformPairs(data)
    mean, std = data.channel_statistics()
    np.testing.assert_allclose(pairs.mean, mean)
    np.testing.assert_allclose(pairs.std, std)
    first = pairs.batch(np.array([[k, 0, 1] for k in range(OBJECTS)])).a
    torch.testing.assert_close(first.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(first.square().mean((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_a_given_mean_is_kept_without_a_deviation(data):
    pairs = TransformPairs(data, mean=(0.5, 0.5, 0.5))
    assert pairs.mean == (0.5, 0.5, 0.5)
    np.testing.assert_allclose(pairs.std, data.channel_statistics()[1])


def satisfied(g, batch, convention, hue_shift):
    """Whether elements satisfy the definition that their convention states, on real poses."""
    parts = convention.group.split(g.double()) if convention.elements != "rotation" else [g]
    rotation = parts[0].double()
    if convention.cover:
        rotation = Spin3.rotation(rotation)
    moved = (
        rotation @ batch.pose_a if convention.frame == "world" else batch.pose_a @ rotation
    )  # fmt: skip
    fine = torch.allclose(moved, batch.pose_b, atol=1e-5)
    if convention.elements == "rotation+color":
        shift = torch.cat([part[:, :1, 1] for part in parts[1:]], 1)
        fine = fine and torch.allclose(shift, hue_shift, atol=1e-6)
    return fine


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_elements_satisfy_their_definition(data, convention):
    pairs = TransformPairs(data, convention=convention)
    (batch,) = take(pairs, 1, OBJECTS)
    views = pairs.views_of(batch.object_id.numpy(), 0)
    hues = data.latents[batch.object_id.numpy()[:, None], views][..., [3, 6]]
    shift = torch.from_numpy(hues[:, 1] - hues[:, 0])
    assert satisfied(batch.g, batch, convention, shift)
    # the broken twins: the inverse, another frame, hues the wrong way round
    assert not satisfied(batch.g.transpose(1, 2), batch, convention, shift)
    if convention.elements == "rotation+color":
        assert not satisfied(batch.g, batch, convention, -shift)
    if not convention.cover:
        frame = "world" if convention.frame == "object" else "object"
        other = ElementConvention(elements=convention.elements, frame=frame)
        assert not satisfied(batch.g, batch, other, shift)


def test_views_differ_and_objects_come_once(data):
    pairs = TransformPairs(data, seed=3)
    for epoch in range(20):
        order = pairs.order(epoch)
        assert sorted(order.tolist()) == list(range(OBJECTS))
        views = pairs.views_of(order, epoch)
        assert (views[:, 0] != views[:, 1]).all()
        assert views.min() >= 0 and views.max() < VIEWS
    epoch = take(pairs, 3)
    seen = torch.cat([batch.object_id for batch in epoch])
    assert sorted(seen.tolist()) == list(range(OBJECTS))
    assert not torch.equal(seen, torch.cat([b.object_id for b in take(pairs, 3, start=3)]))


def test_drawn_views_are_uniform(data):
    pairs = TransformPairs(data)
    objects = np.arange(OBJECTS)
    counts = np.zeros((VIEWS, VIEWS))
    by_object = np.zeros((OBJECTS, VIEWS))
    for epoch in range(1000):
        first, second = pairs.views_of(objects, epoch).T
        np.add.at(counts, (first, second), 1)
        by_object[objects, first] += 1
    assert stats.chisquare(counts[~np.eye(VIEWS, dtype=bool)]).pvalue > 1e-4
    assert stats.chisquare(by_object.ravel()).pvalue > 1e-4


def test_orders_are_uniform(data):
    pairs = TransformPairs(data)
    positions = np.zeros((OBJECTS, OBJECTS))
    for epoch in range(600):
        positions[pairs.order(epoch), np.arange(OBJECTS)] += 1
    # cells are not independent: 121 degrees of freedom, scaled by 12 / 11
    chi_square = ((positions - 50.0) ** 2 / 50.0).sum() * 11 / 12
    assert stats.chi2.sf(chi_square, 121) > 1e-4


def test_draws_of_neighbours_are_independent(data):
    """Neither seeds, nor epochs, nor objects, nor the two draws of a pair go together."""
    pairs, other = TransformPairs(data), TransformPairs(data, seed=1)
    objects = np.arange(OBJECTS)
    here = np.stack([pairs.views_of(objects, epoch)[:, 0] for epoch in range(1000)])
    there = np.stack([other.views_of(objects, epoch)[:, 0] for epoch in range(1000)])
    for a, b in ((here, there), (here[1:], here[:-1]), (here[:, 1:], here[:, :-1])):
        table = np.zeros((VIEWS, VIEWS))
        np.add.at(table, (a.ravel(), b.ravel()), 1)
        assert stats.chisquare(table.ravel()).pvalue > 1e-4


@pytest.mark.parametrize("start", [1, 3, 7])
def test_a_stream_resumes_anywhere(data, start):
    whole = take(TransformPairs(data), 9, 5)
    tail = take(TransformPairs(data), 9 - start, 5, start=start)
    assert all(same(a, b) for a, b in zip(whole[start:], tail, strict=True))


@pytest.mark.parametrize("world", [2, 3])
def test_shares_of_processes_make_the_whole_batch(data, world):
    pairs = TransformPairs(data)
    whole = take(pairs, 4, 6)
    shares = [take(pairs, 4, 6, rank=rank, world=world) for rank in range(world)]
    for step, batch in enumerate(whole):
        parts = [share[step].tensors() for share in shares]
        assert {len(part["a"]) for part in parts} == {6 // world}
        for name, value in batch.tensors().items():
            assert torch.equal(torch.cat([part[name] for part in parts]), value)


@pytest.mark.parametrize("options", [{}, {"size_px": 8}])
def test_memory_and_threads_change_nothing(data, options):
    whole = take(TransformPairs(data, **options), 4)
    assert whole[0].a.shape[-1] == options.get("size_px", SIZE)
    for threads in (1, 3):
        for in_memory in (True, False):
            pairs = TransformPairs(data, in_memory=in_memory, threads=threads, **options)
            assert all(same(a, b) for a, b in zip(whole, take(pairs, 4), strict=True))


def test_global_generators_play_no_part(data):
    first = take(TransformPairs(data, seed=5), 3)
    np.random.seed(1)
    torch.manual_seed(1)
    assert all(
        same(a, b) for a, b in zip(first, take(TransformPairs(data, seed=5), 3), strict=True)
    )
    other = take(TransformPairs(data, seed=6), 3)
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))


def test_batches_may_leave_a_rest(data):
    """Whole batches alone: five a step makes two steps of an epoch, and the rest is dropped."""
    batches = take(TransformPairs(data), 4, 5)
    for epoch in (batches[:2], batches[2:]):
        assert len(set(torch.cat([b.object_id for b in epoch]).tolist())) == 10


def test_one_object_at_a_time(data):
    (batch,) = take(TransformPairs(data), 1, 1)
    assert batch.a.shape == (1, 3, SIZE, SIZE) and batch.g.shape == (1, 3, 3)


@pytest.mark.parametrize(
    ("batch_size", "options", "name"),
    [
        (0, {}, "batch_size"),
        (-4, {}, "batch_size"),
        (OBJECTS + 1, {}, "batch_size"),
        (4, {"world": 3}, "batch_size"),
        (4, {"world": 2, "rank": 2}, "rank"),
        (4, {"world": 2, "rank": -1}, "rank"),
        (4, {"world": 0}, "rank"),
        (4, {"start": -1}, "rank"),
    ],
)
def test_batch_sizes_and_shares_are_checked_at_once(data, batch_size, options, name):
    with pytest.raises(ConventionError, match=f"^{name}"):
        TransformPairs(data, in_memory=False).stream(batch_size, **options)


def test_a_negative_seed_is_refused(data):
    with pytest.raises(ConventionError, match="seed"):
        TransformPairs(data, seed=-1)


def test_one_view_makes_no_pairs(tmp_path):
    source = ProceduralMeshes(instances=1, classes=["axe"], val_fraction=0.0)
    config = BuildConfig(views=1, size_px=8, samples_per_side=1)
    build(source, tmp_path, config=config, workers=1, progress=False)
    with pytest.raises(ConventionError, match="two views"):
        TransformPairs(ThreeDIEBench(tmp_path))


def test_fixed_pairs_make_batches(data):
    rows = data.fixed_pairs(2)
    batch = TransformPairs(data).batch(rows)
    assert len(batch) == 2 * OBJECTS
    torch.testing.assert_close(batch.pose_a @ batch.g.double(), batch.pose_b, atol=1e-6, rtol=0)


def test_a_closed_stream_leaves_no_thread(data):
    stream = TransformPairs(data).stream(4)
    next(stream)
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
