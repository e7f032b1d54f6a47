"""Measure your own model: is it equivariant, how far from it, and why?

    python examples/measure_yours.py

Replace ``Mine`` by your module, and say how its input moves and how its output should.
"""

import torch
from torch import Tensor, nn

from equivariant.actions import Points, Vectors
from equivariant.groups import SO3
from equivariant.measure import Diagnosis, diagnose, equivariance_error
from equivariant.testing import assert_equivariant


class Mine(nn.Module):
    """Vectors from a cloud: sums of points, weighted by a network of their lengths."""

    def __init__(self, *, flaw: bool) -> None:
        super().__init__()
        self.weights = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 8))
        self.flaw = flaw

    def forward(self, points: Tensor) -> Tensor:
        lengths = points.abs().amax(-1) if self.flaw else points.norm(dim=-1)  # a cube's norm
        weights = self.weights(lengths.unsqueeze(-1))
        return torch.einsum("bnc,bnd->bcd", weights, points).flatten(1)  # 8 vectors


def main(items: int = 16) -> tuple[float, Diagnosis]:
    torch.manual_seed(0)
    clouds = torch.randn(items, 64, 3, dtype=torch.float64)
    claim = {"act_in": Points(SO3()), "act_out": Vectors(SO3(), channels=8)}

    # A test for your suite: raises with the error, the element and what to look at.
    assert_equivariant(Mine(flaw=False).double(), clouds, **claim)

    # A number with its interval: the mean relative error over inputs and rotations.
    broken = Mine(flaw=True).double()
    report = equivariance_error(broken, clouds, **claim)
    print(f"relative error {report.estimate()}")

    # A verdict, the worst elements, and likely causes.
    diagnosis = diagnose(broken, clouds, **claim)
    print(diagnosis)
    return report.value(), diagnosis


if __name__ == "__main__":
    main()
