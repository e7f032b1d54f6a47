"""Mixtures of Gaussians: against loops, likelihood, derivative, merging, order and batch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn import MixturePartition, Partition
from equivariant.nn.apen.mixture import Mixture, MixtureEnergy
from equivariant.nn.apen.mixture_partition import cell_votes, connected, merged


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def uniform(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def blobs(centers, each=6, spread=0.1, seed=0):
    """Votes near centres, with unequal masses."""
    centers = torch.tensor(centers, dtype=torch.float64)
    votes = centers.repeat_interleave(each, 0) + spread * normal(each * len(centers), 3, seed=seed)
    mass = 0.5 + uniform(len(votes), seed=seed)
    return votes[None], (mass / mass.sum())[None]


CENTERS = [[0.0, 0, 0], [1.3, 0.2, 0], [0, 1.6, -0.9]]


def loop_step(mixture, y, m, *, sigma, tau):
    """One round for one cloud in plain Python."""
    mu, pi = mixture.centers[0].tolist(), mixture.shares[0].tolist()
    y, m = y[0].tolist(), m[0].tolist()
    k = len(pi)
    r = []
    for vote in y:
        weights = [pi[j] * math.exp(-(math.dist(vote, mu[j]) ** 2) / (2 * sigma**2))
                   for j in range(k)]  # fmt: skip
        r.append([w / sum(weights) for w in weights])
    total = [sum(m[i] * r[i][j] for i in range(len(y))) for j in range(k)]
    new = [[sum(m[i] * r[i][j] * y[i][a] for i in range(len(y))) / total[j] for a in range(3)]
           for j in range(k)]  # fmt: skip
    shares = []
    for j in range(k):
        crowd = sum(
            pi[o] * min(0, max(-10, math.log(math.dist(new[j], new[o]) ** 2 / (2 * sigma**2))))
            for o in range(k) if o != j
        )  # fmt: skip
        shares.append(max(0, total[j] + 2 * tau * pi[j] * crowd))
    return new, [s / sum(shares) for s in shares]


@pytest.mark.parametrize("tau", [0.0, 0.02])
def test_one_round_against_a_loop(tau):
    y, m = blobs(CENTERS, each=2, spread=0.4)
    energy = MixtureEnergy(sigma=0.7, merging=tau)
    start = Mixture.of(y, m)
    found = energy.step(start, y, m)
    centers, shares = loop_step(start, y, m, sigma=0.7, tau=tau)
    torch.testing.assert_close(found.centers[0], torch.tensor(centers).double())
    torch.testing.assert_close(found.shares[0], torch.tensor(shares).double())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 3))
def test_likelihood_does_not_fall_without_merging(seed, sigma):
    y, m = blobs(CENTERS, spread=0.5, seed=seed)
    energy = MixtureEnergy(sigma, merging=0.0)
    mixture = Mixture.of(y, m)
    values = []
    for _ in range(15):
        values.append(float(energy.value(mixture, y, m)))
        mixture = energy.step(mixture, y, m)
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))


def test_crowded_components_lose_their_shares():
    """Of two components near one another one dies with merging, and does not without."""
    y, m = blobs([[0.0, 0, 0]], each=8, spread=0.05)
    at = torch.tensor([[[0.0, 0, 0], [0.02, 0, 0]]]).double()
    start = Mixture(at, torch.tensor([[0.6, 0.4]]).double(), torch.ones(1, 2).bool())
    kept = MixtureEnergy(0.5, merging=0.0).minimize(start, y, m, iterations=300)
    pruned = MixtureEnergy(0.5, merging=0.02).minimize(start, y, m, iterations=300)
    assert kept.shares.min() > 0.3
    assert pruned.alive.sum() == 1
    torch.testing.assert_close(pruned.shares.sum(), torch.ones(()).double())


def converged(y, m, energy):
    start = Mixture(
        torch.tensor([CENTERS]).double(), torch.full((1, 3), 1 / 3).double(), torch.ones(1, 3) > 0
    )
    start = Mixture(*(v.repeat(len(y), *[1] * (v.ndim - 1)) for v in vars(start).values()))
    return energy.minimize(start, y, m.expand(len(y), -1), iterations=600, tolerance=1e-14)


def shifted(y, step=1e-5):
    """Every coordinate of one cloud of votes moved up, then every one down, as a batch."""
    moves = step * torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape[1:])
    return torch.cat([y + moves, y - moves])


def slopes(values, y, step=1e-5):
    up, down = values.chunk(2)
    return ((up - down) / (2 * step)).reshape(y.shape)


@pytest.mark.parametrize("tau", [0.0, 0.01])
def test_the_implicit_gradient_is_that_of_the_converged_mixture(tau):
    y, m = blobs(CENTERS, spread=0.2, each=4)
    energy = MixtureEnergy(0.5, merging=tau)
    fixed = converged(y, m, energy)
    weights = normal(12)

    def loss(found):
        return torch.cat([found.centers.flatten(1), found.shares], 1) @ weights

    votes = y.clone().requires_grad_()
    exact, cheap = (
        torch.autograd.grad(loss(energy.differentiable(fixed, votes, m, gradient=kind)), votes)[0]
        for kind in ("implicit", "detached")
    )
    numeric = slopes(loss(converged(shifted(y), m, energy)), y)
    torch.testing.assert_close(exact, numeric, atol=1e-8, rtol=1e-5)
    assert (cheap - numeric).abs().max() > 1e-3  # the check tells the two apart
    held = energy.differentiable(fixed, y, m)
    torch.testing.assert_close(held.centers, fixed.centers, atol=1e-12, rtol=0)


def test_the_detached_gradient_is_a_weighted_mean():
    y, m = blobs(CENTERS, spread=0.3)
    energy = MixtureEnergy(0.6, merging=0.0)
    fixed = converged(y, m, energy)
    votes = y.clone().requires_grad_()
    found = energy.differentiable(fixed, votes, m, gradient="detached")
    (grad,) = torch.autograd.grad(found.centers[0, 1, 0], votes)
    r = energy.log_joint(fixed, y).softmax(-1)[0, :, 1] * m[0]
    torch.testing.assert_close(grad[0, :, 0], r / r.sum())
    assert grad[0, :, 1:].abs().max() == 0


def test_probabilities_of_cells_differentiate_through_the_mixture():
    """log max Q against differences of the whole prediction, descent included."""
    y, _ = blobs(CENTERS, spread=0.2, each=4)
    labels = torch.arange(12)[None] // 2
    predict = MixturePartition(0.5, iterations=300, gradient="implicit")
    votes = y.clone().requires_grad_()
    certainty = predict(votes, Partition(labels)).log_certainty.sum()
    (exact,) = torch.autograd.grad(certainty, votes)
    everywhere = predict(shifted(y), Partition(labels.repeat(2 * y.numel(), 1)))
    numeric = slopes(everywhere.log_certainty, y)
    torch.testing.assert_close(exact, numeric, atol=1e-8, rtol=1e-5)
    assert exact.abs().max() > 1e-3


def test_votes_near_one_place_become_one_cell():
    y, _ = blobs(CENTERS)
    found = MixturePartition(0.2)(y, Partition.singletons(18, 1))
    assert found.partition == Partition((torch.arange(18) // 6)[None])
    assert found.delta.item() < 1e-4
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(18).double())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 2))
def test_coarser_cells_are_unions_of_finer_ones(seed, sigma):
    votes = normal(2, 30, 3, seed=seed)
    finer = Partition(torch.randint(0, 9, (2, 30), generator=torch.Generator().manual_seed(seed)))
    assert finer.refines(MixturePartition(sigma)(votes, finer).partition)


def test_wider_components_leave_fewer_cells():
    votes, finer = normal(1, 60, 3), Partition.singletons(60, 1)
    counts = [MixturePartition(s)(votes, finer).partition.k for s in (1e-3, 0.1, 0.4, 1.0, 4.0)]
    assert counts == sorted(counts, reverse=True)
    assert (counts[0], counts[-1]) == (60, 1)


def test_order_and_batch_do_not_matter():
    votes = normal(3, 40, 3)
    votes[2] *= 0.01
    labels = torch.randint(0, 12, (3, 40), generator=torch.Generator().manual_seed(0))
    predict = MixturePartition(0.4)
    found = predict(votes, Partition(labels))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    again = predict(votes[:, order], Partition(labels[:, order]))
    assert torch.equal(again.partition.labels, found.partition.labels[:, order])
    for k in range(3):
        alone = predict(votes[k : k + 1], Partition(labels[k : k + 1]))
        assert torch.equal(alone.partition.labels[0], found.partition.labels[k])
        torch.testing.assert_close(alone.delta, found.delta[k : k + 1], atol=1e-12, rtol=0)


def test_equal_votes_and_ties_have_one_answer():
    same = torch.zeros(1, 5, 3)
    found = MixturePartition(0.1)(same, Partition.singletons(5, 1))
    assert found.partition.k == 1
    assert found.delta.item() == 0
    # a cell exactly between two others goes to the first component, whichever order points have
    line = torch.tensor([[[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]]]).double()
    mixture = Mixture(line[:, [0, 2]], torch.tensor([[0.5, 0.5]]).double(), torch.ones(1, 2) > 0)
    joint = MixtureEnergy(1.0).log_joint(mixture, line)
    assert joint[0, 1].argmax() == 0
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        cells = Partition(torch.tensor([order]))
        labels = MixturePartition(0.3)(line[:, order], cells).partition.labels
        assert labels.tolist() == [order]


def test_parts_far_apart_do_not_feel_one_another():
    votes = torch.cat([normal(1, 20, 3), normal(1, 20, 3, seed=1) + 40], 1)
    finer = Partition.singletons(40, 1)
    moved = votes.clone()
    moved[:, 20:] += torch.tensor([5.0, -70, 11])
    a, b = (MixturePartition(0.5)(v, finer) for v in (votes, moved))
    assert a.partition == b.partition
    torch.testing.assert_close(a.delta, b.delta, atol=1e-12, rtol=0)


def test_empty_components_and_padding_are_safe():
    y, m = blobs(CENTERS)
    far = Mixture(
        torch.tensor([[[0.0, 0, 0], [1e3, 0, 0]]]).double(), torch.tensor([[0.5, 0.5]]).double(),
        torch.ones(1, 2) > 0,
    )  # fmt: skip
    found = MixtureEnergy(0.1).minimize(far, y, m, iterations=5)
    assert found.alive.tolist() == [[True, False]]
    assert torch.isfinite(found.centers).all()
    padded = torch.cat([y, torch.zeros(1, 4, 3).double()], 1)
    mass = torch.cat([m, torch.zeros(1, 4).double()], 1)
    energy = MixtureEnergy(0.3)
    a = energy.minimize(Mixture.of(y, m), y, m)
    b = energy.minimize(Mixture.of(padded, mass), padded, mass)
    torch.testing.assert_close(b.centers[:, :18], a.centers)
    assert not b.alive[:, 18:].any()


def test_merging_pools_mass_and_place():
    at = torch.tensor([[[0.0, 0, 0], [5, 0, 0], [0.4, 0, 0], [0.8, 0, 0]]]).double()
    shares = torch.tensor([[0.1, 0.4, 0.2, 0.3]]).double()
    found = merged(Mixture(at, shares, torch.ones(1, 4) > 0), 0.5)
    torch.testing.assert_close(found.shares, torch.tensor([[0.6, 0.4]]).double())
    expected = (0.2 * 0.4 + 0.3 * 0.8) / 0.6
    torch.testing.assert_close(found.centers[0, :, 0], torch.tensor([expected, 5]).double())


def test_components_of_graphs_against_a_search():
    for seed in range(5):
        joined = uniform(3, 12, 12, seed=seed) < 0.1
        joined = joined | joined.transpose(1, 2)
        for graph, found in zip(joined, connected(joined), strict=True):
            for start in range(12):
                seen, stack = {start}, [start]
                while stack:
                    for near in graph[stack.pop()].nonzero()[:, 0].tolist():
                        if near not in seen:
                            seen.add(near)
                            stack.append(near)
                assert found[start] == min(seen)


def test_votes_of_cells_are_means_and_shares():
    votes, cells = normal(2, 4, 3), Partition(torch.tensor([[0, 0, 1, 0], [0, 1, 2, 2]]))
    means, mass = cell_votes(votes, cells, owner=cells.cloud_of_cell, place=cells.label_of_cell)
    torch.testing.assert_close(means[0, 0], votes[0, [0, 1, 3]].mean(0))
    torch.testing.assert_close(mass, torch.tensor([[0.75, 0.25, 0], [0.25, 0.25, 0.5]]).double())


def test_mixtures_within_groups_are_those_of_the_groups_alone():
    votes = normal(2, 30, 3)
    draw = torch.Generator().manual_seed(0)
    finer = Partition(torch.randint(0, 12, (2, 30), generator=draw))
    within = Partition(finer.labels % 3)
    predict = MixturePartition(0.5)
    found = predict(votes, finer, within=within)
    assert found.partition.refines(within)
    assert finer.refines(found.partition)
    certain = torch.zeros(2).double()
    for b in range(2):
        for group in range(3):
            own = within.labels[b] == group
            alone = predict(votes[b, own][None], Partition(finer.labels[b, own][None]))
            assert Partition(found.partition.labels[b, own]) == Partition(alone.partition.labels[0])
            certain[b] += alone.log_certainty[0]
    torch.testing.assert_close(found.log_certainty, certain)


def test_refusals():
    for wrong in ({"sigma": 0.0}, {"sigma": 1.0, "merging": 0.05}, {"sigma": 1.0, "merging": -1.0}):
        with pytest.raises(ConventionError, match="sigma"):
            MixtureEnergy(**wrong)
        with pytest.raises(ConventionError, match="sigma"):
            MixturePartition(**wrong)
    with pytest.raises(ConventionError, match="iteration"):
        MixturePartition(1.0, iterations=0)
    with pytest.raises(ShapeError, match="votes"):
        MixturePartition(1.0)(normal(1, 3, 3), Partition.singletons(4, 1))
