"""Supervised contrast in a plain PyTorch loop: classes attract; -1 is an object without a label.

python examples/contrast_supcon.py
"""

import torch
from torch import nn

from equivariant.losses import preset


def main(steps: int = 100) -> tuple[float, float]:
    torch.manual_seed(0)
    labels = torch.arange(256) % 8
    objects = torch.randn(8, 32)[labels] + torch.randn(256, 32)
    labels[::4] = -1
    encoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))
    loss = preset("supcon_out", tau=0.2).build()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    values = []
    for _ in range(steps):
        some = torch.randperm(256)[:64]
        total = loss(encoder(objects[some]), labels[some]).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    return values[0], values[-1]


if __name__ == "__main__":
    print("first {:.3f}, last {:.3f}".format(*main()))
