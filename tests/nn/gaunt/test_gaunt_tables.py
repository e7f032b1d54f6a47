"""Harmonics, grids and coefficients against e3nn, against integrals and against closed forms."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from e3nn.o3 import spherical_harmonics, wigner_3j

from equivariant.errors import ConventionError
from equivariant.nn.gaunt import (
    gaunt_coefficients,
    gaunt_constant,
    poisson_coefficients,
    poisson_constant,
    real_harmonics,
    sphere_grid,
)

FLOAT64 = {"rtol": 0, "atol": 1e-12}
DEGREES = list(product(range(5), range(5), range(9)))


def directions(count=50):
    generator = torch.Generator().manual_seed(0)
    poles = torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]).double()
    return torch.cat([torch.randn(count, 3, generator=generator, dtype=torch.float64), poles])


@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
def test_harmonics_are_those_of_e3nn(normalization):
    points = directions()
    expected = spherical_harmonics(list(range(11)), points, True, normalization)
    torch.testing.assert_close(real_harmonics(10, points, normalization), expected, **FLOAT64)


def test_harmonics_are_orthonormal_to_degree_20():
    points, weights = sphere_grid(40)
    table = real_harmonics(20, points)
    gram = table.T @ (weights[:, None] * table)
    torch.testing.assert_close(gram, torch.eye(441, dtype=torch.float64), **FLOAT64)


def test_a_grid_one_degree_short_is_not_exact():
    points, weights = sphere_grid(39)
    table = real_harmonics(20, points)
    gram = table.T @ (weights[:, None] * table)
    assert (gram - torch.eye(441, dtype=torch.float64)).abs().max() > 0.1


def test_harmonics_have_gradients_at_the_pole():
    points = directions(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: real_harmonics(4, p), points)


@pytest.mark.parametrize("length", [1e-300, 1e-200, 1e-160, 1.0, 1e160, 1e307])
def test_harmonics_of_directions_whose_squares_under_or_overflow(length):
    points = directions(5) / 4
    scaled = (points * length).requires_grad_()
    torch.testing.assert_close(real_harmonics(6, scaled), real_harmonics(6, points), **FLOAT64)
    points.requires_grad_()
    of_scaled, of_points = (
        torch.autograd.grad(real_harmonics(3, p).square() @ torch.arange(16.0).double(), p,
                            torch.ones(len(p), dtype=torch.float64))[0]
        for p in (scaled, points)
    )  # fmt: skip
    torch.testing.assert_close(of_scaled * length, of_points, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("degrees", DEGREES)
def test_coefficients_are_positive_multiples_of_wigner(degrees):
    expected = torch.zeros([2 * degree + 1 for degree in degrees], dtype=torch.float64)
    symbol = expected
    if abs(degrees[0] - degrees[1]) <= degrees[2] <= degrees[0] + degrees[1]:
        symbol = wigner_3j(*degrees, dtype=torch.float64)
    even, odd = gaunt_constant(*degrees), poisson_constant(*degrees)
    torch.testing.assert_close(gaunt_coefficients(*degrees), even * symbol, **FLOAT64)
    torch.testing.assert_close(poisson_coefficients(*degrees), odd * symbol, **FLOAT64)


@pytest.mark.parametrize("degrees", DEGREES)
def test_selection_rules(degrees):
    triangle = abs(degrees[0] - degrees[1]) <= degrees[2] <= degrees[0] + degrees[1]
    odd = sum(degrees) % 2 == 1
    assert (gaunt_constant(*degrees) > 0) == (triangle and not odd)
    assert (poisson_constant(*degrees) > 0) == (triangle and odd)


@pytest.mark.parametrize("degrees", [(5, 5, 10), (8, 9, 10), (10, 10, 10), (12, 15, 20)])
def test_constants_at_high_degree(degrees):
    """The norm of a block is the constant, because Wigner symbols have norm 1."""
    for coefficients, constant in (
        (gaunt_coefficients, gaunt_constant),
        (poisson_coefficients, poisson_constant),
    ):
        norm = float(coefficients(*degrees).norm())
        assert norm == pytest.approx(constant(*degrees), rel=1e-11, abs=1e-11)


def test_brackets_are_totally_antisymmetric():
    k = poisson_coefficients(2, 3, 4)
    cyclic, swapped = poisson_coefficients(3, 4, 2), poisson_coefficients(3, 2, 4)
    torch.testing.assert_close(cyclic.permute(2, 0, 1), k, **FLOAT64)
    torch.testing.assert_close(swapped.transpose(0, 1), -k, **FLOAT64)


def test_coefficients_are_copies():
    gaunt_coefficients(1, 1, 2).zero_()
    assert gaunt_coefficients(1, 1, 2).norm() > 0.5


def test_refusals():
    for refused in (
        lambda: real_harmonics(-1, directions()),
        lambda: sphere_grid(-1),
        lambda: gaunt_coefficients(1, -1, 1),
        lambda: poisson_constant(1, 1, -1),
    ):
        with pytest.raises(ConventionError, match="at least 0"):
            refused()
