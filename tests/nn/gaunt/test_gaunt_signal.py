"""Values of functions on the sphere and back: inverse of each other, and products by values."""

from __future__ import annotations

import pytest
import torch

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.gaunt import (
    from_signal,
    gaunt_product,
    real_harmonics,
    sphere_grid,
    to_signal,
)

NORMALIZATIONS = ["integral", "component", "norm"]


def coefficients(degree, *batch):
    generator = torch.Generator().manual_seed(degree)
    return torch.randn(*batch, (degree + 1) ** 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("degree", [0, 1, 4, 9])
def test_there_and_back(degree, normalization):
    x = coefficients(degree, 2, 3)
    points, _ = sphere_grid(2 * degree)
    values = to_signal(x, points, normalization=normalization)
    back = from_signal(values, degree, 2 * degree, normalization=normalization)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)


def test_values_are_sums_of_harmonics():
    x, points = coefficients(3), torch.tensor([[0.0, 1.0, 0.0], [1.0, 2.0, -3.0]]).double()
    expected = [sum(x * real_harmonics(3, p, "component")) for p in points]
    torch.testing.assert_close(to_signal(x, points), torch.stack(expected))


@pytest.mark.parametrize(("exact", "right"), [(8, True), (7, False), (6, False)])
def test_products_by_values_need_the_grid_of_the_result(exact, right):
    """Degrees 2 and 3, kept up to 3."""
    x, y = coefficients(2, 5), coefficients(3, 5)
    points, _ = sphere_grid(exact)
    z = from_signal(to_signal(x, points) * to_signal(y, points), 3, exact)
    expected = gaunt_product(x, y, 2, 3, 3, normalization="component")
    error = float((z - expected).norm() / expected.norm())
    assert error < 1e-12 if right else error > 0.01


def test_dtypes_and_gradients():
    x = coefficients(2, 3).requires_grad_()
    points, _ = sphere_grid(4)
    assert torch.autograd.gradcheck(lambda x: from_signal(to_signal(x, points), 2, 4), (x,))
    assert to_signal(x.float(), points).dtype == torch.float32
    assert from_signal(to_signal(x.bfloat16(), points), 2, 4).dtype == torch.bfloat16
    assert to_signal(x[:0], points).shape == (0, len(points))


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (ShapeError, "coefficients", lambda p: to_signal(torch.zeros(5), p)),
        (ShapeError, "coefficients", lambda p: to_signal(torch.zeros(3, 0), p)),
        (ShapeError, "values", lambda p: from_signal(torch.zeros(5), 1, 2)),
        (ConventionError, "exact", lambda p: from_signal(torch.zeros(15), 3, 4)),
        (ConventionError, "degree", lambda p: from_signal(torch.zeros(15), -1, 4)),
    ],
)
def test_refusals(error, argument, call):
    with pytest.raises(error) as caught:
        call(sphere_grid(2)[0])
    assert caught.value.argument == argument
