"""Haar measure by every decomposition: invariance, one integral, Jacobians, and broken twins."""

import math

import pytest
import torch

from equivariant.groups import (
    GL,
    KAK,
    SL,
    SO2,
    SO3,
    Iwasawa,
    LogNormalSampler,
    Polar,
    ScaledRotations,
    TruncatedHaarSampler,
    haar_density,
)

GROUPS = (GL(2), GL(3), SL(2), SL(3), ScaledRotations(2), ScaledRotations(3), SO2(), SO3())
ORDERS = ("KAN", "KNA", "NAK", "ANK")
DRAWS = 40_000
SPREAD = {"P": 0.45, "A": 0.5, "N": 0.6, "exp H": 0.6}  # deviations of proposals


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def decompositions(group):
    return [Polar(group), KAK(group), *(Iwasawa(group, order) for order in ORDERS)]


def proposals(of, count, generator, density=None):
    """Elements and weights with E w f = ∫ f dμ: Haar rotations, normal numbers for the rest."""
    group, n = of.linear_group, of.group.matrix_size
    log_weight = torch.full((count,), of.log_constant, dtype=torch.float64)

    def normal(name, size):
        nonlocal log_weight
        spread = SPREAD[name]
        x = torch.randn(count, size, generator=generator, dtype=torch.float64)
        constant = size * math.log(math.sqrt(2 * math.pi) * spread)
        log_weight = log_weight + 0.5 * x.square().sum(-1) + constant
        return spread * x

    factors = []
    for name in of.factors:
        if name in ("R", "K", "k1", "k2"):
            factors.append(group.orthogonal_subgroup.sample(count, generator=generator))
        elif name == "P":
            basis = group.symmetric_basis()
            x = torch.einsum("ck,kij->cij", normal(name, len(basis)), basis)
            factors.append(torch.linalg.matrix_exp(x))
        elif name == "N":
            matrix = torch.eye(n, dtype=torch.float64).repeat(count, 1, 1)
            for i, j in group.roots():
                matrix[:, i, j] = normal(name, 1).squeeze(-1)
            factors.append(matrix)
        else:
            rows = group.stretches()
            factors.append(torch.diag_embed((normal(name, len(rows)) @ rows).exp()))
    if isinstance(of, KAK) and group.roots():
        log_weight -= math.lgamma(n + 1)  # draws are not ordered: every element n! times
    log_weight += of.log_density(*factors) if density is None else density
    return of.merge(*factors), log_weight.exp()


def bump(h):
    """Smooth, not symmetric, and zero unless Σ (cosh 2x_i - 1) < 2, so |x_i| < 0.89."""
    inverse = torch.linalg.inv(h)
    size = 0.5 * (h.square().sum((-2, -1)) + inverse.square().sum((-2, -1))) - h.shape[-1]
    inside = size < 2
    shape = (-1 / (1 - torch.where(inside, size, 0.0) / 2)).exp()
    return torch.where(inside, shape * (1 + 0.5 * (h[..., 0, 1] + 2 * h[..., 0, 0]).sin()), 0.0)


def scores(h, weights, moves):
    """|mean of w f(g h) - w f(h)| in standard errors, and the same from the right."""
    found = []
    here = bump(h)
    for g in moves:
        for moved in (g @ h, h @ g):
            change = weights * (bump(moved) - here)
            found.append(abs(float(change.mean())) / (float(change.std()) / len(h) ** 0.5 + 1e-12))
    return found


def moves_of(group):
    return TruncatedHaarSampler(group, 0.25).draw(2, generator=seeded(5)).elements


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_haar_measure_is_left_and_right_invariant(group):
    for seed, of in enumerate(decompositions(group)):
        h, weights = proposals(of, DRAWS, seeded(seed))
        assert max(scores(h, weights, moves_of(group))) < 4, of
    drawn = LogNormalSampler(group, 1.0).draw(DRAWS, generator=seeded(9))
    assert max(scores(drawn.elements, drawn.weights, moves_of(group))) < 4
    for method in ("independent", "antithetic", "stratified"):
        sampler = TruncatedHaarSampler(group, 1.2, scale_radius=0.95, method=method)
        drawn = sampler.draw(DRAWS, generator=seeded(10))
        assert max(scores(drawn.elements, drawn.weights, moves_of(group))) < 4, method


@pytest.mark.parametrize("group", [GL(2), GL(3), SL(2), SL(3)], ids=str)
def test_twins_without_the_density_are_refused(group):
    """The published sampler (no weights), and decompositions whose density is forgotten."""
    drawn = LogNormalSampler(group, 0.1**0.5, weighted=False).draw(DRAWS, generator=seeded())
    assert max(scores(drawn.elements, drawn.weights, moves_of(group))) > 8
    for of in (Polar(group), KAK(group), Iwasawa(group, "KAN"), Iwasawa(group, "NAK")):
        h, weights = proposals(of, 4 * DRAWS, seeded(1), density=0.0)
        assert max(scores(h, weights, moves_of(group))) > 4, of


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_one_integral_by_every_decomposition_and_sampler(group):
    """∫ f dμ with all constants, so that the measures are one and not only proportional."""
    values = {}
    for seed, of in enumerate(decompositions(group)):
        h, weights = proposals(of, DRAWS, seeded(20 + seed))
        values[str(of)] = weights * bump(h)
    drawn = LogNormalSampler(group, 1.0).draw(DRAWS, generator=seeded(30))
    values["log-normal"] = drawn.weights * bump(drawn.elements)
    sampler = TruncatedHaarSampler(group, 0.95, scale_radius=0.7)
    drawn = sampler.draw(DRAWS, generator=seeded(31))
    values["truncated"] = sampler.volume * bump(drawn.elements)
    means = {name: float(value.mean()) for name, value in values.items()}
    errors = {name: float(value.std()) / DRAWS**0.5 for name, value in values.items()}
    best = min(errors, key=errors.get)
    for name in values:
        gap = abs(means[name] - means[best])
        assert gap < 4 * math.hypot(errors[name], errors[best]) + 1e-12, (name, means, errors)
    assert max(errors[name] / means[name] for name in values) < 0.05


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_densities_are_jacobians(group):
    """|det of c ↦ h⁻¹ dh| in orthonormal coordinates, against the formula of every chart.

    The algebra's measure is that of symmetric orthonormal coordinates times that of rotation
    vectors; for rotations of total mass 1 it is divided by their volume.
    """
    rotations, symmetric = group.orthogonal_subgroup, group.symmetric_basis()
    volume = {1: 2 * math.pi, 3: 8 * math.pi**2}[rotations.dim]
    h0 = group.sample(3, generator=seeded(), scale=0.4)
    for of in decompositions(group):
        if isinstance(of, KAK) and not group.roots():
            continue  # two rotations where one is enough
        for h in h0:
            c = of.coordinates(h)

            def moved(c, of=of, h=h):
                algebra = torch.linalg.solve(h, of.from_coordinates(c))
                x = torch.einsum("ij,kij->k", algebra, symmetric)
                return torch.cat([x, rotations.vee(algebra)])

            jacobian = torch.autograd.functional.jacobian(moved, c)
            expected = of.log_density(*of.split(h)) + of.log_constant
            turns, places = rotations.dim, chart_places(of)
            for start in places:
                expected += haar_density(rotations, c[start : start + turns]).log()
            if isinstance(of, KAK):  # a second rotation, and 2ⁿ⁻¹ sign changes of singular vectors
                expected -= math.log(volume) - (group.matrix_size - 1) * math.log(2)
            found = torch.linalg.det(jacobian).abs().log()
            torch.testing.assert_close(found, expected, atol=1e-9, rtol=0, msg=str(of))


def chart_places(of):
    """Where coordinates of rotations start."""
    group, at, places = of.linear_group, 0, []
    sizes = {"P": len(group.symmetric_basis()), "A": len(group.stretches()),
             "exp H": len(group.stretches()), "N": len(group.roots())}  # fmt: skip
    for name in of.factors:
        if name not in sizes:
            places.append(at)
        at += sizes.get(name, group.orthogonal_subgroup.dim)
    return places
