"""Every action fulfils the contract; irreps against e3nn; sums, factors, refusals."""

import pytest
import torch
from e3nn import o3

from equivariant.actions import DirectSum, Factor, IrrepsAction, Points, Trivial, Vectors, wigner_d
from equivariant.errors import ConventionError
from equivariant.groups import (
    E3,
    GL,
    O3,
    SE3,
    SO2,
    SO3,
    Affine,
    Lorentz,
    Product,
    Sim,
    Spin3,
    Translation,
)  # fmt: skip
from equivariant.nn import Hypernetwork
from equivariant.testing import ActionContract

PRODUCT = Product(SO3(), Translation(1))


class TestTrivial(ActionContract):
    action = Trivial(4, SO3())


class TestVectorsInSpace(ActionContract):
    action = Vectors(SO3(), channels=5)


class TestVectorsInThePlane(ActionContract):
    action = Vectors(SO2(), channels=2)


class TestVectorsIgnoreTranslations(ActionContract):
    action = Vectors(SE3(), channels=2)


class TestRotatedPoints(ActionContract):
    action = Points(O3())
    points = True


class TestMovedPoints(ActionContract):
    action = Points(SE3())
    points = True

    def linear(self):
        return False


class TestIrreps(ActionContract):
    action = IrrepsAction("3x0e + 2x1o + 2x2e + 1x5o", SO3())


class TestIrrepsWithParity(ActionContract):
    action = IrrepsAction("2x0o + 1x1e + 2x1o + 1x3e + 1x4o", O3())


class TestIrrepsUnderIsometries(ActionContract):
    action = IrrepsAction("1x0o + 2x1o + 1x2e", E3())


class TestIrrepsUnderSimilarities(ActionContract):
    action = IrrepsAction("2x1o + 1x2e", Sim(3))


class TestIrrepsOfOneFactor(ActionContract):
    action = IrrepsAction("2x1o + 1x2e", PRODUCT)


class TestAffinePoints(ActionContract):
    action = Points(Affine(2))
    points = True

    def linear(self):
        return False


class TestEvents(ActionContract):
    action = Vectors(Lorentz(), channels=2)


class TestDirectSum(ActionContract):
    action = Trivial(3) + Vectors(SO3(), 2) + IrrepsAction("1x2e", SO3())


class TestFactor(ActionContract):
    action = Factor(Vectors(SO3(), 2), PRODUCT, 0)


class TestHypernetwork(ActionContract):
    action = (Trivial(3) + Hypernetwork(PRODUCT, 6, "matrix")).double()
    homomorphism = False


class TestSignedHypernetwork(ActionContract):
    action = Hypernetwork(Spin3(), 6).double()
    homomorphism = False


@pytest.mark.parametrize("degree", range(12))
def test_wigner_matrices_are_those_of_e3nn(degree):
    """Against e3nn, which goes through Euler angles (to 3e-5), and Y(g x) = D(g) Y(x)."""
    g = SO3().sample(50, generator=torch.Generator().manual_seed(0))
    ours = wigner_d(degree, g)
    theirs = o3.Irrep(degree, 1).D_from_matrix(g)
    torch.testing.assert_close(ours, theirs, atol=3e-5, rtol=0)
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = o3.spherical_harmonics(degree, (g @ points.unsqueeze(-1)).squeeze(-1), normalize=False)
    still = o3.spherical_harmonics(degree, points, normalize=False)
    expected = (ours @ still.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(moved, expected, atol=1e-9, rtol=1e-10)
    transposed = (ours.transpose(-1, -2) @ still.unsqueeze(-1)).squeeze(-1)
    if degree:
        assert (moved - transposed).abs().max() > 0.1


def test_layout_is_that_of_e3nn():
    irreps = o3.Irreps("2x0e + 3x1o + 1x2e")
    g = O3().sample(generator=torch.Generator().manual_seed(3))
    z = torch.randn(irreps.dim, dtype=torch.float64)
    theirs = irreps.D_from_matrix(g) @ z
    torch.testing.assert_close(IrrepsAction(str(irreps), O3())(g, z), theirs, atol=1e-5, rtol=0)


def test_sums_flatten_and_know_their_parts():
    action = Trivial(2) + Vectors(SO3()) + Trivial(1)
    assert isinstance(action, DirectSum)
    assert [part.dim for part in action.parts] == [2, 3, 1]
    assert action.slices == [slice(0, 2), slice(2, 5), slice(5, 6)]
    assert action.group == SO3()
    assert (Trivial(1) + Trivial(2)).group is None


def test_sums_of_different_groups_are_refused():
    with pytest.raises(ConventionError, match="all of one group"):
        Vectors(SO3()) + Vectors(SO2())
    with pytest.raises(ConventionError, match="at least one part"):
        DirectSum([])


def test_refusals():
    with pytest.raises(ConventionError, match="moves points"):
        Points(Spin3())
    with pytest.raises(ConventionError, match="irreps"):
        IrrepsAction("2x0q", SO3())
    with pytest.raises(ConventionError, match="turns space"):
        IrrepsAction("1x1o", GL(3))
    with pytest.raises(ConventionError, match="elements of SO3"):
        IrrepsAction("1x1o", SO3())(2 * torch.eye(3), torch.ones(3))
    with pytest.raises(ConventionError, match="factor 1"):
        Factor(Vectors(SO3()), PRODUCT, 1)
    with pytest.raises(ConventionError, match="at least 1"):
        Trivial(0)
    with pytest.raises(ConventionError, match="linear"):
        Points(SE3()).matrix(SE3().identity())
