"""Whitening: the covariance, batch norm, shuffles, running moments, repeated eigenvalues."""

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses import (
    Whitening,
    inverse_root,
    newton_root,
    shuffled_whitenings,
    w_mse,
    whiten,
)

METHODS = ["zca", "cholesky", "newton"]


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(n, d, seed=0):
    return draw(n, d, seed) @ draw(d, d, seed + 50) + 3.0


def symmetric(values, seed=0):
    basis = torch.linalg.qr(draw(len(values), len(values), seed)).Q
    return basis @ torch.diag(torch.tensor(values).double()) @ basis.T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_every_group_has_unit_covariance_and_mean_zero(method, groups):
    w = whiten(correlated(50, 6), groups=groups, eps=1e-12, method=method)
    assert float(w.mean(0).abs().max()) < 1e-10
    for group in w.split(6 // groups, dim=1):
        identity = torch.eye(group.shape[1]).double()
        torch.testing.assert_close(group.T @ group / 50, identity, rtol=0, atol=1e-6)


def test_by_loops_from_the_formula():
    z = correlated(20, 4)
    expected = torch.zeros_like(z)
    for first in (0, 2):
        part = z[:, first : first + 2]
        mean = sum(part[i] for i in range(20)) / 20
        cov = sum(torch.outer(part[i] - mean, part[i] - mean) for i in range(20)) / 20
        values, vectors = torch.linalg.eigh(cov)
        root = sum(
            torch.outer(vectors[:, k], vectors[:, k]) / (values[k] + 0.1) ** 0.5 for k in range(2)
        )
        for i in range(20):
            expected[i, first : first + 2] = root @ (part[i] - mean)
    torch.testing.assert_close(whiten(z, groups=2, eps=0.1), expected)
    torch.testing.assert_close(whiten(z, groups=2, eps=0.1, method="newton"), expected)


@pytest.mark.parametrize("method", METHODS)
def test_groups_of_one_channel_are_batch_norm_in_training_and_evaluation(method):
    layer = Whitening(5, groups=5, method=method).double()
    norm = torch.nn.BatchNorm1d(5, affine=False).double()
    for seed in range(3):
        z = correlated(12, 5, seed)
        torch.testing.assert_close(layer(z), norm(z))
    torch.testing.assert_close(layer.running_mean, norm.running_mean)
    torch.testing.assert_close(layer.running_covariance.flatten(), norm.running_var)
    z = correlated(1, 5, 9)
    torch.testing.assert_close(layer.eval()(z), norm.eval()(z))


def test_running_moments_are_used_in_evaluation_and_only_moved_in_training():
    layer = Whitening(4, groups=2, momentum=1.0, eps=1e-10).double()
    z = correlated(200, 4)
    layer(z)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.eval()
    rows = layer(z)
    torch.testing.assert_close(torch.cat([layer(row[None]) for row in z]), rows)
    for group in rows.split(2, dim=1):
        torch.testing.assert_close(torch.cov(group.T), torch.eye(2).double())
    for name, value in layer.state_dict().items():
        assert torch.equal(value, state[name])
    fresh = Whitening(4, eps=1e-14).double().eval()
    torch.testing.assert_close(fresh(z), z)
    torch.testing.assert_close(fresh(z.float()).float(), z.float())


def test_the_order_of_channels_inside_a_group_only_permutes_zca():
    z, order = correlated(30, 5), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(whiten(z[:, order]), whiten(z)[:, order])
    broken = whiten(z[:, order], method="cholesky") - whiten(z, method="cholesky")[:, order]
    assert float(broken.abs().max()) > 0.1


def test_shuffles():
    z = correlated(30, 6)
    draws = torch.Generator().manual_seed(0)
    torch.testing.assert_close(whiten(z, shuffle=True, generator=draws), whiten(z))
    torch.testing.assert_close(
        whiten(z, groups=6, shuffle=True, generator=draws), whiten(z, groups=6)
    )
    white = whiten(z, eps=1e-14)
    for copy in shuffled_whitenings(white, groups=3, eps=1e-14, generator=draws):
        torch.testing.assert_close(copy, white)
    copies = shuffled_whitenings(z, copies=3, groups=3, generator=draws)
    again = shuffled_whitenings(z, copies=3, groups=3, generator=torch.Generator().manual_seed(0))
    repeat = shuffled_whitenings(z, copies=3, groups=3, generator=torch.Generator().manual_seed(0))
    assert copies.shape == (3, 30, 6)
    assert torch.equal(again, repeat)
    assert float((copies[0] - copies[1]).abs().max()) > 0.1
    variances = copies.square().mean(1)
    torch.testing.assert_close(variances, torch.ones_like(variances), rtol=1e-3, atol=0)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    expected = torch.empty_like(z)
    expected[:, order] = whiten(z[:, order], groups=3)
    torch.testing.assert_close(again[0], expected)


def test_the_layer_shuffles_in_training_only():
    layer = Whitening(6, groups=3, shuffle=True).double()
    z = correlated(30, 6)
    expected = whiten(z, groups=3, shuffle=True, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(layer(z, generator=torch.Generator().manual_seed(4)), expected)
    layer.eval()
    assert torch.equal(layer(z), layer(z))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_whitening(method):
    z = correlated(9, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: whiten(z, groups=2, method=method), (z,))


@pytest.mark.parametrize("root", [inverse_root, newton_root])
@pytest.mark.parametrize("values", [[1.0, 2.0, 5.0], [2.0, 2.0, 2.0], [1.0, 3.0, 3.0]])
def test_gradients_of_roots_at_repeated_eigenvalues(root, values):
    a = symmetric(values).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: root((a + a.T) / 2), (a,))


def test_the_gradient_of_eigenvectors_would_not_be_finite():
    """Broken twin: differentiating through the eigendecomposition itself."""

    def by_eigenvectors(a):
        values, vectors = torch.linalg.eigh(a)
        return (vectors * values.rsqrt()) @ vectors.T

    weights = draw(3, 3, 5)
    for root, finite in ((by_eigenvectors, False), (inverse_root, True)):
        a = (2.0 * torch.eye(3).double()).requires_grad_()
        (root(a) * weights).sum().backward()
        assert bool(a.grad.isfinite().all()) is finite
    torch.testing.assert_close(a.grad, -(weights + weights.T) / 4 / 2**1.5)


def test_whitening_a_batch_of_equal_variances_and_of_few_rows_has_finite_gradients():
    white = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    for z in (white, torch.zeros(3, 4), draw(3, 6).float(), 1e3 * draw(3, 6).float()):
        z = z.clone().requires_grad_()
        w = whiten(z)
        (w * torch.arange(float(w.numel())).view_as(w)).sum().backward()
        assert bool(w.isfinite().all())
        assert bool(z.grad.isfinite().all())


def test_a_second_differentiation_is_refused_where_it_would_be_wrong():
    z = correlated(9, 3).requires_grad_()
    (first,) = torch.autograd.grad(whiten(z).pow(3).sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
    for method in ("cholesky", "newton"):
        (first,) = torch.autograd.grad(whiten(z, method=method).pow(3).sum(), z, create_graph=True)
        torch.autograd.grad(first.square().sum(), z)


def test_without_gradient_the_map_is_a_constant():
    z = correlated(9, 3).requires_grad_()
    weights = draw(9, 3, 4)
    values, vectors = torch.linalg.eigh((z - z.mean(0)).T @ (z - z.mean(0)) / 9)
    constant = (vectors @ torch.diag((values + 1e-5).rsqrt()) @ vectors.T).detach()
    (expected,) = torch.autograd.grad((((z - z.mean(0)) @ constant) * weights).sum(), z)
    (got,) = torch.autograd.grad((whiten(z, gradient=False) * weights).sum(), z)
    (full,) = torch.autograd.grad((whiten(z) * weights).sum(), z)
    torch.testing.assert_close(got, expected)
    assert float((full - expected).abs().max()) > 1e-2


def test_w_mse():
    u, v = correlated(24, 3), correlated(24, 3, 1)

    def by_loops(a, b):
        a, b = whiten(a, method="cholesky"), whiten(b, method="cholesky")
        return sum(
            float((x / x.norm() - y / y.norm()).square().sum()) for x, y in zip(a, b, strict=True)
        )

    assert float(w_mse(u, v)) == pytest.approx(by_loops(u, v) / 24, rel=1e-12)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2)).split(8)
    expected = sum(by_loops(u[part], v[part]) for part in order) / 24
    parts = w_mse(u, v, rows=8, generator=torch.Generator().manual_seed(2))
    assert float(parts) == pytest.approx(expected, rel=1e-12)
    lower = torch.tril(draw(3, 3, 7)).abs() + torch.eye(3).double()
    assert float(w_mse(u, u @ lower.T - 5, eps=1e-12)) < 1e-12
    assert torch.autograd.gradcheck(w_mse, (u.requires_grad_(), v))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    z = correlated(32, 4).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        w = whiten(z)
        layer = Whitening(4)
        torch.testing.assert_close(layer(z), w)
        assert layer.eval()(z).dtype == torch.float32
    assert w.dtype == torch.float32
    torch.testing.assert_close(w.T @ w / 32, torch.eye(4), rtol=0, atol=1e-3)
    w.pow(3).sum().backward()
    assert z.grad.dtype == dtype


def test_refusals():
    z = draw(6, 4)
    with pytest.raises(ShapeError, match="two rows"):
        whiten(z[:1])
    with pytest.raises(ShapeError, match="two rows"):
        Whitening(4).double()(z[:1])
    with pytest.raises(ShapeError, match="two rows"):
        whiten(z[:0])
    with pytest.raises(ShapeError, match="divisor of the 4 channels"):
        whiten(z, groups=3)
    with pytest.raises(ShapeError, match="3 columns"):
        Whitening(3).double()(z)
    with pytest.raises(ShapeError, match="divisor of the 6 rows"):
        w_mse(z, z, rows=4)
    with pytest.raises(ShapeError, match="belongs to row"):
        w_mse(z, z[:5])
    with pytest.raises(ConventionError, match="eps"):
        whiten(z, eps=0.0)
    with pytest.raises(ConventionError, match="momentum"):
        Whitening(4, momentum=1.5)
    with pytest.raises(ConventionError, match="copies"):
        shuffled_whitenings(z, copies=0)


def test_components_of_vectors_are_not_whitened():
    z = draw(6, 4)
    for act in (
        lambda: whiten(z, irreps="1x0e + 1x1o"),
        lambda: shuffled_whitenings(z, groups=2, irreps="1x0e + 1x1o"),
        lambda: w_mse(z, z, irreps="1x0e + 1x1o"),
        lambda: Whitening(4, irreps="1x0e + 1x1o"),
    ):
        with pytest.raises(ConventionError, match="invariant columns"):
            act()
    with pytest.raises(ConventionError, match="4 channels of degree 0"):
        whiten(z, irreps="3x0e")
    with pytest.raises(ConventionError, match="irreps"):
        whiten(z, irreps="scalars")
    torch.testing.assert_close(whiten(z, irreps="3x0e + 1x0o"), whiten(z))
