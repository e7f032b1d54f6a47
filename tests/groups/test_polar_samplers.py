"""Truncated Haar and log-normal samplers against distribution functions, and one another."""

import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import ConventionError
from equivariant.groups import (
    GL,
    KAK,
    O2,
    O3,
    SE2,
    SL,
    SO2,
    SO3,
    LogNormalSampler,
    Polar,
    ScaledRotations,
    TruncatedHaarSampler,
    rotation_angle,
)
from equivariant.groups.spread import evenly_spaced, spread_rotations, strata

GROUPS = (
    GL(2),
    GL(3),
    SL(2),
    SL(3),
    ScaledRotations(2),
    ScaledRotations(3),
    SO2(),
    SO3(),
    O2(),
    O3(),
)
METHODS = ("independent", "antithetic", "quasi", "stratified")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def stretches_of(h):
    return torch.linalg.svdvals(h).log()


@pytest.mark.parametrize("group", GROUPS, ids=str)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [(), (1,), (7,), (3, 8), (0,), (2, 0)])
def test_shapes_bounds_and_seeds(group, method, batch):
    sampler = TruncatedHaarSampler(group, 0.8, scale_radius=0.3, method=method)
    drawn = sampler.draw(*batch, generator=seeded())
    h = drawn.elements
    assert h.shape == (*batch, group.matrix_size, group.matrix_size)
    assert torch.equal(drawn.weights, torch.ones(batch, dtype=torch.float64))
    assert bool(group.contains(h, 1e-12).all())
    assert torch.equal(h, sampler.draw(*batch, generator=seeded()).elements)
    if not h.numel():
        return
    assert not torch.equal(h, sampler.draw(*batch, generator=seeded(1)).elements)
    x = stretches_of(h)
    mean = x.mean(-1)
    limit = 0.3 if sampler.volume and not isinstance(group, SL) else 0.0
    assert float(mean.abs().max()) <= limit + 1e-12
    assert float((x - mean[..., None]).abs().max()) <= 0.8 + 1e-12
    assert float(x.abs().max()) <= math.log(sampler.bound) + 1e-12


def test_bounds():
    assert TruncatedHaarSampler(GL(2), 0.5).bound == pytest.approx(math.e)
    assert TruncatedHaarSampler(GL(3), 0.5, scale_radius=0.0).bound == pytest.approx(math.e**0.5)
    assert TruncatedHaarSampler(SL(2), 0.5, scale_radius=9.0).bound == pytest.approx(math.e**0.5)
    assert TruncatedHaarSampler(ScaledRotations(2), 0.5).bound == pytest.approx(math.e**0.5)
    assert TruncatedHaarSampler(O3(), 0.5).bound == 1.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("radius", [0.05, 0.7, 2.5])
def test_the_radial_law_of_the_plane(radius, method):
    """s has the distribution function (cosh 2s - 1) / (cosh 2S - 1), the mean is uniform."""
    sampler = TruncatedHaarSampler(GL(2), radius, scale_radius=0.4, method=method)
    # Elements of different sets are independent: one from each.
    h = sampler.draw(2000, 5, generator=seeded()).elements[:, 3]
    x = stretches_of(h)
    s, mean = 0.5 * (x[:, 0] - x[:, 1]), x.mean(-1)
    law = lambda s: (np.cosh(2 * s) - 1) / (math.cosh(2 * radius) - 1)  # noqa: E731
    assert scipy.stats.kstest(s.numpy(), law).pvalue > 1e-3
    assert scipy.stats.kstest(mean.numpy(), lambda c: (c + 0.4) / 0.8).pvalue > 1e-3
    wrong = scipy.stats.kstest(s.numpy(), lambda s: s / radius).pvalue  # flat in s
    assert wrong < 1e-6


@pytest.mark.parametrize("radius", [0.05, 0.7, 2.5])
def test_the_radial_law_of_space(radius):
    """The largest gap and the middle deviation, by numerical integration over the gaps a and b."""

    def density(b, a):
        return np.sinh(a) * np.sinh(b) * np.sinh(a + b)

    def share(limit):
        """∫ of the density where the first gap a is at most the limit."""
        top = lambda a: min(1.5 * radius - a / 2, 3 * radius - 2 * a)  # noqa: E731
        pieces = [(0.0, min(limit, radius)), (radius, max(limit, radius))]
        return sum(scipy.integrate.dblquad(density, *ends, 0.0, top)[0] for ends in pieces)

    total = share(1.5 * radius)
    grid = np.linspace(0.0, 1.5 * radius, 31)
    table = np.array([share(limit) for limit in grid]) / total
    law = scipy.interpolate.PchipInterpolator(grid, table)
    for method in METHODS:
        sampler = TruncatedHaarSampler(SL(3), radius, method=method)
        x = stretches_of(sampler.draw(1500, 5, generator=seeded()).elements[:, 2])
        for gap in (x[:, 0] - x[:, 1], x[:, 1] - x[:, 2]):  # the law is symmetric
            assert scipy.stats.kstest(gap.numpy(), law).pvalue > 1e-3, method
            assert scipy.stats.kstest(gap.numpy(), lambda a: a / 1.5 / radius).pvalue < 1e-6
    expected = total / math.sqrt(3) * math.exp(KAK(SL(3)).log_constant)
    assert TruncatedHaarSampler(SL(3), radius).volume == pytest.approx(expected, rel=1e-9)


def test_the_joint_law_of_space_by_rejection():
    """Functions of both gaps, against draws accepted by the density."""
    radius, generator = 0.9, np.random.default_rng(0)
    d = generator.uniform(-radius, radius, (400_000, 2))
    d = np.concatenate([d, -d.sum(1, keepdims=True)], 1)
    d = -np.sort(-d[np.abs(d[:, 2]) <= radius], 1)
    gaps = np.stack([d[:, 0] - d[:, 1], d[:, 1] - d[:, 2], d[:, 0] - d[:, 2]], 1)
    density = np.sinh(gaps).prod(1)
    kept = d[generator.uniform(0, density.max(), len(d)) < density]
    h = TruncatedHaarSampler(GL(3), radius, scale_radius=0.0).draw(20_000, generator=seeded())
    x = stretches_of(h.elements).numpy()
    for row in ([1, -1, 0], [0, 1, 0], [1, 1, -2], [0, 1, -1]):
        assert scipy.stats.ks_2samp(kept @ row, x @ row).pvalue > 1e-3, row
    product = [a[:, 0] * a[:, 1] for a in (kept, x)]
    assert scipy.stats.ks_2samp(*product).pvalue > 1e-3


def features(h):
    """Some functions without symmetry, shape (..., k)."""
    n = h.shape[-1]
    entries = h.flatten(-2)
    w = torch.randn(6, n * n, generator=seeded(77), dtype=torch.float64)
    return torch.cat([(entries @ w.mT).sin(), (entries @ w.mT).cos(), entries.square()], -1)


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_all_methods_have_one_mean(group):
    """Averages over sets of 7 dependent elements, over independent sets: within 4 errors."""
    means, errors = {}, {}
    for seed, method in enumerate(METHODS):
        sampler = TruncatedHaarSampler(group, 0.8, scale_radius=0.4, method=method)
        f = features(sampler.draw(1500, 7, generator=seeded(seed)).elements).mean(1)
        means[method], errors[method] = f.mean(0), f.std(0) / len(f) ** 0.5
    for one, other in itertools.combinations(METHODS, 2):
        error = (errors[one].square() + errors[other].square()).sqrt() + 1e-12
        assert float(((means[one] - means[other]).abs() / error).max()) < 4.2, (one, other)


@pytest.mark.parametrize("group", [GL(2), SL(2), SL(3), SO3()], ids=str)
def test_dependent_methods_have_smaller_errors(group):
    """Root mean square errors of smooth averages with 64 elements, below independent draws."""
    spread = {}
    for method in METHODS:
        sampler = TruncatedHaarSampler(group, 0.6, scale_radius=0.4, method=method)
        f = features(sampler.draw(200, 64, generator=seeded()).elements)[..., :6].mean(1)
        spread[method] = float(f.var(0).mean().sqrt())
    assert spread["quasi"] < (0.5 if group.matrix_size == 2 else 0.95) * spread["independent"]
    assert spread["stratified"] < 0.8 * spread["independent"]


def test_antithetic_pairs_are_inverses():
    sampler = TruncatedHaarSampler(GL(3), 0.5, method="antithetic")
    h = sampler.draw(2, 6, generator=seeded()).elements
    eye = GL(3).identity(2, 3)
    torch.testing.assert_close(h[:, :3] @ h[:, 3:], eye, atol=1e-12, rtol=0)
    odd = sampler.draw(7, generator=seeded()).elements
    torch.testing.assert_close(odd[:3] @ odd[4:], eye[0], atol=1e-12, rtol=0)


def test_stratified_angles_are_even_and_singular_values_fill_their_cells():
    u = evenly_spaced((4, 9), 2, seeded()).sort(1).values
    gaps = u.diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / 9))
    assert float((u[0] - u[1]).abs().max()) > 1e-3
    cells = (9 * strata((4, 9), 2, seeded())).long().sort(1).values
    assert torch.equal(cells, torch.arange(9)[None, :, None].expand(4, 9, 2))
    h = TruncatedHaarSampler(SO2(), 1.0, method="stratified").draw(8, generator=seeded()).elements
    angles = SO2().log(h).squeeze(-1).sort().values
    torch.testing.assert_close(angles.diff(), torch.full((7,), math.pi / 4).double())


def test_spread_rotations_are_farther_apart_than_random_ones():
    spread = spread_rotations((40,), seeded())
    random = SO3().sample(40, generator=seeded())

    def nearest(g):
        angles = rotation_angle(g[:, None].mT @ g[None])
        return float((angles + 10 * torch.eye(len(g))).amin(1).mean())

    assert nearest(spread) > 1.3 * nearest(random)
    assert spread_rotations((0,), seeded()).shape == (0, 3, 3)


@pytest.mark.parametrize("group", [GL(2), GL(3), SL(2), SL(3), ScaledRotations(3), SO3()], ids=str)
def test_log_normal_law(group):
    sampler = LogNormalSampler(group, 0.5)
    drawn = sampler.draw(4000, generator=seeded())
    x, _ = Polar(group).logarithms(drawn.elements)
    basis = group.symmetric_basis()
    y = 2 * torch.einsum("cij,kij->ck", x, basis)
    for row in y.mT:
        assert scipy.stats.kstest(row.numpy() / 0.5, "norm").pvalue > 1e-3
    eigenvalues = torch.linalg.eigvalsh(x[:50]).tolist()
    expected = []
    for values, row in zip(eigenvalues, (y[:50] / 2).tolist(), strict=True):
        gaps = [a - b for a, b in itertools.combinations(values, 2)]
        haar = math.prod(math.sinh(gap) / gap if abs(gap) > 1e-6 else 1.0 for gap in gaps)
        expected.append(haar / math.prod(scipy.stats.norm.pdf(v, scale=0.25) for v in row))
    exact = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(drawn.weights[:50], exact, rtol=1e-8, atol=0)
    plain = LogNormalSampler(group, 0.5, weighted=False).draw(4000, generator=seeded())
    assert torch.equal(plain.elements, drawn.elements)
    assert torch.equal(plain.weights, torch.ones(4000).double())


def test_refusals():
    for group in (SE2(), GL(4)):
        with pytest.raises(ConventionError, match="linear group"):
            TruncatedHaarSampler(group, 1.0)
        with pytest.raises(ConventionError, match="linear group"):
            LogNormalSampler(group, 1.0)
    for radius in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConventionError, match="radius"):
            TruncatedHaarSampler(GL(2), radius)
        with pytest.raises(ConventionError, match="scale"):
            LogNormalSampler(GL(2), radius)
    with pytest.raises(ConventionError, match="scale_radius"):
        TruncatedHaarSampler(GL(2), 1.0, scale_radius=-0.5)
    with pytest.raises((ConventionError, TypeCheckError), match="method"):
        TruncatedHaarSampler(GL(2), 1.0, method="sobol")
    turns = set(GL(3).special_elements())
    assert set(TruncatedHaarSampler(GL(3), 0.1).special_elements()) == turns
