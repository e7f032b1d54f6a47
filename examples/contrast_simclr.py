"""SimCLR in a plain PyTorch loop: two views of each object, one loss.

python examples/contrast_simclr.py
"""

import torch
from torch import nn

from equivariant.losses import preset


def main(steps: int = 100) -> tuple[float, float]:
    torch.manual_seed(0)
    objects = torch.randn(256, 32)
    encoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))
    loss = preset("nt_xent", tau=0.2).build()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    values = []
    for _ in range(steps):
        batch = objects[torch.randperm(256)[:64]]
        z0, z1 = (encoder(batch + 0.5 * torch.randn_like(batch)) for _ in range(2))
        total = loss(z0, z1).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    return values[0], values[-1]


if __name__ == "__main__":
    print("first {:.3f}, last {:.3f}".format(*main()))
