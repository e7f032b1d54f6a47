"""Distances between labels against loops and closed forms, at their singular points too."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3
from equivariant.losses import (
    absolute_difference,
    angle_difference,
    geodesic_distance,
    preset,
)
from equivariant.losses.contrast.similarity import unit


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_absolute_difference_by_loops():
    a = torch.randn(4, 3, generator=rng(), dtype=torch.float64)
    b = torch.randn(5, 3, generator=rng(1), dtype=torch.float64)
    found = absolute_difference(a, b)
    for i in range(4):
        for j in range(5):
            expected = sum(abs(float(a[i, c]) - float(b[j, c])) for c in range(3))
            assert float(found[i, j]) == pytest.approx(expected, abs=1e-14)
    assert absolute_difference(torch.tensor([2**40 + 1]), torch.tensor([2**40])).item() == 1.0
    assert absolute_difference(a[:0, 0], b[:, 0]).shape == (0, 5)
    with pytest.raises(ShapeError, match="one shape"):
        absolute_difference(a, b[:, :2])


@pytest.mark.parametrize("period", [2 * math.pi, 360.0, math.pi / 2])
def test_angle_difference_takes_the_shorter_way_and_ignores_whole_turns(period):
    a = period * torch.rand(6, generator=rng(), dtype=torch.float64)
    b = period * torch.rand(7, generator=rng(1), dtype=torch.float64)
    found = angle_difference(a, b, period)
    for i in range(6):
        for j in range(7):
            ways = [abs(float(a[i] - b[j]) + k * period) for k in (-1, 0, 1)]
            assert float(found[i, j]) == pytest.approx(min(ways), abs=1e-12 * period)
    turned = angle_difference(a + 3 * period, b - 2 * period, period)
    torch.testing.assert_close(turned, found, atol=1e-11 * period, rtol=0)
    assert float(found.max()) <= period / 2
    torch.testing.assert_close(found, angle_difference(b, a, period).T, atol=1e-12, rtol=1e-12)
    # a line is not a circle
    assert float((absolute_difference(a, b) - found).max()) > 0.1 * period
    with pytest.raises(ConventionError, match="period"):
        angle_difference(a, b, 0.0)


def test_geodesic_distance_is_the_group_distance_of_every_pair():
    a, b = SO3().sample(5, generator=rng()), SO3().sample(6, generator=rng(1))
    found = geodesic_distance(a, b)
    for i in range(5):
        for j in range(6):
            assert float(found[i, j]) == pytest.approx(float(SO3().distance(a[i], b[j])), abs=1e-14)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, math.pi - 1e-9, math.pi])
def test_geodesic_distance_is_accurate_at_every_angle(angle):
    base = SO3().sample(20, generator=rng())
    axis = torch.nn.functional.normalize(
        torch.randn(20, 3, generator=rng(2), dtype=torch.float64), dim=1
    )
    other = base @ SO3().exp(angle * axis)
    found = geodesic_distance(base, other).diagonal()
    assert float((found - angle).abs().max()) < 1e-15 + 4e-15 * (1 + angle)
    # through the trace alone half of the digits would be lost at both ends
    trace = (base * other).sum((-1, -2))
    naive = torch.acos(((trace - 1) / 2).clamp(-1, 1))
    if angle in (1e-9, math.pi - 1e-9):
        assert float((naive - angle).abs().max()) > 1e-9 / 2


def test_geodesic_distance_has_finite_gradients_at_its_kinks():
    half = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64)
    tiny = SO3().exp(torch.tensor([1e-12, 0.0, 0.0], dtype=torch.float64))
    a = torch.stack([eye, half, tiny]).requires_grad_()
    geodesic_distance(a, a.detach()).sum().backward()
    assert bool(torch.isfinite(a.grad).all())
    assert geodesic_distance(a, a).diagonal().tolist() == [0.0, 0.0, 0.0]
    w = torch.randn(3, 3, generator=rng(3), dtype=torch.float64).requires_grad_()
    other = SO3().sample(2, generator=rng(4))
    assert gradcheck(lambda w: geodesic_distance(SO3().exp(w), other), (w,))


def test_half_precision_is_widened_and_other_matrices_refused():
    a = SO3().sample(2, generator=rng()).to(torch.bfloat16)
    assert geodesic_distance(a, a).dtype == torch.float32
    assert absolute_difference(a[:, 0, 0], a[:, 0, 0]).dtype == torch.float32
    assert geodesic_distance(a.float(), a[:0].float()).shape == (2, 0)


def test_rows_that_are_no_numbers_are_not_hidden():
    z = torch.tensor([[3.0, 4.0], [torch.nan, 1.0], [torch.inf, 1.0], [3e19, 3e19], [0.0, 1e-9]])
    found = unit(z)
    assert torch.allclose(found[0], torch.tensor([0.6, 0.8]))
    assert bool(found[1:4].isnan().all())
    assert found[4].tolist() == [0.0, 0.0]


def test_a_loss_of_embeddings_that_are_no_numbers_is_none():
    z = torch.full((8, 4), torch.nan)
    assert bool(preset("nt_xent").build()(a=z, b=z).total.isnan())
