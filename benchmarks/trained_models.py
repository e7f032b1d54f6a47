"""Models for ``equivariance.py``: small networks, trained for a minute where they are trained."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from e3nn import nn as e3nn_nn
from e3nn import o3
from torch import Tensor, nn

from datasets3d import PointClouds
from datasets3d.meshes import MeshFolder
from equivariant.groups import SO3
from equivariant.nn import (
    FrameAverage,
    PointEncoderConfig,
    VectorNeuronEncoder,
    VectorNeuronEncoderConfig,
)
from equivariant.nn.points.neighbors import gather_points, nearest_neighbors

Training = Literal["untrained", "aligned", "rotated"]
Kind = Literal["pointnet", "dgcnn", "vector_neurons", "frame_average"]
DATA = Path(os.environ.get("EQUIVARIANT_DATA", "../shared/data"))
POINTS, CLASSES, BATCH = 256, 32, 32


@dataclass(frozen=True)
class Budget:
    """How long everything may take.

    Args:
        steps: Of training a classifier of clouds, batches of 32.
        seeds: Of weights and order, for trained rows.
        items: Held-out clouds that are measured.
        samples: Elements per item for the headline.
        split_samples: Elements per item where float32 is compared with float64.
        objects: Procedural objects per class of the pictures.
        pair_steps: Steps of training on pictures.
    """

    steps: int = 300
    seeds: int = 3
    items: int = 64
    samples: int = 64
    split_samples: int = 8
    objects: int = 80
    pair_steps: int = 800


QUICK = Budget(4, 1, 8, 4, 2, 8, 4)


@dataclass(frozen=True)
class CloudData:
    """Clouds of ``lowpoly_cc0``, aligned as the artists left them, 256 points each."""

    root: Path = DATA

    @cached_property
    def train(self) -> PointClouds:
        """Three objects in four."""
        return PointClouds(MeshFolder(self.root / "lowpoly_cc0"), split="train", points=POINTS)

    @cached_property
    def held_out(self) -> PointClouds:
        """The others, in an order that mixes classes."""
        return PointClouds(MeshFolder(self.root / "lowpoly_cc0"), split="val", points=POINTS)

    def items(self, count: int) -> Tensor:
        """Held-out clouds that are measured, shape (count, 256, 3), drawn without replacement."""
        clouds = self.held_out.clouds
        order = torch.randperm(len(clouds), generator=torch.Generator().manual_seed(0))
        return clouds[order[:count]]


def classifier(kind: Kind) -> nn.Module:
    """Clouds to logits of 32 classes, with fresh weights from the global generator."""
    if kind == "vector_neurons":
        encoder: nn.Module = vector_config(invariant=True).build()
        return nn.Sequential(encoder, nn.Linear(128, CLASSES))
    if kind == "frame_average":
        return FrameAverage(classifier("pointnet"), SO3())
    if kind == "pointnet":
        config = PointEncoderConfig("pointnet", width=32, dim=192)
    else:
        config = PointEncoderConfig("dgcnn", width=8, dim=64, neighbors=8)
    return nn.Sequential(config.build(), nn.Linear(config.dim, CLASSES))


def vector_config(*, invariant: bool) -> VectorNeuronEncoderConfig:
    """The network of vector neurons, with one of its two ends."""
    return VectorNeuronEncoderConfig(
        "pointnet", width=12, channels=32, neighbors=10, invariant=invariant, dim=128
    )


def vectors_of(model: nn.Sequential) -> nn.Module:
    """A trained classifier of vector neurons without its invariant end: 32 vectors, flat."""
    trained = model[0]
    assert isinstance(trained, VectorNeuronEncoder)
    encoder = vector_config(invariant=False).build()
    encoder.load_state_dict(
        {k: v for k, v in trained.state_dict().items() if k in encoder.state_dict()}
    )
    return nn.Sequential(encoder, nn.Flatten(1)).eval()


def train_classifier(
    kind: Kind, training: Training, *, seed: int, data: CloudData, steps: int
) -> nn.Module:
    """A classifier after ``steps`` batches of 32 with Adam at 1e-3, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = classifier(kind)
    if training == "untrained":
        return model.eval()
    clouds, labels = data.train.clouds, data.train.labels
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(clouds), generator=generator)
        rows, order = order[:BATCH], order[BATCH:]
        x = clouds[rows]
        if training == "rotated":
            x = turned(x, generator)
        loss = nn.functional.cross_entropy(model(x), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def turned(clouds: Tensor, generator: torch.Generator) -> Tensor:
    """Each cloud turned by a uniform rotation of its own."""
    g = SO3().sample(len(clouds), generator=generator).to(clouds.dtype)
    return clouds @ g.transpose(-1, -2)


@torch.no_grad()
def accuracy(model: nn.Module, data: CloudData) -> dict[str, float]:
    """Share of held-out clouds classified right, as they are and uniformly turned."""
    clouds, labels = data.held_out.clouds, data.held_out.labels
    found = {}
    for name, x in (
        ("aligned", clouds),
        ("rotated", turned(clouds, torch.Generator().manual_seed(1))),
    ):
        best = torch.cat([model(part).argmax(1) for part in x.split(64)])
        found[name] = float((best == labels).double().mean())
    return found


class EdgeNetwork(nn.Module):
    """Two tensor-product convolutions of e3nn on a graph of nearest neighbours, and a mean.

        h_i = mean_j TP(h_j, Y(x_j - x_i); w(|x_j - x_i|)),   gated between the two

    Args:
        neighbors: Edges of each point, itself left out.
    """

    irreps_out = o3.Irreps("16x0e + 8x1o + 4x2e")

    def __init__(self, neighbors: int = 8) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.harmonics = o3.SphericalHarmonics("0e + 1o + 2e", True, "component")
        scalars = o3.Irreps("16x0e")
        self.gate = e3nn_nn.Gate(
            scalars, [torch.nn.functional.silu], "12x0e", [torch.sigmoid], "8x1o + 4x2e"
        )
        edge = self.harmonics.irreps_out
        self.first = o3.FullyConnectedTensorProduct(
            "1x0e", edge, self.gate.irreps_in, shared_weights=False
        )
        self.second = o3.FullyConnectedTensorProduct(
            self.gate.irreps_out, edge, self.irreps_out, shared_weights=False
        )
        self.radial = nn.ModuleList(
            e3nn_nn.FullyConnectedNet([8, 16, tp.weight_numel], torch.nn.functional.silu)
            for tp in (self.first, self.second)
        )

    def forward(self, clouds: Tensor) -> Tensor:
        """Features of each cloud, shape (batch, irreps_out.dim)."""
        index = nearest_neighbors(clouds, self.neighbors + 1)[..., 1:]
        edges = gather_points(clouds, index) - clouds.unsqueeze(2)
        sent = self.harmonics(edges)
        length = edges.norm(dim=-1, keepdim=True)
        centers = torch.linspace(0, 0.5, 8, dtype=clouds.dtype, device=clouds.device)
        shape = torch.exp(-(((length - centers) / 0.1) ** 2))
        h = clouds.new_ones(*clouds.shape[:2], 1)
        h = self.gate(self.first(gather_points(h, index), sent, self.radial[0](shape)).mean(2))
        h = self.second(gather_points(h, index), sent, self.radial[1](shape)).mean(2)
        pooled: Tensor = h.mean(1)
        return pooled


class GatedNetwork(nn.Module):
    """Linear maps and a gate on features, declared as e3nn declares its modules."""

    irreps_in = o3.Irreps("16x0e + 8x1o + 4x2e")
    irreps_out = o3.Irreps("8x0e + 4x1o")

    def __init__(self) -> None:
        super().__init__()
        gate = e3nn_nn.Gate(
            "32x0e", [torch.nn.functional.silu], "24x0e", [torch.sigmoid], "16x1o + 8x2e"
        )
        self.layers = nn.Sequential(
            o3.Linear(self.irreps_in, gate.irreps_in), gate,
            o3.Linear(gate.irreps_out, self.irreps_out),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Features, shape (..., irreps_out.dim)."""
        y: Tensor = self.layers(x)
        return y
