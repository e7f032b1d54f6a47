"""Which symmetries do my data have? A model of your own, three candidates, a table of levels.

python examples/soft.py
"""

import torch
from torch import nn

from equivariant.actions import Tensors
from equivariant.groups import O2, O3, Embedded
from equivariant.regularizers import Levels, OneShot, SoftEquivariance


def data(items: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Forces on a body that is stiff along z: turns about z hold, others do not."""
    forces = torch.randn(items, 3, 3, generator=generator)
    return forces.flatten(1), forces.sum(1) * torch.tensor([1.0, 1.0, 0.4])


class Response(nn.Module):
    """Plain torch: weights that depend on the strength of all forces, times the forces."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(9, 24), nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vectors = self.hidden(x).unflatten(-1, (8, 3))
        return self.out((vectors * vectors.norm(dim=-1, keepdim=True).sigmoid()).flatten(-2))


def main(steps: int = 600) -> Levels:
    torch.manual_seed(0)
    generator, model = torch.Generator().manual_seed(0), Response()
    vector = Tensors(O3(), 1)
    hidden = 8 * vector  # the model treats its hidden numbers as eight vectors
    term = SoftEquivariance(
        model,
        {
            "all turns": O3(),
            "turns about z": Embedded(O2(), 3, (0, 1)),
            "turns about x": Embedded(O2(), 3, (1, 2)),
        },
        representations={"hidden": (3 * vector, hidden), "out": (hidden, vector)},
        penalty="scale_free",
        strengths=OneShot(0.3, at=3 * steps // 4, power=4.0),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        x, y = data(128, generator)
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean() + term()
        loss.backward()
        optimizer.step()
    print(f"loss {loss.detach():.4f}")
    return term.levels(tolerance=1e-3)


if __name__ == "__main__":
    print(main())
