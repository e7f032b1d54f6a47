"""A network that commutes with rotations, trained on upright shapes and measured on turned ones.

    python examples/lie.py

For digits and other groups from the command line: ``equivariant train lie --help``.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from equivariant.actions import ImageWarp
from equivariant.groups import SO2
from equivariant.measure import EquivarianceReport, equivariance_error
from equivariant.nn import LieNetworkConfig

L = [(-0.3, 0.4, -0.3, -0.4), (-0.3, -0.4, 0.3, -0.4)]  # ends (x, y) of strokes
T = [(-0.4, 0.4, 0.4, 0.4), (0.0, 0.4, 0.0, -0.4)]
PLUS = [(-0.4, 0.0, 0.4, 0.0), (0.0, 0.4, 0.0, -0.4)]


def shapes(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Upright shapes of random size and stroke, (count, 1, 32, 32), and their classes."""
    generator = torch.Generator().manual_seed(seed)
    at = (torch.arange(32) + 0.5) / 16 - 1
    here = torch.stack(torch.meshgrid(at, -at, indexing="xy"), -1)
    labels = torch.randint(3, (count,), generator=generator)
    pictures = torch.zeros(count, 1, 32, 32)
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        size, stroke = (torch.rand(2, generator=generator) * 0.5 + 0.8).tolist()
        for ends in (L, T, PLUS)[label]:
            a, b = (size * torch.tensor(ends)).split(2)
            along = ((here - a) @ (b - a) / (b - a).square().sum()).clamp(0, 1)[..., None]
            distance = (here - a - along * (b - a)).norm(dim=-1)
            picture[0] = picture[0].maximum((1.5 - distance / (0.08 * stroke)).clamp(0, 1))
    return pictures, labels


def main(steps: int = 150) -> tuple[float, float, EquivarianceReport]:
    torch.manual_seed(0)
    network = LieNetworkConfig(SO2(), outputs=3, width=16, samples=8).build()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(steps):
        pictures, labels = shapes(16, seed=step)
        loss = cross_entropy(network(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    pictures, labels = shapes(200, seed=10_000)
    angle = 2 * torch.pi * torch.rand(200, 1, generator=torch.Generator().manual_seed(1))
    turned = ImageWarp(SO2(), 32)(SO2().exp(angle), pictures)
    with torch.no_grad():
        right = [(network(x).argmax(1) == labels).float().mean() for x in (pictures, turned)]
    return float(right[0]), float(right[1]), equivariance_error(network, pictures[:16], samples=8)


if __name__ == "__main__":
    upright, turned, report = main()
    print(f"right: {upright:.0%} upright, {turned:.0%} turned; relative error {report.estimate()}")
