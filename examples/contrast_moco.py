"""MoCo in a plain PyTorch loop: keys of a moving average, and a queue of earlier ones.

python examples/contrast_moco.py
"""

import copy

import torch
from torch import nn

from equivariant.losses import Bank, preset


def main(steps: int = 100, momentum: float = 0.99) -> tuple[float, float]:
    torch.manual_seed(0)
    objects = torch.randn(256, 32)
    encoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16))
    averaged, bank = copy.deepcopy(encoder).requires_grad_(False), Bank(128, 16)
    loss = preset("moco", tau=0.2).build()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    values = []
    for _ in range(steps):
        batch = objects[torch.randperm(256)[:64]]
        queries, keys = batch + 0.5 * torch.randn(2, *batch.shape)
        k = averaged(keys)
        total = loss(encoder(queries), k, bank).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        for slow, fast in zip(averaged.parameters(), encoder.parameters(), strict=True):
            slow.lerp_(fast.detach(), 1 - momentum)
        bank.push(k)
        values.append(total.item())
    return values[2], values[-1]  # once the queue is full


if __name__ == "__main__":
    print("first {:.3f}, last {:.3f}".format(*main()))
