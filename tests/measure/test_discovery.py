"""Planted symmetries are found, their complements are not, and closure tells subalgebras."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from torch import nn

from equivariant.actions import Trivial, Vectors
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import SO3, Group
from equivariant.measure import discover_symmetries, local_equivariance_error
from equivariant.measure.local.symmetries import closure_residual


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*widths, seed=0):
    layers = []
    for k, (a, b) in enumerate(pairwise(widths)):
        linear = nn.Linear(a, b, dtype=torch.float64)
        linear.weight.data = draw(b, a, seed=seed + k) / a**0.5
        linear.bias.data = draw(b, seed=seed + k + 50)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


@dataclass(frozen=True)
class PlaneMaps(Group):
    """Invertible maps of the plane; coordinates are the entries of the algebra's matrix."""

    compact: ClassVar[bool] = False
    dim: ClassVar[int] = 4
    matrix_size: ClassVar[int] = 2

    def basis(self):
        return torch.eye(4, dtype=torch.float64).reshape(4, 2, 2)

    def exp(self, coordinates):
        return torch.linalg.matrix_exp(self.hat(coordinates))

    def log(self, g):
        raise NotImplementedError

    def inverse(self, g):
        return torch.linalg.inv(g)

    def draw(self, batch, *, generator, scale=1.0):
        raise NotImplementedError

    def project(self, matrix):
        return matrix


@pytest.mark.parametrize("seed", range(3))
def test_a_hidden_axis_is_found(seed):
    axis = torch.nn.functional.normalize(draw(3, seed=seed), dim=0)
    net = network(2, 16, 3, seed=seed)

    def f(x):
        along, across = x @ axis, torch.linalg.cross(x, axis.expand_as(x)).norm(dim=-1)
        return net(torch.stack([along, across], -1))

    local = local_equivariance_error(
        f, draw(64, 3, seed=seed + 9), act_in=Vectors(SO3()), act_out=Trivial(3)
    )
    found = discover_symmetries(local, resamples=50)
    assert found.dimension() == 1
    unit = torch.nn.functional.normalize(found.directions[0], dim=0)
    assert min((unit - axis).norm(), (unit + axis).norm()) < 1e-6
    # eigh knows an eigenvalue to the rounding of the largest, whatever its own size
    assert found.eigenvalues[0] < 1e-15 * found.eigenvalues[-1]
    assert found.closure() == 0.0
    assert found.dimension(1e9) == 3


def test_rotation_and_scale_but_not_shear():
    turn = lambda g, x: x @ g.mT  # noqa: E731
    x = draw(200, 2) + 0.1

    def f(x):
        """A turn and a scaling."""
        return torch.stack([2 * x[:, 0] - x[:, 1], x[:, 0] + 2 * x[:, 1]], -1)

    local = local_equivariance_error(f, x, act_in=turn, act_out=turn, group=PlaneMaps())
    found = discover_symmetries(local, resamples=50)
    assert found.dimension() == 2
    expected = torch.tensor([[1.0, 0, 0, 1], [0, -1, 1, 0]], dtype=torch.float64) / 2**0.5
    projector = found.subspace().T @ found.subspace()
    torch.testing.assert_close(projector, expected.T @ expected)
    assert found.closure() < 1e-12


def test_a_random_network_has_no_symmetry():
    turn = lambda g, x: x @ g.mT  # noqa: E731
    net = network(2, 16, 2)
    local = local_equivariance_error(
        net, draw(200, 2), act_in=turn, act_out=turn, group=PlaneMaps()
    )
    found = discover_symmetries(local, resamples=200)
    assert found.dimension(1e-3) == 0
    assert (found.low > 1e-3).all()
    assert (found.low <= found.eigenvalues).all()
    assert (found.eigenvalues <= found.high).all()
    assert (found.eigenvalues.diff() >= 0).all()


def test_directions_do_not_depend_on_the_basis_they_were_measured_in():
    net, x, V = network(3, 8, 1), draw(40, 3), draw(3, 3, seed=8)
    arguments = {"act_in": Vectors(SO3()), "act_out": Trivial(1)}
    plain = discover_symmetries(local_equivariance_error(net, x, **arguments))
    named = {str(k): row for k, row in enumerate(V)}
    other = discover_symmetries(local_equivariance_error(net, x, directions=named, **arguments))
    torch.testing.assert_close(plain.eigenvalues, other.eigenvalues)
    sign = (plain.directions * other.directions).sum(1, keepdim=True).sign()
    torch.testing.assert_close(plain.directions, sign * other.directions, atol=1e-7, rtol=1e-7)
    squared = discover_symmetries(
        local_equivariance_error(net, x, **arguments), metric=torch.eye(3, dtype=torch.float64)
    )
    torch.testing.assert_close(squared.eigenvalues, 2 * plain.eigenvalues)


def test_clusters_widen_the_intervals():
    net, x = network(3, 8, 1), draw(20, 3).repeat_interleave(10, 0)
    local = local_equivariance_error(net, x, act_in=Vectors(SO3()), act_out=Trivial(1))
    apart = discover_symmetries(local)
    clusters = torch.arange(20).repeat_interleave(10)
    together = discover_symmetries(local, clusters=clusters)
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert (ratio > 2).all()
    part = discover_symmetries(local.parts[""], group=SO3(), clusters=clusters)
    torch.testing.assert_close(part.high, together.high)


def test_wrong_arguments():
    x = draw(6, 3)
    arguments = {"act_in": Vectors(SO3()), "act_out": Trivial(3)}
    local = local_equivariance_error(torch.sin, x, **arguments)
    with pytest.raises(ConventionError, match="group"):
        discover_symmetries(local.overall)
    with pytest.raises(ShapeError, match="cluster"):
        discover_symmetries(local, clusters=torch.zeros(5, dtype=torch.int64))
    twice = {"a": torch.ones(3), "b": torch.ones(3)}
    with pytest.raises(ConventionError, match="independent"):
        discover_symmetries(local_equivariance_error(torch.sin, x, directions=twice, **arguments))
    assert closure_residual(SO3(), torch.eye(3, dtype=torch.float64)) < 1e-12
