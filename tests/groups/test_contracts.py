"""Every group fulfils the contract, and the contract rejects what is not a group."""

import pytest
import torch

from equivariant.groups import (
    E2,
    E3,
    O2,
    O3,
    SE2,
    SE3,
    SL,
    SO2,
    SO3,
    Embedded,
    Lorentz,
    Octahedral,
    Product,
    Sim,
    Spin3,
    Torus,
    Translation,
    Union,
)  # fmt: skip
from equivariant.testing import GroupContract


class TestSO2(GroupContract):
    group = SO2()


class TestSO3(GroupContract):
    group = SO3()


class TestO3(GroupContract):
    group = O3()


class TestSE3(GroupContract):
    group = SE3()


class TestO2(GroupContract):
    group = O2()


class TestSE2(GroupContract):
    group = SE2()


class TestE2(GroupContract):
    group = E2()


class TestE3(GroupContract):
    group = E3()


class TestSim2(GroupContract):
    group = Sim(2)


class TestSim3(GroupContract):
    group = Sim(3)
    tolerance = 1e-11


class TestLorentz(GroupContract):
    group = Lorentz()
    tolerance = 1e-8  # boosts of 100 and more: rounding grows with their square


class TestSpin3(GroupContract):
    group = Spin3()


class TestTorus(GroupContract):
    group = Torus(3)


class TestTranslation(GroupContract):
    group = Translation(2)


class TestProduct(GroupContract):
    group = Product(SO3(), Translation(1), Translation(1))


class _Known(Union):
    """A union that is told which matrices are its elements, so that all of it can be tested."""

    def __init__(self, known, *groups):
        super().__init__(*groups)
        self.known = known

    def project(self, matrix):
        return self.known.project(matrix)

    def defect(self, g):
        return self.known.defect(g)


class TestUnionOfTurns(GroupContract):
    group = _Known(SO3(), Embedded(SO2(), 3, (0, 1)), Embedded(SO2(), 3, (1, 2)))


class TestUnionWithMirrors(GroupContract):
    group = _Known(O3(), Embedded(O2(), 3, (0, 1)), Octahedral())


class TestUnionOfShears(GroupContract):
    group = _Known(SL(3), Embedded(SL(2), 3, (0, 1)), Embedded(SL(2), 3, (1, 2)))
    tolerance = 1e-9

    def draw(self, *batch, generator):
        """Coordinates small enough that products stay where the logarithm is."""
        shape = (*batch, self.group.dim)
        return self.group.exp(0.2 * torch.randn(shape, generator=generator, dtype=torch.float64))


class _TransposedExp(SO3):
    def exp(self, coordinates):
        return super().exp(-coordinates)


class _EulerLog(SO3):
    """A logarithm with the textbook's arccos: NaN gradients at the identity."""

    def log(self, g):
        angle = torch.arccos(((g.diagonal(dim1=-2, dim2=-1).sum(-1)) - 1) / 2)
        axis = torch.stack([g[..., 2, 1] - g[..., 1, 2], g[..., 0, 2] - g[..., 2, 0],
                            g[..., 1, 0] - g[..., 0, 1]], -1)  # fmt: skip
        return axis * (angle / (2 * angle.sin())).unsqueeze(-1)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (_TransposedExp(), "test_exp_is_the_matrix_exponential"),
        (_EulerLog(), "test_gradients_of_exp_and_log"),
    ],
)
def test_the_contract_rejects_broken_groups(broken, check):
    contract = GroupContract()
    contract.group = broken
    generator = torch.Generator().manual_seed(0)
    with pytest.raises((AssertionError, RuntimeError)):
        for radius in (0.0, 1.0):
            getattr(contract, check)(radius, generator)
