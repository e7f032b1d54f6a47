"""k-means against loops, its sum of squares, and groups that are far apart."""

from __future__ import annotations

import itertools

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import EquivariantError
from equivariant.losses import k_means


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def by_loops(x, count, seed, rounds, moves=True):
    centers = [x[i] for i in torch.randperm(len(x), generator=source(seed))[:count].tolist()]
    for last in range(rounds + 1):
        near = [min(range(count), key=lambda c: float((row - centers[c]).norm())) for row in x]
        if last == rounds or not moves:
            return torch.tensor(near)
        for c in set(near):
            members = [row for row, n in zip(x, near, strict=True) if n == c]
            centers[c] = sum(members) / len(members)


def squares(x, cluster):
    return float(sum(
        (x[cluster == c] - x[cluster == c].mean(0)).square().sum() for c in cluster.unique()
    ))  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_by_loops(seed):
    x = torch.randn(40, 3, generator=source(seed), dtype=torch.float64)
    for rounds in (1, 5):
        found = k_means(x, 5, generator=source(seed), rounds=rounds)
        assert torch.equal(found, by_loops(x, 5, seed, rounds))
    twin = by_loops(x, 5, seed, 5, moves=False)  # centres that stay where they were drawn
    assert not torch.equal(found, twin) and squares(x, found) < squares(x, twin)


def test_sums_of_squares_do_not_rise():
    x = torch.randn(60, 4, generator=source(1), dtype=torch.float64)
    sums = [squares(x, k_means(x, 6, generator=source(), rounds=r)) for r in range(1, 12)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(sums)) and sums[-1] < sums[0]


def test_far_groups_and_one_cluster_for_each_row():
    x = torch.cat([torch.randn(20, 2, generator=source()) + 50 * i for i in range(2)])
    cluster = k_means(x, 2, generator=source())
    assert len(cluster[:20].unique()) == len(cluster[20:].unique()) == 1
    assert cluster[0] != cluster[-1]
    assert len(k_means(x, 40, generator=source()).unique()) == 40
    assert k_means(x, 1, generator=source()).unique().tolist() == [0]
    same = k_means(torch.ones(5, 2), 3, generator=source())  # equal rows: the others stay empty
    assert same.unique().tolist() == [0]


def test_refusals():
    x = torch.randn(3, 2)
    for call in (
        lambda: k_means(x, 4, generator=source()), lambda: k_means(x, 0, generator=source()),
        lambda: k_means(x, 2, generator=source(), rounds=0),
    ):  # fmt: skip
        with pytest.raises((EquivariantError, TypeCheckError)):
            call()
