"""Terms of pairs and of spread: loops from the formulas, closed forms, gradients, precision."""

import math

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import (
    alignment,
    covariance,
    cross_correlation,
    cross_uniformity,
    uniformity,
    variance,
    whiten,
)
from equivariant.losses.wide_arithmetic import in_full_precision


def draw(n, d, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(row):
    length = math.sqrt(sum(float(x) ** 2 for x in row))
    return [float(x) / length for x in row]


def squared(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def correlation_by_loops(u, v, weight, eps):
    n, d = u.shape

    def standard(z):
        columns = []
        for j in range(d):
            mean = sum(float(z[i, j]) for i in range(n)) / n
            var = sum((float(z[i, j]) - mean) ** 2 for i in range(n)) / n
            columns.append([(float(z[i, j]) - mean) / math.sqrt(var + eps) for i in range(n)])
        return columns

    a, b = standard(u), standard(v)
    total = 0.0
    for j in range(d):
        for k in range(d):
            c = sum(x * y for x, y in zip(a[j], b[k], strict=True)) / n
            total += (1 - c) ** 2 if j == k else weight * c**2
    return total


@pytest.mark.parametrize("shape", [(7, 4), (3, 6)])
def test_cross_correlation_by_loops_through_both_gram_matrices(shape):
    u, v = draw(*shape), draw(*shape, 1)
    for weight, eps in ((5e-3, 1e-5), (0.3, 0.1)):
        expected = correlation_by_loops(u, v, weight, eps)
        got = cross_correlation(u, v, redundancy=weight, eps=eps)
        assert float(got) == pytest.approx(expected, rel=1e-12)
    scaled = cross_correlation(u, v, scale=0.025)
    torch.testing.assert_close(scaled, 0.025 * cross_correlation(u, v))


def test_cross_correlation_is_that_of_batch_norm_and_ignores_shift_and_scale():
    u, v = draw(9, 5), draw(9, 5, 1)
    norm = torch.nn.BatchNorm1d(5, affine=False).double()
    c = norm(u).T @ norm(v) / 9
    off = c - torch.diag(c.diagonal())
    expected = (1 - c.diagonal()).square().sum() + 5e-3 * off.square().sum()
    torch.testing.assert_close(cross_correlation(u, v), expected)
    moved = cross_correlation(u * torch.arange(1.0, 6).double() + 3, v - 7, eps=1e-14)
    torch.testing.assert_close(moved, cross_correlation(u, v, eps=1e-14))


def test_terms_vanish_on_whitened_data():
    z = whiten(draw(40, 5), eps=1e-14)
    assert float(cross_correlation(z, z, eps=1e-14)) < 1e-24
    unbiased = z * math.sqrt(39 / 40)
    assert float(covariance(unbiased)) < 1e-12
    assert float(variance(unbiased * 1.001)) == 0.0
    assert float(cross_correlation(draw(40, 5), draw(40, 5), eps=1e-14)) > 1e-4


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_alignment_by_loops(power):
    u, v = draw(6, 3), draw(6, 3, 1)
    distances = [squared(unit(a), unit(b)) ** 0.5 for a, b in zip(u, v, strict=True)]
    expected = sum(x**power for x in distances) / 6
    assert float(alignment(u, v, power=power)) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(alignment(3 * u, v, power=power), alignment(u, v, power=power))
    u.requires_grad_()
    assert torch.autograd.gradcheck(lambda u: alignment(u, v, power=power), (u,))


def test_alignment_of_equal_rows_has_value_and_gradient_zero():
    for power in (0.5, 1.0, 2.0):
        u = draw(4, 3).requires_grad_()
        loss = alignment(u, u.detach(), power=power)
        loss.backward()
        assert loss.item() == 0.0
        assert float(u.grad.abs().max()) == 0.0


def test_uniformities_by_loops():
    u, v = draw(6, 3), draw(6, 3, 1)
    a, b = [unit(row) for row in u], [unit(row) for row in v]
    for t in (2.0, 0.3):
        own = [math.exp(-t * squared(a[i], a[j])) for i in range(6) for j in range(i)]
        cross = [math.exp(-t * squared(a[i], b[j])) for i in range(6) for j in range(6) if i != j]
        expected = math.log(sum(own) / len(own))
        assert float(uniformity(u, t=t)) == pytest.approx(expected, rel=1e-12)
        expected = math.log(sum(cross) / len(cross))
        assert float(cross_uniformity(u, v, t=t)) == pytest.approx(expected, rel=1e-12)


def test_the_mean_is_over_all_pairs_and_not_per_row():
    """Broken twin: the mean over rows of each row's logarithm is another number."""
    u = torch.cat([draw(1, 3).repeat(4, 1) + 0.01 * draw(4, 3, 1), draw(3, 3, 2)])
    rows = torch.nn.functional.normalize(u)
    square = torch.cdist(rows, rows).square()
    square.fill_diagonal_(torch.inf)
    per_row = ((-2 * square).logsumexp(1) - math.log(6)).mean()
    assert float((per_row - uniformity(u)).abs()) > 0.1


def test_uniformity_in_closed_form():
    assert float(uniformity(torch.ones(5, 3))) == pytest.approx(0.0, abs=1e-6)
    simplex = torch.eye(4).double() - 0.25
    assert float(uniformity(simplex)) == pytest.approx(-2 * (2 + 2 / 3), rel=1e-12)
    assert float(cross_uniformity(simplex, simplex)) == pytest.approx(-2 * (2 + 2 / 3), rel=1e-12)
    far = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(uniformity(far, t=1000.0)) == pytest.approx(-4000.0)


def test_uniformity_is_that_of_any_rotation_and_scale():
    u = draw(8, 4)
    rotation = torch.linalg.qr(draw(4, 4, 3)).Q
    for term in (uniformity, lambda z: cross_uniformity(z, z.roll(1, 0))):
        torch.testing.assert_close(term(2 * u @ rotation), term(u))


def test_gradients():
    u, v = draw(5, 3).requires_grad_(), draw(5, 3, 1).requires_grad_()
    wide = draw(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(cross_correlation, (u, v))
    assert torch.autograd.gradcheck(cross_correlation, (wide, wide.detach() + 1))
    assert torch.autograd.gradcheck(uniformity, (u,))
    assert torch.autograd.gradcheck(cross_uniformity, (u, v))
    assert torch.autograd.gradgradcheck(uniformity, (u,))


def test_duplicates_and_zero_rows_have_finite_gradients():
    u = torch.cat([draw(2, 3), draw(2, 3), torch.zeros(2, 3).double()]).float().requires_grad_()
    loss = uniformity(u) + cross_uniformity(u, u) + alignment(u, u.flip(0), power=1.0)
    loss = loss + cross_correlation(u, torch.ones(6, 3))
    loss.backward()
    assert bool(u.grad.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    u, v = draw(16, 8, dtype=dtype).requires_grad_(), draw(16, 8, 1, dtype=dtype)
    for term in (cross_correlation, alignment, cross_uniformity):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = term(100 * u, v)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, term((100 * u).float(), v.float()), rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(value, u)
        assert gradient.dtype == dtype
        assert bool(gradient.isfinite().all())


def test_autocast_is_off_inside():
    a = draw(4, 4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ a).dtype == torch.bfloat16
        assert in_full_precision(torch.matmul)(a, a).dtype == torch.float32


def test_refusals():
    one = torch.ones(1, 3)
    for term in (cross_correlation, cross_uniformity):
        with pytest.raises(ShapeError, match="two rows"):
            term(one, one)
    with pytest.raises(ShapeError, match="two rows"):
        uniformity(one)
    with pytest.raises(ShapeError, match="one row"):
        alignment(one[:0], one[:0])
    for term in (alignment, cross_correlation, cross_uniformity):
        with pytest.raises(ShapeError, match=r"belongs to row i"):
            term(torch.ones(3, 3), one)
    with pytest.raises(ConventionError, match="power"):
        alignment(one, one, power=0.0)
    with pytest.raises(ConventionError, match="above 0"):
        uniformity(torch.ones(2, 2), t=-1.0)


@pytest.mark.parametrize("shape", [(4096, 8), (64, 256)])
def test_covariance_in_float32_with_one_column_a_thousand_times_as_large(shape):
    """A sum of squares of what is left beside large variances: nothing may cancel."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(*shape, generator=generator)
    u[:, 0] *= 1e3
    exact = torch.cov(u.double().T)
    want = (exact - torch.diag(exact.diagonal())).square().sum() / shape[1]
    found = u.clone().requires_grad_()
    value = covariance(found)
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(float(want), rel=1e-4)
    wide = u.double().requires_grad_()
    (expected,) = torch.autograd.grad(covariance(wide), wide)
    (got,) = torch.autograd.grad(value, found)
    assert float((got - expected).norm() / expected.norm()) < 1e-4
