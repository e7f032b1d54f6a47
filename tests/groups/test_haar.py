"""Sampling laws against exact Haar measure, closed forms, and a twin that forgets its weights."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    O3,
    SE3,
    SO2,
    SO3,
    BallSampler,
    Elements,
    HaarSampler,
    NormalSampler,
    Product,
    Spin3,
    Torus,
    Translation,
    Weighted,
    effective_sample_size,
    haar_density,
    rotation_angle,
    structure_constants,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def assert_haar_on_rotations(drawn):
    """Weighted moments against E R = 0, E R_ij² = 1/3, the angle's law; six standard errors."""
    w = drawn.weights / drawn.weights.sum()
    angle = rotation_angle(drawn.elements)

    def compare(values, expected):
        mean = (w * values).sum()
        error = float((w.square() * (values - mean).square()).sum().sqrt())
        assert abs(float(mean) - expected) < 6 * error

    compare(angle, math.pi / 2 + 2 / math.pi)
    compare(angle.cos(), -0.5)
    compare((2 * angle).cos(), 0.0)
    for i in range(3):
        for j in range(3):
            compare(drawn.elements[:, i, j], 0.0)
            compare(drawn.elements[:, i, j].square(), 1 / 3)
    order = angle.argsort()
    empirical = w[order].cumsum(0)
    exact = (angle[order] - angle[order].sin()) / math.pi
    size = float(effective_sample_size(drawn.weights))
    assert float((empirical - exact).abs().max()) < 1.95 / math.sqrt(size)


def test_the_ball_of_radius_pi_is_all_of_the_rotations():
    drawn = BallSampler(SO3(), math.pi).draw(100_000, generator=seeded())
    assert_haar_on_rotations(drawn)
    assert_haar_on_rotations(HaarSampler(SO3()).draw(100_000, generator=seeded(1)))
    with pytest.raises(AssertionError):
        assert_haar_on_rotations(Weighted(drawn.elements, torch.ones_like(drawn.weights)))


def test_a_ball_in_the_rotations_is_haar_conditioned_on_the_angle():
    radius = 1.2
    drawn = BallSampler(SO3(), radius).draw(100_000, generator=seeded())
    angle = rotation_angle(drawn.elements)
    assert float(angle.max()) <= radius + 1e-9
    exact = HaarSampler(SO3()).draw(400_000, generator=seeded(1)).elements
    inside = rotation_angle(exact)
    inside = inside[inside <= radius]
    mean = (drawn.weights * angle).sum() / drawn.weights.sum()
    assert abs(float(mean - inside.mean())) < 0.01


def test_density_in_closed_form():
    x = normal(500, 3)
    theta = x.norm(dim=-1)
    so3 = 2 * (1 - theta.cos()) / theta.square()
    torch.testing.assert_close(haar_density(SO3(), x), so3, atol=1e-13, rtol=0)
    torch.testing.assert_close(haar_density(O3(), x), so3, atol=1e-13, rtol=0)
    torch.testing.assert_close(haar_density(Spin3(), x), so3, atol=1e-13, rtol=0)
    twist = torch.cat([x, 3.0 * normal(500, 3, seed=1)], -1)
    torch.testing.assert_close(haar_density(SE3(), twist), so3.square(), atol=1e-12, rtol=0)
    for group in (SO2(), Torus(3), Translation(2)):
        density = haar_density(group, normal(5, group.dim))
        torch.testing.assert_close(density, torch.ones(5).double())
    product = Product(SO3(), Translation(1))
    with_shift = torch.cat([x, normal(500, 1)], -1)
    torch.testing.assert_close(haar_density(product, with_shift), so3, atol=1e-13, rtol=0)


@pytest.mark.parametrize("theta", [0.0, 1e-12, 1e-6, 0.00999, 0.01001, 0.5, math.pi])
def test_density_is_smooth_at_zero(theta):
    x = torch.tensor([0.0, theta, 0.0], dtype=torch.float64)
    expected = (math.sin(theta / 2) / (theta / 2)) ** 2 if theta else 1.0
    assert abs(float(haar_density(SO3(), x)) - expected) < 1e-14


@pytest.mark.parametrize("group", [SO3(), SE3(), Spin3()])
def test_density_is_the_jacobian_of_exp(group):
    """Against the derivative of x ↦ log(exp(x₀)⁻¹ exp(x)), which is φ(ad x₀)."""
    for x in 0.8 * normal(4, group.dim):
        inverse = group.inverse(group.exp(x))
        jacobian = torch.autograd.functional.jacobian(
            lambda y, inverse=inverse: group.log(inverse @ group.exp(y)), x
        )
        expected = torch.linalg.det(jacobian).abs()
        torch.testing.assert_close(haar_density(group, x), expected, atol=1e-9, rtol=0)


def test_structure_constants_are_a_lie_algebra():
    c = structure_constants(SE3())
    assert torch.equal(c, -c.transpose(0, 1))
    jacobi = torch.einsum("ijl,lkm->ijkm", c, c)
    assert (
        float((jacobi + jacobi.permute(1, 2, 0, 3) + jacobi.permute(2, 0, 1, 3)).abs().max()) == 0
    )


def test_injectivity_radii():
    pi = pytest.approx(math.pi)
    radii = [SO2(), SO3(), O3(), SE3(), Torus(2), Product(SO3(), Translation(1)), Spin3()]
    *turns, double = [group.injectivity_radius for group in radii]
    assert turns == [pi] * len(turns)
    assert double == pytest.approx(2 * math.pi)
    assert Translation(2).injectivity_radius == math.inf
    for group in (SO3(), SE3(), SO2()):
        with pytest.raises(ConventionError, match="radius"):
            BallSampler(group, 3.2)
    for radius in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConventionError, match="radius"):
            BallSampler(Translation(2), radius)


def test_groups_that_are_not_compact_have_no_haar_law():
    with pytest.raises(ConventionError, match="BallSampler"):
        HaarSampler(SE3())


def test_ball_in_the_translations_is_uniform():
    drawn = BallSampler(Translation(2), 2.0).draw(50_000, generator=seeded())
    radius = Translation(2).log(drawn.elements).norm(dim=-1)
    assert abs(float((radius / 2).square().mean()) - 0.5) < 0.01
    assert float(drawn.weights.std()) < 1e-12


def test_normal_law():
    scale = torch.tensor([0.1, 0.2, 0.3])
    drawn = NormalSampler(SO3(), scale).draw(50_000, generator=seeded())
    deviation = SO3().log(drawn.elements).std(0)
    torch.testing.assert_close(deviation, scale.double(), atol=5e-3, rtol=0)
    assert torch.equal(drawn.weights, torch.ones(50_000).double())
    single = NormalSampler(SO3(), 0.5).draw(generator=seeded())
    assert single.elements.shape == (3, 3)
    with pytest.raises(ShapeError, match="scale"):
        NormalSampler(SO3(), torch.ones(2))
    with pytest.raises(ConventionError, match="scale"):
        NormalSampler(SO3(), -1.0)


def test_finite_lists():
    angles = (math.pi / 2) * torch.arange(4, dtype=torch.float64)
    quarters = SO2().exp(angles[:, None])
    law = torch.tensor([0.0, 1.0, 2.0, 1.0])
    for weights, expected in ((None, torch.full((4,), 0.25)), (law, law / 4)):
        drawn = Elements(SO2(), quarters, weights).draw(40_000, generator=seeded())
        which = (drawn.elements.unsqueeze(1) == quarters).all(-1).all(-1)
        torch.testing.assert_close(which.float().mean(0), expected, atol=0.015, rtol=0)
        assert torch.equal(drawn.weights, torch.ones(40_000).double())
    with pytest.raises(ShapeError, match="elements"):
        Elements(SO2(), quarters[0])
    with pytest.raises(ShapeError, match="weights"):
        Elements(SO2(), quarters, law[:3])
    with pytest.raises(ConventionError, match="weights"):
        Elements(SO2(), quarters, torch.zeros(4))
    with pytest.raises((ShapeError, TypeCheckError), match="elements"):
        Elements(SO3(), quarters)


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
def test_shapes_and_seeds(batch):
    samplers = (
        HaarSampler(SO3()),
        BallSampler(SO3(), 1.0),
        NormalSampler(SO3(), 1.0),
        Elements(SO3(), SO3().identity(2)),
    )
    for sampler in samplers:
        drawn = sampler.draw(*batch, generator=seeded(3))
        assert drawn.elements.shape == (*batch, 3, 3)
        assert drawn.weights.shape == batch
        assert drawn.elements.dtype == drawn.weights.dtype == torch.float64
        assert torch.equal(drawn.elements, sampler.draw(*batch, generator=seeded(3)).elements)


def test_effective_sample_size():
    assert float(effective_sample_size(torch.ones(7))) == pytest.approx(7)
    assert float(effective_sample_size(torch.tensor([5.0, 0.0]))) == pytest.approx(1)
    for weights in (torch.zeros(3), torch.tensor([-1.0, 2.0]), torch.tensor([math.nan, 1.0])):
        with pytest.raises(ConventionError, match="weights"):
            effective_sample_size(weights)
