"""Synthetic negatives and positives against loops, identities, and what they must not do."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import (
    Hallucinator,
    extrapolate_positives,
    interpolate_negatives,
    mochi,
)
from equivariant.losses.synthesis.draws import beta, choose, position, uniform


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def units(n, d, seed=0):
    return normalize(torch.randn(n, d, generator=rng(seed), dtype=torch.float64), dim=1)


def test_mixtures_are_those_of_the_formula_recomputed_by_loops():
    q, bank = units(5, 6), units(40, 6, 1)
    found = mochi(q, bank, hardest=8, mixed=7, with_query=4, generator=rng(2))
    assert found.z.shape == (5, 11, 6) and bool(found.valid.all())
    for i in range(5):
        order = sorted(range(40), key=lambda j: -float(q[i] @ bank[j]))[:8]
        for s in range(11):
            a, b = found.rows[i, s].tolist()
            share = float(found.share[i, s])
            first = q[i] if a == -1 else bank[a]
            assert (a == -1) == (s >= 7) and b in order and (a == -1 or a in order) and a != b
            assert 0 <= share < (0.5 if s >= 7 else 1.0)
            expected = share * first + (1 - share) * bank[b]
            expected = expected / expected.norm()
            torch.testing.assert_close(found.z[i, s], expected, atol=1e-14, rtol=0)


def test_mixtures_are_unit_detached_and_reproducible():
    q = units(4, 6).requires_grad_()
    bank = units(30, 6, 1).requires_grad_()
    one, again, other = (
        mochi(3 * q, bank, hardest=5, mixed=6, with_query=6, generator=rng(s)).z for s in (1, 1, 2)
    )
    assert not one.requires_grad and torch.equal(one, again) and not torch.equal(one, other)
    assert float((one.norm(dim=-1) - 1).abs().max()) < 1e-14


def test_harder_on_average_than_uniform_mixtures_and_than_the_bank():
    q, bank = units(32, 16), units(500, 16, 1)
    options = {"mixed": 64, "with_query": 64, "generator": rng(3)}
    hard, uniform_twin = (
        mochi(q, bank, hardest=32, **options),
        mochi(q, bank, hardest=500, **options),
    )
    score = lambda z: torch.einsum("nd,nsd->ns", q, z)  # noqa: E731
    mean = lambda found, part: float(score(found.z)[:, part].mean())  # noqa: E731
    for part in (slice(0, 64), slice(64, 128)):
        assert mean(hard, part) > mean(uniform_twin, part) + 0.2
    assert mean(hard, slice(64, 128)) > mean(hard, slice(0, 64))  # the query itself is mixed in
    assert mean(hard, slice(0, 64)) > float((q @ bank.T).mean()) + 0.3
    # scores are positive here, and normalization lengthens: no mixture is easier than both its two
    a, b = (bank[hard.rows[:, :64, c]] for c in (0, 1))
    assert bool((score(hard.z)[:, :64] >= torch.minimum(score(a), score(b)) - 1e-12).all())


def test_share_one_returns_the_originals(monkeypatch):
    q, bank = units(3, 4), units(10, 4, 1)
    monkeypatch.setattr(
        "equivariant.losses.synthesis.feature_mixtures.uniform",
        lambda shape, *, like, generator: torch.ones(shape, dtype=torch.float64),
    )
    found = mochi(q, 2 * bank, hardest=4, mixed=5, with_query=0)
    torch.testing.assert_close(found.z, bank[found.rows[..., 0]])


def test_only_allowed_rows_are_mixed_and_queries_without_any_are_marked():
    q, bank = units(4, 5), units(12, 5, 1)
    allowed = torch.rand(4, 12, generator=rng(4)) < 0.4
    allowed[0], allowed[1], allowed[1, 7] = False, False, True
    found = mochi(q, bank, hardest=6, mixed=8, with_query=3, allowed=allowed, generator=rng())
    assert found.valid.tolist() == [False, True, True, True]
    assert float(found.z[0].abs().max()) == 0.0
    for i in (1, 2, 3):
        rows = found.rows[i][found.rows[i] >= 0]
        assert bool(allowed[i, rows].all())
    torch.testing.assert_close(found.z[1, :8], bank[7].expand(8, -1))  # the only one, with itself


def test_mochi_sizes():
    q, bank = units(2, 3), units(4, 3, 1)
    assert mochi(q, bank, mixed=0, with_query=2).z.shape == (2, 2, 3)
    assert mochi(q, bank, mixed=0, with_query=0).z.shape == (2, 0, 3)
    assert mochi(q[:0], bank, mixed=3, with_query=2).z.shape == (0, 5, 3)
    low = mochi(q.bfloat16(), bank.bfloat16(), hardest=2, mixed=2, with_query=2).z
    assert low.dtype == torch.bfloat16
    with pytest.raises(ShapeError, match="at least one negative"):
        mochi(q, bank[:0])
    with pytest.raises(ConventionError, match="hardest"):
        mochi(q, bank, hardest=0)
    with pytest.raises(ConventionError, match="mixed=-1"):
        mochi(q, bank, mixed=-1)


def test_score_identity_of_extrapolated_pairs():
    q, k = units(200, 5), units(200, 5, 1)
    found = extrapolate_positives(q, k, per_dimension=False, generator=rng(2))
    s, lam = (q * k).sum(1), found.share[:, 0]
    score = (found.q * found.k).sum(1)
    torch.testing.assert_close(score, s + 2 * lam * (1 - lam) * (1 - s), atol=1e-13, rtol=0)
    assert bool((score <= s).all()) and bool(((lam > 1) & (lam < 2)).all())
    # interpolation instead (λ in [0, 1]) would make positives easier
    twin = s + 2 * (lam - 1) * (2 - lam) * (1 - s)
    assert bool((twin >= s).all())


def test_extrapolation_per_dimension_by_loops_and_its_options():
    q, k = units(6, 4).requires_grad_(), units(6, 4, 1)
    found = extrapolate_positives(q, k, generator=rng(2))
    assert found.share.shape == (6, 4) and found.share.unique().numel() == 24
    for i in range(6):
        for c in range(4):
            lam = float(found.share[i, c])
            x, y = float(q.detach()[i, c]), float(k[i, c])
            assert float(found.q.detach()[i, c]) == pytest.approx(
                lam * x + (1 - lam) * y, abs=1e-14
            )
            assert float(found.k.detach()[i, c]) == pytest.approx(
                lam * y + (1 - lam) * x, abs=1e-14
            )
    assert found.q.requires_grad
    unit = extrapolate_positives(q, k, renormalize=True, generator=rng(2)).q
    torch.testing.assert_close(unit, normalize(found.q, dim=1))
    many = extrapolate_positives(q.expand(6, 4), k, generator=rng(5))
    assert not torch.equal(many.share, found.share)
    with pytest.raises(ShapeError, match="positive per query"):
        extrapolate_positives(q, k[:5])
    with pytest.raises(ConventionError, match="concentration"):
        extrapolate_positives(q, k, concentration=0.0)


def test_interpolated_negatives_by_loops():
    bank = units(30, 4)
    for per_dimension in (True, False):
        found = interpolate_negatives(bank, per_dimension=per_dimension, generator=rng(1))
        assert sorted(found.partner.tolist()) == list(range(30))
        mu = found.share.expand(30, 4)
        for i in range(30):
            expected = mu[i] * bank[i] + (1 - mu[i]) * bank[int(found.partner[i])]
            torch.testing.assert_close(found.z[i], expected, atol=1e-14, rtol=0)
        again = interpolate_negatives(bank, per_dimension=per_dimension, generator=rng(1))
        assert torch.equal(found.z, again.z)
    assert (
        float((interpolate_negatives(bank, renormalize=True).z.norm(dim=1) - 1).abs().max()) < 1e-14
    )
    assert interpolate_negatives(bank[:0]).z.shape == (0, 4)


@pytest.mark.parametrize(("a", "b"), [(2.0, 2.0), (1.6, 1.6), (2.0, 8.0), (0.5, 0.5)])
def test_beta_has_the_moments_of_the_law_and_follows_its_generator(a, b):
    x = beta(a, b, (40000,), like=torch.zeros(1), generator=rng())
    assert torch.equal(x, beta(a, b, (40000,), like=torch.zeros(1), generator=rng()))
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    assert float(x.mean()) == pytest.approx(mean, abs=5 * math.sqrt(variance / 40000))
    assert float(x.var()) == pytest.approx(variance, rel=0.03)
    assert bool(((x >= 0) & (x <= 1)).all())
    before = torch.get_rng_state()
    beta(a, b, (3,), like=torch.zeros(1), generator=rng())
    uniform((3,), like=torch.zeros(1), generator=rng())
    assert torch.equal(before, torch.get_rng_state())  # nothing is taken from the global source


def test_choice_is_uniform_over_the_allowed():
    allowed = torch.tensor([[True, False, True, True], [False] * 4])
    columns, found = choose(allowed, 30000, generator=rng())
    share = torch.bincount(columns[0], minlength=4) / 30000
    torch.testing.assert_close(share, torch.tensor([1 / 3, 0, 1 / 3, 1 / 3]), atol=0.015, rtol=0)
    assert found.tolist() == [True, False] and columns[1].unique().tolist() == [0]
    assert choose(allowed[:, :0], 2)[0].shape == (2, 2)
    top = position(torch.tensor([[3], [0]]), (2, 1000), generator=rng())
    assert top[0].unique().tolist() == [0, 1, 2] and top[1].unique().tolist() == [0]


def test_hallucinator_starts_as_extrapolation_and_learns():
    z, other = units(20, 6), units(20, 6, 1)
    h = Hallucinator(6).double()
    found = h(z, other, generator=rng(2))
    share = uniform((20, 1), like=z, generator=rng(2))
    torch.testing.assert_close(found, normalize(z + share * (z - other), dim=1))
    assert torch.equal(found, h(z, other, generator=rng(2)))
    torch.testing.assert_close(Hallucinator(6, reach=0.0).double()(z, other), z)
    assert bool(((found * other).sum(1) < (z * other).sum(1)).all())  # away from the other view
    found[:, 0].sum().backward()
    last = h.residual[2]
    assert isinstance(last, nn.Linear) and float(last.weight.grad.abs().max()) > 0
    with torch.no_grad():
        last.weight -= last.weight.grad
    moved = h(z, other, generator=rng(2))
    assert not torch.allclose(moved, found)
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(20, dtype=torch.float64))
    with pytest.raises(ConventionError, match="reach"):
        Hallucinator(6, reach=-0.1)
