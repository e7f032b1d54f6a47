"""A group of your own: one class, and actions, measurements and tests of a contract follow.

python examples/new_group.py      measures: heights stay when a cloud turns, widths do not
pytest examples/new_group.py      runs the tests that every group has to pass
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equivariant.actions import Points, Trivial
from equivariant.groups import SO2, Group
from equivariant.measure import equivariance_error
from equivariant.testing import GroupContract


@dataclass(frozen=True)
class Upright(Group):
    """Rotations of space about the vertical z axis, as 3 by 3 matrices."""

    dim, matrix_size, compact = 1, 3, True

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
        return nn.functional.pad(turn, (0, 1, 0, 1)) + torch.diag(torch.tensor([0, 0, 1])).to(turn)


class TestUpright(GroupContract):
    group = Upright()


def main(items: int = 8) -> list[float]:
    clouds, action = torch.randn(items, 32, 3, generator=torch.manual_seed(0)), Points(Upright())
    tops = [lambda x: x.amax(1)[:, 2:], lambda x: x.amax(1)[:, :1]]
    return [equivariance_error(f, clouds, act_in=action, act_out=Trivial(1)).value() for f in tops]


if __name__ == "__main__":
    print("relative error of invariance: height {:.1e}, width {:.1e}".format(*main()))
