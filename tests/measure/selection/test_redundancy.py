"""Pruning: packing, cover, the three distances, and who chooses differently."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.measure.selection.redundancy import (
    cosine_distance,
    farthest_first,
    hash_distance,
    information_distance,
    prune,
)


def cloud(rows=40, seed=0):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def angle_free(a, b):
    a, b = a.tolist(), b.tolist()
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


@pytest.mark.parametrize("threshold", [0.05, 0.3, 1.0])
def test_pruning_by_loops_is_packing_and_cover(threshold):
    x, kept = cloud(), []
    for i in range(len(x)):
        if all(angle_free(x[i], x[j]) >= threshold for j in kept):
            kept.append(i)
    assert prune(x, threshold).tolist() == kept
    for i, j in itertools.combinations(kept, 2):
        assert angle_free(x[i], x[j]) >= threshold
    for i in set(range(len(x))) - set(kept):
        assert min(angle_free(x[i], x[j]) for j in kept) < threshold


def test_twin_that_looks_at_the_last_kept_alone_is_no_packing():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.001]])
    kept = [0]
    for i in (1, 2):
        if angle_free(x[i], x[kept[-1]]) >= 0.1:
            kept.append(i)
    assert kept == [0, 1, 2] and prune(x, 0.1).tolist() == [0, 1]


def test_limits_and_order():
    x = cloud()
    assert prune(x, 0.0).tolist() == list(range(40))
    assert prune(x, math.inf).tolist() == [0]
    order = torch.arange(39, -1, -1)
    assert prune(x, math.inf, order=order).tolist() == [39]
    assert len(prune(x.repeat(3, 1), 1e-9)) == 40  # copies


def test_invariant_descriptors_leave_out_turned_copies():
    x = torch.randn(6, 20, 3, generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    both = torch.cat([x, x @ turn])
    radii = both.norm(dim=2).sort(dim=1).values
    assert len(prune(both, 1e-6)) == 12 and len(prune(radii, 1e-6)) == 6


def test_farthest_first_by_loops_and_its_bound():
    x = cloud(12)
    chosen = [0]
    while len(chosen) < 4:
        far = [min(angle_free(x[i], x[j]) for j in chosen) for i in range(12)]
        chosen.append(far.index(max(far)))
    assert farthest_first(x, 4).tolist() == chosen

    def spread(points):
        return min(float((x[i] - x[j]).norm()) for i, j in itertools.combinations(points, 2))

    def euclid(a, b):
        return (a - b).flatten(1).norm(dim=1)

    ours = spread(farthest_first(x, 4, distance=euclid).tolist())
    best = max(spread(four) for four in itertools.combinations(range(12), 4))
    assert ours >= best / 2
    assert farthest_first(x.repeat(2, 1), 24).unique().numel() == 24  # all equal at the end


def test_information_distance_by_numpy():
    source = torch.Generator().manual_seed(0)
    a, b = torch.rand(1, 9, 9, generator=source), torch.rand(5, 9, 9, generator=source)
    b[0], b[1] = a[0], 1.0 - a[0]

    def entropy(p):
        p = p[p > 0]
        return -(p * np.log(p)).sum()

    for j in range(5):
        joint, *_ = np.histogram2d(
            a[0].numpy().ravel(), b[j].numpy().ravel(), bins=4, range=[[0, 1], [0, 1]]
        )
        joint = joint / joint.sum()
        h_a, h_b = entropy(joint.sum(1)), entropy(joint.sum(0))
        expected = 1 - (h_a + h_b - entropy(joint.ravel())) / max(h_a, h_b)
        found = information_distance(a, b, bins=4)[j]
        assert float(found) == pytest.approx(expected, abs=1e-12)
    found = information_distance(a, b, bins=4)
    assert found[0] == pytest.approx(0, abs=1e-12) and found[2] > 0.5
    flat = torch.full((1, 9, 9), 0.5)
    assert information_distance(flat, flat) == 0 and information_distance(flat, a) == 1


def test_hash_sees_neither_brightness_nor_contrast():
    a = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    b = torch.cat([a, 0.5 * a + 0.2, -a, a.flip(2)])
    found = hash_distance(a, b)
    bits = [v > a.mean() for v in a.flatten()]
    flipped = [v > a.mean() for v in a.flip(2).flatten()]
    expected = sum(bool(x != y) for x, y in zip(bits, flipped, strict=True)) / 64
    assert found[:3].tolist() == [0.0, 0.0, 1.0] and found[3] == pytest.approx(expected)


def test_cosine_distance_of_a_zero_vector():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    assert cosine_distance(x[:1], x).tolist() == [0.0, 2.0, 1.0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: prune(cloud(), -1.0), lambda: prune(cloud(), math.nan),
        lambda: prune(cloud(4), 0.1, order=torch.tensor([0, 1, 2, 2])),
        lambda: prune(cloud(4), 0.1, order=torch.arange(3)),
        lambda: farthest_first(cloud(), 0), lambda: farthest_first(cloud(), 41),
        lambda: farthest_first(cloud(), 2, first=40),
    ],
)  # fmt: skip
def test_refusals(call):
    with pytest.raises((EquivariantError, TypeCheckError)):
        call()
