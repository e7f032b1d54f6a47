"""CLIP in a plain PyTorch loop: two modalities, an encoder for each, a learned temperature.

python examples/contrast_clip.py
"""

import torch
from torch import nn

from equivariant.losses import preset


def main(steps: int = 100) -> tuple[float, float]:
    torch.manual_seed(0)
    hidden, seen, heard = torch.randn(256, 8), torch.randn(8, 32), torch.randn(8, 24)
    image, text = nn.Linear(32, 16), nn.Linear(24, 16)
    loss = preset("clip").build()
    parameters = [*image.parameters(), *text.parameters(), *loss.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    values = []
    for _ in range(steps):
        batch = hidden[torch.randperm(256)[:64]]
        total = loss(image(batch @ seen), text(batch @ heard)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    return values[0], values[-1]


if __name__ == "__main__":
    print("first {:.3f}, last {:.3f}".format(*main()))
