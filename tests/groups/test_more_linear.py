"""SL(n), scaled rotations, semidirect products: the contract, and what they state of themselves."""

import pytest
import torch

from equivariant.groups import (
    E2,
    GL,
    O2,
    SE2,
    SE3,
    SL,
    SO2,
    SO3,
    Affine,
    ScaledRotations,
    Semidirect,
    Sim,
)
from equivariant.testing import GroupContract


class _PrincipalBranch(GroupContract):
    """Coordinates small enough that the logarithms of products stay on the principal branch."""

    def draw(self, *batch, generator):
        shape = (*batch, self.group.dim)
        return self.group.exp(0.3 * torch.randn(shape, generator=generator, dtype=torch.float64))


class TestVolumePreservingPlane(_PrincipalBranch):
    group = SL(2)


class TestVolumePreservingSpace(_PrincipalBranch):
    group = SL(3)


class TestScaledRotationsOfThePlane(GroupContract):
    group = ScaledRotations(2)


class TestScaledRotationsOfSpace(GroupContract):
    group = ScaledRotations(3)


class TestSemidirectSL2(_PrincipalBranch):
    group = Semidirect(SL(2))


class TestSemidirectGL3(_PrincipalBranch):
    group = Semidirect(GL(3))


class TestSemidirectScaledRotations(GroupContract):
    group = Semidirect(ScaledRotations(2))
    tolerance = 1e-11


class TestSemidirectO2(GroupContract):
    group = Semidirect(O2())


class TestSemidirectSO3(GroupContract):
    group = Semidirect(SO3())
    tolerance = 1e-11


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        (Semidirect(SO2()), SE2()),
        (Semidirect(O2()), E2()),
        (Semidirect(SO3()), SE3()),
        (Semidirect(ScaledRotations(2)), Sim(2)),
        (Semidirect(ScaledRotations(3)), Sim(3)),
        (Semidirect(GL(2)), Affine(2)),
    ],
)
def test_semidirect_products_are_the_groups_with_a_class_of_their_own(ours, peer):
    x = 0.4 * normal(20, peer.dim)
    torch.testing.assert_close(ours.basis(), peer.basis())
    torch.testing.assert_close(ours.exp(x), peer.exp(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(ours.log(peer.exp(x)), x, atol=1e-11, rtol=0)
    assert ours.space_dim == peer.space_dim and ours.turns == peer.turns
    assert ours.preserves_lengths == peer.preserves_lengths
    assert ours.orthogonal_dim == peer.orthogonal_dim
    assert ours.direction_names == peer.direction_names
