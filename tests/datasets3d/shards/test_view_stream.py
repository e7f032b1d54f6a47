"""Streams of views: each once an epoch, whatever workers, ranks and resumption."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from torch.utils.data import DataLoader

from datasets3d import ThreeDIEBench, ViewStream
from datasets3d.pairs import view_stream
from datasets3d.pairs.view_stream import permuted
from datasets3d.views.shards.layout import INDEX, LATENTS, OBJECTS, ROW, ShardSet
from equivariant.errors import ConventionError

ORDERS = [{"order": "random"}, {"order": "windows", "block": 5, "window": 2}]


def shown(batches):
    return [
        pair for b in batches for pair in zip(b.objects.tolist(), b.views.tolist(), strict=True)
    ]


@pytest.mark.parametrize("size", [*range(1, 40), 255, 256, 257, 1000, 5000])
def test_it_permutes(size):
    found = permuted(0, 1, np.arange(size), size=size)
    assert sorted(found.tolist()) == list(range(size))
    some = np.arange(0, size, 3)
    np.testing.assert_array_equal(permuted(0, 1, some, size=size), found[some])


def test_permutations_are_fair_and_differ():
    counts = np.zeros((6, 6))
    for seed in range(3000):
        counts[np.arange(6), permuted(seed, 0, np.arange(6), size=6)] += 1
    chi_square = ((counts - 500) ** 2 / 500).sum()
    assert chi_square < 25 + 5 * np.sqrt(50)
    orders = {tuple(permuted(s, e, np.arange(20), size=20, draw=d))
              for s in range(3) for e in range(3) for d in range(3)}  # fmt: skip
    assert len(orders) == 27


def test_without_walking_it_would_not_permute(monkeypatch):
    def twin(seed, epoch, positions, *, size, draw=0):
        return permuted(seed, epoch, positions, size=64, draw=draw) % size

    assert sorted(twin(0, 0, np.arange(40), size=40).tolist()) != list(range(40))


@pytest.mark.parametrize("options", ORDERS)
@pytest.mark.parametrize("layout", ["folders", "shards"])
def test_every_view_once_and_as_it_is(request, layout, options):
    data = ThreeDIEBench(request.getfixturevalue(layout))
    batches = list(ViewStream(data, 5, epochs=2, **options))
    first, second = shown(batches[:3]), shown(batches[3:])
    everything = [(o, v) for o in range(len(data)) for v in range(3)]
    assert sorted(first) == sorted(second) == everything and first != second
    for batch in batches[:3]:
        for row, (o, v) in enumerate(shown([batch])):
            np.testing.assert_array_equal(batch.images[row].permute(1, 2, 0), data.image(o, v))
            np.testing.assert_array_equal(batch.latents[row], data.latents[o, v])
            assert batch.labels[row] == data.labels[o]
    assert [len(b.labels) for b in batches[:3]] == [5, 5, 2]
    whole = ViewStream(data, 5, epochs=1, whole_batches=True, **options)
    assert [len(b.labels) for b in whole] == [5, 5]
    assert shown(ViewStream(data, 5, epochs=1, seed=1, **options)) != first


def test_layouts_give_one_random_order(folders, shards):
    a, b = (ViewStream(ThreeDIEBench(root), 4, epochs=2) for root in (folders, shards))
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.images, other.images)


@pytest.mark.parametrize("options", ORDERS)
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_nothing(shards, options, workers):
    data = ThreeDIEBench(shards)
    loader = DataLoader(ViewStream(data, 5, epochs=2, **options), batch_size=None,
                        num_workers=workers)  # fmt: skip
    for alone, together in zip(ViewStream(data, 5, epochs=2, **options), loader, strict=True):
        np.testing.assert_array_equal(alone.images, together.images)
        assert alone.state == together.state


@pytest.mark.parametrize("options", ORDERS)
@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_share_without_repeats(shards, options, world):
    data = ThreeDIEBench(shards)
    ranks = [list(ViewStream(data, 8, epochs=1, rank=r, world=world, **options))
             for r in range(world)]  # fmt: skip
    assert len({len(batches) for batches in ranks}) == 1
    together = [pair for step in zip(*ranks, strict=True) for pair in shown(step)]
    assert together == shown(ViewStream(data, 8, epochs=1, **options))
    assert len(set(together)) == 12


@pytest.mark.parametrize("options", ORDERS)
@pytest.mark.parametrize("stop", range(1, 6))
def test_it_goes_on_exactly(shards, options, stop):
    data = ThreeDIEBench(shards)
    whole = list(ViewStream(data, 5, epochs=2, **options))
    state = json.loads(json.dumps(whole[stop - 1].state))
    rest = list(ViewStream(data, 5, epochs=2, state=state, **options))
    assert shown(rest) == shown(whole[stop:])
    if stop < 3:  # with another batch size, the rest of the epoch
        other = list(ViewStream(data, 4, epochs=1, state=state, world=2, **options))
        other += list(ViewStream(data, 4, epochs=1, state=state, rank=1, world=2, **options))
        assert sorted(shown(other)) == sorted(shown(whole[stop:3]))


def test_an_end_shared_by_more_ranks_than_views(shards):
    data = ThreeDIEBench(shards)
    last = [list(ViewStream(data, 11, epochs=1, rank=r, world=11))[-1] for r in range(11)]
    assert sorted(len(b.labels) for b in last) == [0] * 10 + [1]
    assert {b.images.shape[1:] for b in last} == {(3, 24, 24)}


@pytest.mark.parametrize("wrong", [
    {"batch_size": 0}, {"batch_size": 13}, {"batch_size": 5, "world": 2}, {"seed": -1},
    {"epochs": 0}, {"state": {"epoch": 0}}, {"state": {"epoch": 0, "position": 13}},
    {"rank": 1}, {"block": 0}, {"window": 0}, {"threads": 0},
])  # fmt: skip
def test_arguments_out_of_range(shards, wrong):
    with pytest.raises(ConventionError):
        ViewStream(ThreeDIEBench(shards), **{"batch_size": 4, **wrong})


def test_threads_change_nothing(shards):
    data = ThreeDIEBench(shards)
    for a, b in zip(ViewStream(data, 6, epochs=1), ViewStream(data, 6, epochs=1, threads=3),
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a.images, b.images)


MEASURE = """
import sys
from pathlib import Path
import numpy as np
from datasets3d import ThreeDIEBench, ViewStream
data = ThreeDIEBench(sys.argv[1])
stream = ViewStream(data, 50, order=sys.argv[2])
for step, batch in enumerate(stream):
    if step == 60:
        break
lines = Path("/proc/self/status").read_text().splitlines()
print(*(line.split()[1] for line in lines if line.startswith(("RssAnon", "VmHWM"))))
"""


def synthetic(root, views, jpeg):
    """A set of so many views, all of them the same picture."""
    root.mkdir()
    each, count = 50, views // 50
    (root / "train-000000.tar").write_bytes(bytes(512) + jpeg)
    objects = np.zeros(count, [("key", "S32"), ("label", "<u4")])
    objects["key"] = [f"chair/{k:08d}".encode() for k in range(count)]
    np.save(root / OBJECTS, objects)
    np.save(root / LATENTS, np.zeros((count, each, 7)))
    rows = np.zeros((count, each, 3), ROW)
    rows["offset"], rows["length"] = 512, len(jpeg)
    np.save(root / INDEX, rows)
    ShardSet(
        views=each, channel_order="rgb", labels=["chair"], kinds=["jpg", "latent.npy", "cls"],
        columns=["x"] * 7, joints=0, objects={"train": count, "val": 0},
        shards=["train-000000.tar"],
        bytes=[512 + len(jpeg)],
    ).write(root)  # fmt: skip


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("order", ["random", "windows"])
def test_memory_grows_neither_with_objects_nor_with_views(tmp_path, folders, order):
    jpeg = (folders / "chair" / "chair-000000" / "image_0.jpg").read_bytes()
    own = {}
    for views in (100_000, 1_000_000):
        synthetic(tmp_path / str(views), views, jpeg)
        words = [sys.executable, "-c", MEASURE, str(tmp_path / str(views)), order]
        done = subprocess.run(words, capture_output=True, text=True, check=True,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        _, own[views] = (int(word) for word in done.stdout.split())
    assert own[1_000_000] - own[100_000] < 8000, own  # kB; as tuples, 1e6 rows take 100 MB


def test_the_walk_ends(monkeypatch):
    calls = []
    real = view_stream.counter
    monkeypatch.setattr(view_stream, "counter", lambda *a: calls.append(1) or real(*a))
    permuted(0, 0, np.arange(65), size=65)
    assert len(calls) < 60 * view_stream.ROUNDS
