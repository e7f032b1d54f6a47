"""A group that the package does not know, with the actions and the meter that it does."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from equivariant.actions import IrrepsAction, Points, Trivial, Vectors
from equivariant.groups import SO2, Group
from equivariant.measure import Verdict, diagnose
from equivariant.testing import ActionContract, GroupContract


@dataclass(frozen=True)
class Cylinder(Group):
    """Turns about z and shifts along it: the symmetry of a pipe, as 4 by 4 matrices."""

    compact: ClassVar[bool] = False
    injectivity_radius: ClassVar[float] = SO2.injectivity_radius
    dim: ClassVar[int] = 2
    matrix_size: ClassVar[int] = 4

    def basis(self):
        basis = torch.zeros(2, 4, 4, dtype=torch.float64)
        basis[0, 1, 0], basis[0, 0, 1], basis[1, 2, 3] = 1.0, -1.0, 1.0
        return basis

    def _matrix(self, turn, height):
        result = torch.eye(4, dtype=turn.dtype, device=turn.device)
        result = result.expand(*turn.shape[:-2], 4, 4)
        top = torch.cat([turn, torch.zeros_like(turn)], -1)
        z = result[..., 2:3, :3]
        lift = torch.cat([z, height[..., None, None]], -1)
        return torch.cat([top, lift, result[..., 3:, :]], -2)

    def exp(self, coordinates):
        self.check_coordinates(coordinates)
        return self._matrix(SO2().exp(coordinates[..., :1]), coordinates[..., 1])

    def log(self, g):
        self.check_element(g)
        return torch.cat([SO2().log(g[..., :2, :2]), g[..., 2, 3:]], -1)

    def inverse(self, g):
        self.check_element(g)
        return self._matrix(g[..., :2, :2].mT, -g[..., 2, 3])

    def draw(self, batch, *, generator, scale=1.0):
        turn = SO2().draw(batch, generator=generator)
        height = scale * torch.randn(batch, generator=generator, dtype=torch.float64)
        return self._matrix(turn, height)

    def project(self, matrix):
        self.check_element(matrix, "matrix")
        return self._matrix(SO2().project(matrix[..., :2, :2]), matrix[..., 2, 3])


class TestCylinder(GroupContract):
    group = Cylinder()


class TestPoints(ActionContract):
    action = Points(Cylinder())
    points = True

    def linear(self):
        return False


class TestVectors(ActionContract):
    action = Vectors(Cylinder())


class TestIrreps(ActionContract):
    action = IrrepsAction("2x0e + 1o + 2e", Cylinder())


def test_it_answers_for_itself():
    group = Cylinder()
    assert (group.space_dim, group.preserves_lengths, group.orthogonal_dim) == (3, True, 3)
    assert len(group.directions()) == 2
    assert any("half turn" in name for name in group.special_elements())


@pytest.mark.parametrize(
    ("f", "verdict"),
    [
        (lambda p: p.mean(1), Verdict.NOT_EQUIVARIANT),  # a point, which shifts, claimed a vector
        (lambda p: p[:, 1] - p[:, 0], Verdict.EQUIVARIANT),
        (lambda p: (p[:, 1] - p[:, 0]) * torch.tensor([1.0, 1, 5]).double(), Verdict.EQUIVARIANT),
        (
            lambda p: (p[:, 1] - p[:, 0]) * torch.tensor([1.0, 2, 1]).double(),
            Verdict.NOT_EQUIVARIANT,
        ),
    ],
)
def test_the_meter_under_it(f, verdict):
    cloud = torch.randn(8, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = diagnose(f, cloud, act_in=Points(Cylinder()), act_out=Vectors(Cylinder()))
    assert found.verdict == verdict


def test_heights_are_no_invariants_and_radii_are():
    cloud = torch.randn(8, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    claim = {"act_in": Points(Cylinder()), "act_out": Trivial(1, Cylinder())}
    radius = diagnose(lambda p: p[..., :2].norm(dim=-1).mean(1, keepdim=True), cloud, **claim)
    height = diagnose(lambda p: p[..., 2].mean(1, keepdim=True), cloud, **claim)
    assert radius.verdict == Verdict.EQUIVARIANT
    assert height.verdict == Verdict.NOT_EQUIVARIANT
