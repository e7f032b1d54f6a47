"""Clouds of points to representations, by one of the two usual networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.nn.points.dgcnn import DynamicGraphNetwork
from equivariant.nn.points.layers import Norm
from equivariant.nn.points.neighbors import check_clouds
from equivariant.nn.points.point_net import PointNet
from equivariant.shapes import Float

Architecture = Literal["pointnet", "dgcnn"]


@dataclass(frozen=True)
class PointEncoderConfig:
    """A network for clouds of points.

    Args:
        architecture: "pointnet": the same map of every point, then the maximum. "dgcnn": edge
            convolutions on a graph of nearest neighbours drawn anew in every layer.
        width: Channels of the first layer, at least 1; 64 gives the papers' widths,
            (1, 1, 1, 2) times 64 for pointnet, (1, 1, 2, 4) times 64 for dgcnn.
        dim: Size of the representation, at least 1.
        neighbors: Edges of each point of dgcnn, itself included, at least 1; pointnet has none.
        norm: "batch" as in the papers, "layer", or "none".
    """

    architecture: Architecture = "dgcnn"
    width: int = 64
    dim: int = 1024
    neighbors: int = 20
    norm: Norm = "batch"

    def build(self) -> PointEncoder:
        """The network, with fresh weights."""
        return PointEncoder(self)


class PointEncoder(nn.Module):
    """Clouds to representations that do not depend on the order of the points.

    Neither architecture is equivariant or invariant to rotations or translations. With
    "pointnet" the representation is not negative, as it ends in a rectifier.

    Args:
        config: Shape of the network.

    Raises:
        ConventionError: Width, dim or neighbours below 1, or an unknown architecture or norm.

    Example:
        >>> encoder = PointEncoderConfig(width=8, dim=32, neighbors=4).build()
        >>> encoder(torch.randn(2, 100, 3)).shape, encoder.dim
        (torch.Size([2, 32]), 32)

    Source: Qi et al. 2017 (pointnet), Wang et al. 2019 (dgcnn); what is left out of either is
    said in :class:`equivariant.nn.PointNet` and :class:`equivariant.nn.DynamicGraphNetwork`.
    """

    def __init__(self, config: PointEncoderConfig | None = None) -> None:
        super().__init__()
        config = config or PointEncoderConfig()
        if min(config.width, config.dim, config.neighbors) < 1:
            raise ConventionError(
                expected="width, dim and neighbors of at least 1",
                got=str(config),
                argument="config",
                advice="The papers have width 64, dim 1024 and 20 neighbours.",
            )
        if config.architecture not in ("pointnet", "dgcnn"):
            raise ConventionError(
                expected="pointnet or dgcnn",
                got=repr(config.architecture),
                argument="config.architecture",
                advice="dgcnn sees neighbourhoods; pointnet is faster.",
            )
        self.config = config
        self.dim = config.dim
        self.point_dim = config.dim + (2 if config.architecture == "pointnet" else 8) * config.width
        width, norm = config.width, config.norm
        self.network: PointNet | DynamicGraphNetwork
        if config.architecture == "pointnet":
            self.network = PointNet((width, width, width, 2 * width, config.dim), norm)
        else:
            widths = (width, width, 2 * width, 4 * width)
            self.network = DynamicGraphNetwork(
                widths, config.dim, neighbors=config.neighbors, norm=norm
            )

    def forward(self, clouds: Float[Tensor, "batch points xyz"]) -> Float[Tensor, "batch dim"]:
        """Representations.

        Args:
            clouds: Shape (batch, points, 3), any unit; at least as many points as neighbours.

        Returns:
            Shape (batch, dim).

        Raises:
            ShapeError: The last axis is not 3, there are too few points, or batch statistics are
                asked for of a single vector, in training mode.
        """
        self._check(clouds)
        y: Tensor = self.network(clouds)
        return y

    def point_features(
        self, clouds: Float[Tensor, "batch points xyz"]
    ) -> Float[Tensor, "batch points point_dim"]:
        """Features of every point, of the last layer and those before, for segmentation.

        Args:
            clouds: As in :meth:`forward`.

        Returns:
            Shape (batch, points, point_dim).
        """
        self._check(clouds)
        return torch.cat(self.network.point_features(clouds), -1)

    def _check(self, clouds: Tensor) -> None:
        dgcnn = self.config.architecture == "dgcnn"
        check_clouds(clouds, least=self.config.neighbors if dgcnn else 1)
