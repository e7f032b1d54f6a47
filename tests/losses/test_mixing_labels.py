"""Mixtures for continuous labels against loops; paths of rotations at their singular points."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3
from equivariant.losses import (
    anchor_exclusive,
    anchor_exclusive_rotations,
    anchor_inclusive,
    nearest_on_geodesic,
    slerp,
)

PI = math.pi


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def turns(*angles, axis=(0.0, 0.0, 1.0)):
    axis = normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    return SO3().exp(torch.tensor(angles, dtype=torch.float64)[:, None] * axis)


def check_mixture(found, z):
    share = found.share[..., None]
    torch.testing.assert_close(found.z, share * z[found.first] + (1 - share) * z[found.second])
    assert not found.z.requires_grad
    assert bool(((found.share >= 0) & (found.share <= 1)).all())


def test_inclusive_mixtures_of_numbers_by_loops():
    z, y = draw(9, 4).requires_grad_(), torch.tensor([0.0, 0.0, 1.0, 1.0, 2.0, 5.0, 5.0, 5.0, -3.0])
    found = anchor_inclusive(z, y, count=50, generator=rng())
    check_mixture(found, z.detach())
    assert bool(found.valid.all()) and bool((found.weight == 1).all())
    for i in range(9):
        assert found.first[i].unique().tolist() == [i]
        allowed = {j for j in range(9) if y[j] != y[i]}
        assert set(found.second[i].tolist()) == allowed  # 50 draws see all of them
        for s in range(50):
            lam, k = float(found.share[i, s]), int(found.second[i, s])
            mixed = lam * float(y[i]) + (1 - lam) * float(y[k])
            assert float(found.label[i, s]) == pytest.approx(mixed, abs=1e-5)
    assert float(found.share.mean()) == pytest.approx(0.2, abs=0.03)  # Beta(2, 8)
    again = anchor_inclusive(z, y, count=50, generator=rng())
    assert torch.equal(found.z, again.z) and torch.equal(found.second, again.second)


def test_one_label_alone_has_no_negatives():
    found = anchor_inclusive(draw(3, 2), torch.ones(3, dtype=torch.int64), count=2)
    assert found.valid.tolist() == [False] * 3 and float(found.weight.sum()) == 0.0
    assert anchor_inclusive(draw(0, 2), torch.ones(0), count=2).z.shape == (0, 2, 2)


def test_inclusive_mixtures_of_angles_take_the_shorter_arc():
    z, y = draw(3, 2), torch.tensor([350.0, 10.0, 90.0], dtype=torch.float64)
    found = anchor_inclusive(z, y, count=200, period=360.0, generator=rng())
    check_mixture(found, z)
    between = found.label[0][found.second[0] == 1]  # 350 and 10
    assert bool(((between >= 350) | (between <= 10)).all()) and between.numel() > 50
    on_a_line = anchor_inclusive(z, y, count=200, generator=rng()).label[0]
    assert bool(((on_a_line > 11) & (on_a_line < 349)).any())
    same = torch.tensor([0.0, 360.0, 720.0])
    assert not bool(anchor_inclusive(draw(3, 2), same, count=1, period=360.0).valid.any())


def test_inclusive_mixtures_of_rotations_divide_the_geodesic():
    z, y = draw(5, 3), SO3().sample(5, generator=rng(1))
    found = anchor_inclusive(z, y, count=20, generator=rng())
    check_mixture(found, z)
    assert bool((found.second != found.first).all())
    whole = SO3().distance(y[found.first], y[found.second])
    from_anchor = SO3().distance(y[found.first], found.label)
    torch.testing.assert_close(from_anchor, (1 - found.share) * whole, atol=1e-12, rtol=0)
    from_other = SO3().distance(y[found.second], found.label)
    torch.testing.assert_close(from_other, found.share * whole, atol=1e-12, rtol=0)
    twice = torch.cat([y[:1], y[:1]])  # both views of one object
    assert not bool(anchor_inclusive(z[:2], twice, count=1).valid.any())


def test_exclusive_mixtures_have_exactly_the_label_of_the_anchor():
    z, y = draw(40, 4), draw(40, seed=1) * 4
    y[1] = y[0]
    found = anchor_exclusive(z, y, window=2.0, count=30, generator=rng(2))
    check_mixture(found, z)
    for i in range(40):
        below = {j for j in range(40) if 0 < float(y[i] - y[j]) <= 2.0}
        above = {j for j in range(40) if 0 < float(y[j] - y[i]) <= 2.0}
        assert bool(found.valid[i]) == (bool(below) and bool(above))
        if not found.valid[i]:
            assert float(found.weight[i].sum()) == 0.0
            continue
        for s in range(30):
            j, k = int(found.first[i, s]), int(found.second[i, s])
            assert j in below and k in above
            lam = float(found.share[i, s])
            mixed = lam * float(y[j]) + (1 - lam) * float(y[k])
            assert mixed == pytest.approx(float(y[i]), abs=1e-13)
    assert torch.equal(found.label, y[:, None].expand(-1, 30))
    assert 5 < int(found.valid.sum()) < 40


def test_embeddings_linear_in_the_label_are_their_own_mixtures():
    y = draw(20, seed=3)
    z = torch.stack([y, 3 - 2 * y], 1)
    found = anchor_exclusive(z, y, window=10.0, count=5, generator=rng())
    assert int(found.valid.sum()) == 18
    expected = z[:, None].expand(-1, 5, -1)
    torch.testing.assert_close(found.z[found.valid], expected[found.valid])


def test_exclusive_mixtures_of_angles_cross_zero():
    y = torch.tensor([350.0, 5.0, 20.0, 180.0])
    found = anchor_exclusive(torch.eye(4), y, window=60.0, count=3, period=360.0, generator=rng())
    assert found.valid.tolist() == [False, True, False, False]
    torch.testing.assert_close(found.z[1], torch.tensor([[0.5, 0.0, 0.5, 0.0]]).expand(3, -1))
    assert not bool(anchor_exclusive(torch.eye(4), y, window=60.0, count=1).valid[1])
    with pytest.raises(ConventionError, match="at most 90"):
        anchor_exclusive(torch.eye(4), y, window=100.0, count=3, period=360.0)


def test_slerp_hits_both_ends_and_moves_at_constant_speed():
    a, b = SO3().sample(30, generator=rng()), SO3().sample(30, generator=rng(1))
    b[0], b[1] = a[0], a[1] @ turns(PI, axis=(1.0, 2.0, -1.0))[0]
    for t, end in ((0.0, a), (1.0, b)):
        torch.testing.assert_close(slerp(a, b, torch.full((30,), t, dtype=torch.float64)), end)
    t = torch.rand(30, generator=rng(2), dtype=torch.float64)
    middle, whole = slerp(a, b, t), SO3().distance(a, b)
    torch.testing.assert_close(SO3().distance(a, middle), t * whole, atol=1e-12, rtol=0)
    torch.testing.assert_close(SO3().distance(middle, b), (1 - t) * whole, atol=1e-12, rtol=0)


def test_the_nearest_point_is_that_of_a_fine_grid():
    a, b, r = (SO3().sample(60, generator=rng(s)) for s in range(3))
    a[:10], b[:10] = turns(*[0.1 * i for i in range(10)]), turns(*[0.3 * i for i in range(10)])
    r[:10] = turns(*[0.17 * i for i in range(10)], axis=(0.1, 0.0, 1.0))
    t, point = nearest_on_geodesic(r, a, b)
    torch.testing.assert_close(point, slerp(a, b, t), atol=1e-12, rtol=0)
    ours = SO3().distance(point, r)
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)
    for i in range(60):
        path = slerp(a[i].expand(2001, 3, 3), b[i].expand(2001, 3, 3), grid)
        distance = SO3().distance(path, r[i].expand(2001, 3, 3))
        assert float(ours[i]) <= float(distance.min()) + 1e-12
        assert float(ours[i]) == pytest.approx(float(distance.min()), abs=2e-3)
    inside = (t > 0) & (t < 1)
    assert 10 < int(inside.sum()) < 60  # both cases are met


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (1.0, -2.0, 0.5), (-1.0, 0.0, 0.0)])
def test_across_a_half_turn_the_path_on_the_side_of_the_anchor_is_taken(axis):
    a, b = turns(0.0, axis=axis), turns(PI, axis=axis)
    for angle in (0.7, -0.7):
        t, point = nearest_on_geodesic(turns(angle, axis=axis), a, b)
        assert float(t) == pytest.approx(0.7 / PI, abs=1e-12)
        torch.testing.assert_close(point, turns(angle, axis=axis), atol=1e-12, rtol=0)


def test_ends_equal_rotations_and_far_anchors():
    a, b = turns(0.0), turns(1.0)
    assert float(nearest_on_geodesic(a, a, b)[0]) == 0.0
    assert float(nearest_on_geodesic(b, a, b)[0]) == pytest.approx(1.0, abs=1e-15)
    assert float(nearest_on_geodesic(turns(-0.5), a, b)[0]) == 0.0
    assert float(nearest_on_geodesic(turns(1.5), a, b)[0]) == 1.0
    t, point = nearest_on_geodesic(b, a, a)
    assert float(t) == 0.0 and torch.equal(point, a)
    far = turns(PI, axis=(1.0, 0.0, 0.0))  # at π from every point of the path
    t, point = nearest_on_geodesic(far, a, b)
    assert 0 <= float(t) <= 1 and bool(torch.isfinite(point).all())


def test_rotations_about_one_axis_agree_with_numbers():
    y = torch.tensor([-0.9, -0.4, 0.0, 0.3, 0.8], dtype=torch.float64)
    z = torch.eye(5, dtype=torch.float64)
    found = anchor_exclusive_rotations(
        z, turns(*y.tolist()), window=1.0, count=6, bandwidth=0.05, generator=rng()
    )
    check_mixture(found, z)
    for i in (1, 2, 3):  # both sides are within the window
        torch.testing.assert_close(found.weight[i], torch.ones(6, dtype=torch.float64))
        mixed = found.share[i] * y[found.first[i]] + (1 - found.share[i]) * y[found.second[i]]
        torch.testing.assert_close(mixed, y[i].expand(6), atol=1e-12, rtol=0)
    # the ends have no neighbours on both sides: they keep the nearest end, discounted
    assert float(found.weight[0].max()) == pytest.approx(
        math.exp(-0.5 * (0.5 / 0.05) ** 2), rel=1e-6
    )


def test_weights_of_rotations_by_the_formula_and_more_draws_lie_nearer():
    z, y = draw(60, 4), SO3().exp(0.5 * draw(60, 3, seed=5))
    options = {"window": 1.2, "count": 8, "bandwidth": 0.2}
    found = anchor_exclusive_rotations(z, y, draws=32, generator=rng(), **options)
    check_mixture(found, z)
    left = SO3().distance(found.label, y[:, None].expand(-1, 8, -1, -1))
    torch.testing.assert_close(found.weight, torch.exp(-0.5 * (left / 0.2) ** 2))
    anchor = torch.arange(60)[:, None]
    for other in (found.first, found.second):
        assert bool((other != anchor)[found.valid].all())
        assert float(SO3().distance(y[other], y[anchor].expand_as(y[other])).max()) <= 1.2
    once = anchor_exclusive_rotations(z, y, draws=1, generator=rng(), **options)
    assert float(found.weight.mean()) > 1.5 * float(once.weight.mean())
    again = anchor_exclusive_rotations(z, y, draws=32, generator=rng(), **options)
    assert torch.equal(found.z, again.z)


def test_rotations_without_two_neighbours_are_marked():
    y = torch.cat([turns(0.0, 0.0, 0.1), turns(3.0)])
    found = anchor_exclusive_rotations(
        torch.eye(4), y.float(), window=0.5, count=2, bandwidth=0.1, generator=rng()
    )
    # the first two see only the third; the third sees two equal ones; the last sees nobody
    assert found.valid.tolist() == [False] * 4 and float(found.weight.sum()) == 0.0
    assert bool(torch.isfinite(found.z).all())


def test_refusals():
    z = draw(3, 2)
    with pytest.raises(ShapeError, match=r"\(3,\) or \(3, 3, 3\)"):
        anchor_inclusive(z, torch.ones(3, 2), count=1)
    with pytest.raises(ShapeError, match="anchor_exclusive_rotations"):
        anchor_exclusive(z, turns(0.0, 1.0, 2.0), window=1.0, count=1)
    with pytest.raises(ConventionError, match="count"):
        anchor_inclusive(z, torch.ones(3), count=0)
    with pytest.raises(ConventionError, match="period"):
        anchor_inclusive(z, turns(0.0, 1.0, 2.0), count=1, period=2 * PI)
    with pytest.raises(ConventionError, match="window"):
        anchor_exclusive(z, torch.ones(3), window=0.0, count=1)
    with pytest.raises(ConventionError, match="bandwidth"):
        anchor_exclusive_rotations(z, turns(0.0, 1.0, 2.0), window=1.0, count=1, bandwidth=0.0)
    with pytest.raises(ConventionError, match="concentration"):
        anchor_inclusive(z, torch.arange(3.0), count=1, concentration=(0.0, 1.0))
