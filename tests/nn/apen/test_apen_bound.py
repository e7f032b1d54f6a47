"""The error bound: the theorem on random trials, λ by enumeration, calibration by simulation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.actions import Piecewise
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SE3
from equivariant.nn import Partition, PiecewiseLayer, farthest_point_partition
from equivariant.nn.apen import Calibration, affected_points, delta, refinement_failure
from equivariant.nn.apen.error_bound import parts_of_cells


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


TRIALS, POINTS, CELLS, PARTS = 1000, 10, 5, 2


def trials():
    """Clouds of two parts that move by themselves, and beliefs about them of every quality."""
    x = normal(TRIALS, POINTS, 3)
    parts = (torch.arange(POINTS) >= 6).long().expand(TRIALS, POINTS)
    action = Piecewise(SE3(), parts[0])
    gx = action(action.group.sample(TRIALS, generator=generator(1)), x)
    right = torch.arange(POINTS) // 2  # refines the parts
    wrong = torch.randint(0, CELLS, (TRIALS, POINTS), generator=generator(2))
    mistaken = torch.rand(TRIALS, POINTS, generator=generator(3)) < 0.06
    label = torch.where(mistaken, wrong, right)
    sharpness = torch.rand(TRIALS, 1, 1, generator=generator(4), dtype=torch.float64) * 30 + 5
    belief = torch.nn.functional.one_hot(label, CELLS).double() * (1 + sharpness)
    return x, gx, parts, (belief + 0.3 * normal(TRIALS, POINTS, CELLS, seed=5)).softmax(-1)


def measured():
    """Error of a network on the most probable partition, and the parts of the bound."""
    x, gx, parts, q = trials()
    torch.manual_seed(0)
    layer = PiecewiseLayer(width=8).double().eval().requires_grad_(False)
    predicted = Partition(q.argmax(-1))
    before, after = layer(x, predicted)[0], layer(gx, predicted)[0]
    error = (after - before).flatten(1).norm(dim=1)
    largest = 2 * torch.stack([before, after]).flatten(2).norm(dim=2).max()
    lam = torch.tensor([refinement_failure(q[k], parts[k], draws=200) for k in range(TRIALS)])
    refines = predicted.refines_each(Partition(parts))
    return error, lam.double(), delta(q), largest, refines


def test_the_theorem_on_a_thousand_trials():
    """The error is below (λ + δ) M, on average and trial by trial, and exactly 0 where it must be.

    The broken twin, the bound without λ, is rejected on both counts.
    """
    error, lam, differs, largest, refines = measured()
    assert 0.2 < refines.double().mean() < 0.8
    assert error[refines].max() < 1e-9
    bound = (lam + differs) * largest
    noise = 4 * 0.5 / math.sqrt(200) * largest  # of λ by 200 draws
    assert error.mean() <= bound.mean()
    assert (error <= bound + noise).all()
    assert ((lam + differs)[~refines] >= 1 - 4 * 0.5 / math.sqrt(200)).all()
    twin = differs * largest
    assert error.mean() > twin.mean()
    assert (error > twin + noise).any()


def test_lambda_by_enumeration():
    q = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4]])
    parts = torch.tensor([0, 0, 1, 1])
    exact = 0.0
    for labels in itertools.product(range(3), repeat=4):
        chance = math.prod(float(q[i, j]) for i, j in enumerate(labels))
        if not Partition(torch.tensor(labels)).refines(Partition(parts)):
            exact += chance
    found = refinement_failure(q, parts, draws=20_000)
    assert abs(found - exact) < 5 * 0.5 / math.sqrt(20_000)
    assert found == refinement_failure(q, parts, draws=20_000)
    assert refinement_failure(q, torch.tensor([0, 0, -1, 1])) == 1.0


def test_delta_is_the_chance_of_another_draw():
    rows = [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]
    q = torch.tensor(rows, dtype=torch.float64)
    exact = 0.0
    best = q.argmax(-1).tolist()
    for labels in itertools.product(range(3), repeat=3):
        if list(labels) != best:
            exact += math.prod(float(q[i, j]) for i, j in enumerate(labels))
    assert abs(float(delta(q)) - exact) < 1e-14
    assert float(delta(q)) <= float((1 - q.amax(-1)).sum())
    assert float(delta(torch.eye(4))) == 0
    assert delta(q.expand(2, 5, 3, 3)).shape == (2, 5)


def rods(clouds, points, gap, seed=0):
    """Two parallel rods."""
    along = torch.rand(clouds, points, generator=generator(seed), dtype=torch.float64)
    part = (torch.arange(points) % 2).expand(clouds, points)
    side = part.double() * gap
    return torch.stack([along, side, torch.zeros_like(along)], -1), Partition(part)


@pytest.mark.parametrize("gap", [0.05, 0.2])
def test_cells_around_seeds_become_fine_enough(gap):
    """λ of farthest points falls to 0 with the number of cells; wide gaps need fewer."""
    x, parts = rods(100, 40, gap)
    failures = [
        float((~farthest_point_partition(x, k).refines_each(parts)).double().mean())
        for k in (1, 2, 4, 8, 16, 24, 32, 40)
    ]
    assert failures[0] == 1
    assert failures[-1] == 0
    assert all(b <= a + 0.05 for a, b in itertools.pairwise(failures))
    middle = failures[3]
    assert middle < 0.2 if gap == 0.2 else middle > 0.5


def test_independent_uniform_labels_do_not():
    """The counter-example: as many labels as points, and still points of two parts share one."""
    n = 40
    uniform = torch.full((n, n), 1 / n, dtype=torch.float64)
    parts = torch.arange(n) % 2
    assert refinement_failure(uniform, parts, draws=500) > 0.95
    assert float(delta(uniform)) > 0.999


def test_affected_points_against_definition():
    """By sets: the last cell is the same, within one part, and cut alike."""

    def blocks(labels):
        return {frozenset(i for i, v in enumerate(labels) if v == u) for u in labels}

    for seed in range(60):
        draw = generator(seed)
        fine = [torch.randint(0, 5, (8,), generator=draw)]
        fine.append(torch.where(torch.rand(8, generator=draw) < 0.8, fine[0], fine[0].flip(0)))
        coarse = [labels // 2 for labels in fine]
        parts = torch.randint(0, 2, (8,), generator=draw) * (seed % 3 > 0)
        found = affected_points(
            *([Partition(f[None]), Partition(c[None])] for f, c in zip(fine, coarse, strict=True)),
            Partition(parts[None]),
        )[0]
        for i in range(8):
            cells = [next(b for b in blocks(c.tolist()) if i in b) for c in coarse]
            cut = [{b for b in blocks(f.tolist()) if b & cells[0]} for f in fine]
            pure = len({int(parts[j]) for j in cells[0]}) == 1
            assert bool(found[i]) == (not (pure and cells[0] == cells[1] and cut[0] == cut[1]))


def test_parts_of_cells():
    cells, parts = (
        Partition(torch.tensor([[0, 0, 1, 1, 2]])),
        Partition(torch.tensor([[4, 4, 4, 7, 7]])),
    )
    assert parts_of_cells(cells, parts).tolist() == [0, -1, 1]


@pytest.mark.parametrize("groups", [1, 3])
def test_calibrated_bounds_hold_for_new_scenes(groups):
    """Over many calibration sets: failures and shares of the new scene, in every group.

    Without the "+ 1" of conformal prediction the same check fails.
    """
    repeats, count = 800, 24
    failed, promised, naive, below = [], [], [], []
    for seed in range(repeats):
        draw = generator(seed)
        score = torch.rand(count + 1, generator=draw, dtype=torch.float64)
        share = torch.rand(count + 1, generator=draw, dtype=torch.float64) < 0.1 + 0.3 * score
        share = share * torch.rand(count + 1, generator=draw, dtype=torch.float64)
        fails = (share > 0).double()
        calibration = Calibration(groups)
        calibration.fit(
            score[:-1], fails[:-1], share[:-1], refinement=fails[:-1], change=share[:-1], level=0.8
        )
        bound = calibration.bound(score[-1:], delta=torch.zeros(1).double())
        group = calibration.group(score[-1:])
        failed.append(float(fails[-1]))
        promised.append(float(bound.probability))
        naive.append(float(calibration.failures[group] / calibration.scenes[group].clamp(min=1)))
        below.append(float(share[-1] <= bound.share and share[-1] <= bound.change))
    mean = torch.tensor(failed).mean()
    noise = 3 * torch.tensor(failed).std() / math.sqrt(repeats)
    assert torch.tensor(promised).mean() >= mean - noise
    assert torch.tensor(below).mean() >= 0.8 - 3 * 0.4 / math.sqrt(repeats)
    if groups == 3:
        assert torch.tensor(promised).mean() > torch.tensor(naive).mean()


def test_conformal_numbers_by_hand():
    calibration = Calibration(1)
    share = torch.arange(9).double() / 10
    calibration.fit(
        share, (share > 0.55).double(), share, refinement=share, change=share / 2, level=0.5
    )
    bound = calibration.bound(torch.zeros(1).double(), delta=torch.tensor([0.25]).double())
    assert bound.probability.item() == pytest.approx(4 / 10)  # three failures of nine
    assert bound.share.item() == pytest.approx(0.4)  # the fifth smallest of nine
    assert bound.change.item() == pytest.approx(0.2)
    assert bound.refinement.item() == pytest.approx((1 + 3.6) / 10)
    assert bound.theorem.item() == pytest.approx((0.46 + 0.25) * math.sqrt(2))
    assert bound.mean_error.item() == pytest.approx(0.4 * math.sqrt(2))
    assert bound.error.item() == pytest.approx(0.4 * math.sqrt(2))
    calibration.tolerance.fill_(0.1)
    allowed = calibration.bound(torch.zeros(1).double(), delta=torch.zeros(1).double())
    assert allowed.mean_error.item() == pytest.approx(0.4 * math.sqrt(2) + 0.6 * 0.1)
    # Clopper and Pearson: 3 or fewer of 9 have probability 1 - level at the limit
    limit = calibration.confident(torch.zeros(1).double()).item()
    tail = sum(math.comb(9, k) * limit**k * (1 - limit) ** (9 - k) for k in range(4))
    assert tail == pytest.approx(0.5)


def test_before_calibration_nothing_is_promised():
    calibration = Calibration()
    bound = calibration.bound(torch.zeros(2), delta=torch.zeros(2))
    assert bound.probability.tolist() == bound.share.tolist() == bound.refinement.tolist() == [1, 1]
    torch.testing.assert_close(bound.change, torch.full((2,), math.sqrt(2)))
    assert calibration.confident(torch.zeros(2)).tolist() == [1, 1]


def test_refusals():
    with pytest.raises(ConventionError, match="groups"):
        Calibration(0)
    ones = torch.ones(4)
    with pytest.raises((ShapeError, TypeCheckError)):
        Calibration(1).fit(ones, ones[:2], ones, refinement=ones, change=ones)
    for wrong in ({"level": 1.0}, {"refinement": 2 * ones}):
        with pytest.raises(ConventionError, match="level"):
            Calibration(1).fit(ones, ones, ones, **{"refinement": ones, "change": ones, **wrong})
    with pytest.raises((ShapeError, TypeCheckError)):
        refinement_failure(torch.eye(3), torch.zeros(2).long())
    with pytest.raises(ConventionError, match="draws"):
        refinement_failure(torch.eye(3), torch.zeros(3).long(), draws=0)
    one = Partition.single_cell(3, 1)
    with pytest.raises(ShapeError, match="as many"):
        affected_points([one], [one, one], one)
