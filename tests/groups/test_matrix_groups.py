"""Rotations of any dimension, forms, scales, finite groups, subgroups: the contract."""

import math

import pytest
import torch

from equivariant.actions.by_name import named_group
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import (
    O2,
    SL,
    SO,
    SO2,
    SO3,
    CubeFaces,
    Cyclic,
    Dihedral,
    Embedded,
    Generated,
    IndefiniteOrthogonal,
    Lorentz,
    O,
    Octahedral,
    Permutation,
    Scaling,
    Symplectic,
    TrivialGroup,
)  # fmt: skip
from equivariant.testing import GroupContract


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestRotationsOfFourSpace(GroupContract):
    group = SO(4)


class TestOrthogonalMatricesOfFourSpace(GroupContract):
    group = O(4)


class TestScaling(GroupContract):
    group = Scaling(3)


class TestTurnsAboutAnAxis(GroupContract):
    group = Embedded(SO2(), 3, (2, 0))


class TestTurnsAndMirrorsAboutAnAxis(GroupContract):
    group = Embedded(O2(), 3, (0, 1))


class TestIndefinite(GroupContract):
    group = IndefiniteOrthogonal(1, 2, "connected")
    tolerance = 1e-8  # boosts: rounding grows with their square

    def draw(self, *batch, generator):
        """Coordinates small enough that products stay where the logarithm is."""
        shape = (*batch, self.group.dim)
        return self.group.exp(0.3 * torch.randn(shape, generator=generator, dtype=torch.float64))


class TestIndefiniteWithMirrors(TestIndefinite):
    group = IndefiniteOrthogonal(2, 1)


class TestSymplectic(TestIndefinite):
    group = Symplectic(2)
    tolerance = 1e-7


class _FiniteContract(GroupContract):
    """Overridden where a group without coordinates has nothing to differentiate."""

    def test_gradients_of_exp_and_log(self):
        x = torch.zeros(3, 0, dtype=torch.float64)
        assert self.group.log(self.group.exp(x)).shape == (3, 0)

    def test_distance(self, generator):
        a, b, c = (self.group.sample(40, generator=generator) for _ in range(3))
        distance = self.group.distance
        self.close(distance(a, a), torch.zeros(40, dtype=torch.float64))
        self.close(distance(c @ a, c @ b), distance(a, b))
        assert bool((distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12).all())

    def test_projection_has_finite_gradients_at_the_identity(self):
        assert not self.group.project(self.group.identity().requires_grad_()).requires_grad


class TestCyclic(_FiniteContract):
    group = Cyclic(5)


class TestDihedral(_FiniteContract):
    group = Dihedral(5)


class TestOctahedral(_FiniteContract):
    group = Octahedral()


@pytest.mark.parametrize("size", [2, 3, 4, 6, 7])
def test_logarithms_of_rotations_reach_half_turns(size):
    """Among them -I, where all planes have turned half round, and planes that share an angle."""
    for angles in ([math.pi] * (size // 2), [0.3] * (size // 2), [math.pi, 1e-9, 0.0][: size // 2]):
        planes = [SO2().exp(torch.tensor([angle], dtype=torch.float64)) for angle in angles]
        one = torch.eye(size % 2, dtype=torch.float64)
        frame = SO(size).sample(generator=torch.Generator().manual_seed(size))
        g = frame @ torch.block_diag(*planes, *([one] if size % 2 else [])) @ frame.T
        g = torch.block_diag(g, torch.eye(size - len(g), dtype=torch.float64))
        x = SO(size).log(g)
        torch.testing.assert_close(SO(size).exp(x), g, atol=1e-8, rtol=0)
        assert float(x.norm()) == pytest.approx(sum(a * a for a in angles) ** 0.5, abs=1e-6)


def test_closed_forms_are_the_same_groups():
    g = SO3().sample(50, generator=torch.Generator().manual_seed(0))
    for ours, size in ((SO3(), 3), (SO2(), 2)):
        g = ours.sample(50, generator=torch.Generator().manual_seed(0))
        skew, closed = SO(size).hat(SO(size).log(g)), ours.hat(ours.log(g))
        torch.testing.assert_close(skew, closed, atol=1e-10, rtol=0)
    assert named_group("SO2") == SO2()
    assert named_group("Cyclic3") == Cyclic(3)


def test_orders_and_laws_of_finite_groups():
    orders = {Cyclic(7): 7, Dihedral(6): 12, Dihedral(6, mirrored=False): 6, Octahedral(): 24,
              Octahedral(mirrored=True): 48, CubeFaces(): 24, TrivialGroup(4): 1}  # fmt: skip
    for group, order in orders.items():
        elements = group.elements()
        assert group.order == order
        products = (elements[:, None] @ elements[None]).flatten(0, 1)
        apart = (products[:, None] - elements[None]).abs().amax((-2, -1)).amin(1)
        assert float(apart.max()) < 1e-9, group
    swaps = Generated(Permutation(4).discrete_generators())
    assert swaps.order == 24
    assert swaps == Generated(Permutation(4).discrete_generators())
    assert hash(swaps) == hash(Generated(Permutation(4).discrete_generators()))


def test_faces_follow_the_turns_of_the_cube():
    """Octahedral and CubeFaces list the same 24 elements, in one order of generators."""
    turns, faces = Octahedral().discrete_generators(), CubeFaces().discrete_generators()
    for turn, face in zip(turns, faces, strict=True):
        centres = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1],
                                [0, 0, -1]]).double()  # fmt: skip
        torch.testing.assert_close(face.T @ centres, centres @ turn.T)
    assert float((faces.sum(1) - 1).abs().max()) == 0


def test_components_of_forms():
    generator = torch.Generator().manual_seed(0)
    everything = IndefiniteOrthogonal(1, 3).sample(200, generator=generator, scale=0.3)
    signs = torch.stack([everything[:, 0, 0].sign(), torch.linalg.det(everything).sign()], -1)
    assert len(signs.unique(dim=0)) == 4
    special = IndefiniteOrthogonal(1, 3, "special")
    kept = special.contains(everything)
    assert torch.equal(kept, signs[:, 1] > 0)
    connected = IndefiniteOrthogonal(1, 3, "connected").contains(everything)
    assert torch.equal(connected, (signs > 0).all(-1))
    boosts = Lorentz().sample(50, generator=generator, scale=0.5)
    assert bool(IndefiniteOrthogonal(1, 3, "connected").contains(boosts).all())
    # Symplectic maps of one coordinate keep area: SL(2).
    assert bool(SL(2).contains(Symplectic(1).sample(50, generator=generator)).all())


def test_refusals_of_matrix_groups():
    for build in (lambda: SO(1), lambda: O(1), lambda: Scaling(0), lambda: Cyclic(0),
                  lambda: Symplectic(0), lambda: IndefiniteOrthogonal(0, 3),
                  lambda: Embedded(SO2(), 3, (0, 0)), lambda: Embedded(SO2(), 3, (0, 3)),
                  lambda: Embedded(SO2(), 3, (0,)), lambda: Generated(torch.zeros(1, 2, 2)),
                  lambda: Generated(SO2().exp(torch.ones(1, 1, dtype=torch.float64)))):  # fmt: skip
        with pytest.raises(ConventionError, match="expected"):
            build()
    with pytest.raises(ShapeError, match="generator"):
        Generated(torch.zeros(0, 3, 3))
    with pytest.raises(ConventionError, match="identity"):
        Cyclic(3).log(Cyclic(3).discrete_generators()[0])
