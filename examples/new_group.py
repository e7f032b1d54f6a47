"""A group of your own: one class, and actions, measurements and tests of a contract follow.

python examples/new_group.py      measures with it
pytest examples/new_group.py      runs the tests that every group has to pass
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from equivariant.actions import Points, Trivial
from equivariant.groups import SO2, Group
from equivariant.measure import diagnose
from equivariant.testing import GroupContract


@dataclass(frozen=True)
class Upright(Group):
    """Rotations of space about the vertical z axis, as 3 by 3 matrices."""

    dim: ClassVar[int] = 1
    matrix_size: ClassVar[int] = 3
    compact: ClassVar[bool] = True

    def basis(self) -> Tensor:
        return torch.block_diag(SO2().basis()[0], torch.zeros(1, 1, dtype=torch.float64))[None]

    def exp(self, coordinates: Tensor) -> Tensor:
        return self._raised(SO2().exp(coordinates))

    def log(self, g: Tensor) -> Tensor:
        self.check_member(g)
        return SO2().log(g[..., :2, :2])

    def inverse(self, g: Tensor) -> Tensor:
        self.check_element(g)
        return g.mT

    def draw(self, batch, *, generator, scale=1.0) -> Tensor:
        return self._raised(SO2().draw(batch, generator=generator))

    def project(self, matrix: Tensor) -> Tensor:
        self.check_element(matrix, "matrix")
        return self._raised(SO2().project(matrix[..., :2, :2]))

    def _raised(self, turn: Tensor) -> Tensor:
        above = torch.tensor([0.0, 0.0, 1.0]).to(turn).expand(*turn.shape[:-2], 1, 3)
        return torch.cat([nn.functional.pad(turn, (0, 1)), above], -2)


class TestUpright(GroupContract):
    group = Upright()


if __name__ == "__main__":
    clouds, action = torch.randn(8, 32, 3, dtype=torch.float64), Points(Upright())
    print(diagnose(lambda x: x[..., 2].amax(1, True), clouds, act_in=action, act_out=Trivial(1)))
