"""A steerable network of escnn on smooth pictures, for ``equivariance.py``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.groups import SO2, Elements
from equivariant.measure import declared

with warnings.catch_warnings():  # dependencies of escnn warn when they are imported
    warnings.simplefilter("ignore")
    import escnn.nn as enn
    from escnn import gspaces

SIDE = 33


class OnTensors(nn.Module):
    """A module of escnn as a module of plain tensors.

    Args:
        module: With ``in_type`` and ``out_type``.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Fields, shape (batch, channels, height, width)."""
        y: Tensor = self.module(enn.GeometricTensor(x, self.module.in_type)).tensor
        return y


def network() -> Any:
    """Convolution, rectifier, convolution and average pooling over C8, fresh weights."""
    space = gspaces.rot2dOnR2(N=8)
    images = enn.FieldType(space, [space.trivial_repr])
    fields = enn.FieldType(space, 8 * [space.regular_repr])
    torch.manual_seed(0)
    layers = enn.SequentialModule(
        enn.R2Conv(images, fields, 5, padding=2), enn.ReLU(fields),
        enn.R2Conv(fields, fields, 5, padding=2),
        enn.PointwiseAvgPoolAntialiased2D(fields, sigma=0.66, stride=2),
    )  # fmt: skip
    with torch.no_grad():  # kept filters would belong to a graph, and could not be copied
        return layers.eval()


def pictures(count: int) -> Tensor:
    """Sums of smooth bumps inside a disk, shape (count, 1, 33, 33)."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.linspace(-1, 1, SIDE)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    center = 1.0 * torch.rand(count, 8, 2, 1, 1, generator=generator) - 0.5
    height = torch.randn(count, 8, 1, 1, generator=generator)
    square = (x - center[:, :, 0]) ** 2 + (y - center[:, :, 1]) ** 2
    return (height * torch.exp(-square / (2 * 0.1**2))).sum(1, keepdim=True)


def escnn_subjects(items: int) -> Iterator[tuple[str, nn.Module, Tensor, dict[str, Any]]]:
    """Name, module, pictures and claim: under quarter turns, and odd multiples of 45 degrees."""
    module = network()
    d = declared(module)
    for name, degrees in (
        ("quarter turns", (0, 90, 180, 270)),
        ("45° and odd multiples", (45, 135, 225, 315)),
    ):
        angles = torch.tensor(degrees, dtype=torch.float64)[:, None] * (math.pi / 180)
        law = Elements(SO2(), SO2().exp(angles))
        claim = {"act_in": d.act_in, "act_out": d.act_out, "law": law}
        yield f"escnn C8, {name}", OnTensors(module), pictures(items), claim
