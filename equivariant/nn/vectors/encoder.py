"""Clouds of points to vectors that turn with them, or to numbers that do not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from equivariant.errors import ConventionError
from equivariant.nn.points.layers import FeatureNorm, Norm
from equivariant.nn.points.neighbors import check_clouds, gather_points, nearest_neighbors
from equivariant.nn.vectors.layers import (
    VectorBlock,
    VectorInvariant,
    VectorLeakyReLU,
    VectorLinear,
    VectorMaxPool,
    VectorMeanPool,
    VectorNorm,
)
from equivariant.shapes import Float

Pooling = Literal["mean", "max"]


@dataclass(frozen=True)
class VectorNeuronEncoderConfig:
    """A network of vector neurons for clouds of points.

    Args:
        architecture: "dgcnn": four edge convolutions, the graph drawn anew in each. "pointnet":
            one edge convolution, without which all vectors of a point would be parallel, then
            the same map of every point.
        width: Vectors in the first layer, at least 1; 21 (a third of 64) in the published code.
        channels: Vectors of each point's last layer, and of the result, at least 1.
        neighbors: Edges of each point, itself included, at least 1.
        pooling: Over neighbours and over points: "mean", or "max" along a direction of each
            vector.
        norm: Of lengths: "batch" as in the paper, "layer", or "none".
        chiral: Give the first layer cross products: the network tells a cloud from its mirror
            image and commutes with rotations. False: it commutes with reflections too.
        invariant: Return numbers that do not turn, ``dim`` of them, instead of vectors.
        dim: Size of an invariant representation, at least 1; unused otherwise.
    """

    architecture: Literal["dgcnn", "pointnet"] = "dgcnn"
    width: int = 21
    channels: int = 341
    neighbors: int = 20
    pooling: Pooling = "mean"
    norm: Norm = "batch"
    chiral: bool = True
    invariant: bool = False
    dim: int = 1024

    def build(self) -> VectorNeuronEncoder:
        """The network, with fresh weights."""
        return VectorNeuronEncoder(self)


class VectorEdgeConvolution(nn.Module):
    """Edge convolution on vectors.

        y_i = pool_j σ(norm(W (x_j - x_i, x_i, x_j × x_i))),   j among the nearest neighbours of i

    Cross products, channel by channel, only where ``chiral``: they are equivariant to rotations
    but not to reflections. Distances between features do not change when all vectors turn.

    Args:
        inputs: Vectors in, at least 1.
        outputs: Vectors out, at least 1.
        neighbors: Edges of each point, at least 1; the point itself is the first.
        pooling: "mean" or "max".
        norm: See :class:`equivariant.nn.VectorNorm`; over edges.
        chiral: With cross products.

    Example:
        >>> layer = VectorEdgeConvolution(1, 8, neighbors=4)
        >>> layer(torch.randn(2, 100, 1, 3)).shape
        torch.Size([2, 100, 8, 3])

    Source: Deng et al. 2021, VN-DGCNN; Wang et al. 2019, equations 7 and 8.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        neighbors: int,
        pooling: Pooling = "mean",
        norm: Norm = "batch",
        chiral: bool = False,
    ) -> None:
        super().__init__()
        self.neighbors, self.chiral = neighbors, chiral
        self.linear = VectorLinear((3 if chiral else 2) * inputs, outputs)
        self.activation = nn.Sequential(VectorNorm(outputs, norm), VectorLeakyReLU(outputs))
        self.pool = _pool(pooling, outputs)

    def forward(self, x: Float[Tensor, "batch points inputs 3"]) -> Tensor:
        """Vectors of every point, shape (batch, points, outputs, 3).

        Raises:
            ShapeError: There are fewer points than neighbours.
        """
        index = nearest_neighbors(x.flatten(-2), self.neighbors)
        of_difference, of_center, *of_cross = self.linear.weight.split(x.shape[-2], dim=1)
        columns = x.transpose(-1, -2)
        sent = linear(columns, of_difference)
        kept = linear(columns, of_center - of_difference)
        edges = gather_points(sent, index) + kept.unsqueeze(2)
        if self.chiral:
            cross = torch.linalg.cross(gather_points(x, index), x.unsqueeze(2))
            edges = edges + linear(cross.transpose(-1, -2), of_cross[0])
        y: Tensor = self.pool(self.activation(edges.transpose(-1, -2)))
        return y


class VectorNeuronEncoder(nn.Module):
    """Clouds to ``channels`` vectors that turn with the cloud, or to ``dim`` numbers that do not.

    The mean of a cloud is subtracted first, so translations change nothing. Then, for every
    rotation R (and reflection, if not ``chiral``), in training mode too,

        f(x Rᵀ + p) = f(x) Rᵀ      vectors
        f(x Rᵀ + p) = f(x)         invariant

    up to rounding, and as long as rounding exchanges no neighbours: where two points are equally
    far the graph, and the result, may jump. The order of the points does not matter. The vectors,
    flattened, are what ``Vectors(SO3(), channels)`` acts on.

    Invariant representations are, of every point, inner products with three vectors of its own
    (:class:`equivariant.nn.VectorInvariant`, given the point's vectors and their mean over the
    cloud), a linear map, a normalization and a rectifier; then the maximum over points.

    Args:
        config: Shape of the network.

    Raises:
        ConventionError: A size below 1, or an unknown architecture, pooling or norm.

    Example:
        >>> config = VectorNeuronEncoderConfig(width=4, channels=8, neighbors=5)
        >>> encoder = config.build()
        >>> encoder(torch.randn(2, 100, 3)).shape, encoder.dim
        (torch.Size([2, 8, 3]), 24)

    Source: Deng et al. 2021, VN-DGCNN and VN-PointNet, without the learned input transforms.
    """

    def __init__(self, config: VectorNeuronEncoderConfig | None = None) -> None:
        super().__init__()
        config = config or VectorNeuronEncoderConfig()
        _check(config)
        self.config = config
        width, channels, norm = config.width, config.channels, config.norm
        deep = config.architecture == "dgcnn"
        widths = [1, width, width, 2 * width, 4 * width] if deep else [1, width]
        self.convolutions = nn.ModuleList(
            VectorEdgeConvolution(
                i,
                o,
                neighbors=config.neighbors,
                pooling=config.pooling,
                norm=norm,
                chiral=config.chiral and k == 0,
            )
            for k, (i, o) in enumerate(pairwise(widths))
        )
        after = [sum(widths[1:]), channels] if deep else [width, width, 2 * width, channels]
        self.shared = nn.Sequential(*(VectorBlock(i, o, norm) for i, o in pairwise(after)))
        self.pool = _pool(config.pooling, channels)
        self.dim = self.point_dim = config.dim if config.invariant else 3 * channels
        if config.invariant:
            self.invariant = VectorInvariant(2 * channels, norm)
            self.linear = nn.Linear(6 * channels, config.dim, bias=norm != "batch")
            self.norm = FeatureNorm(config.dim, norm)

    def forward(self, clouds: Float[Tensor, "batch points xyz"]) -> Tensor:
        """Representations.

        Args:
            clouds: Shape (batch, points, 3), any unit; at least as many points as neighbours.

        Returns:
            Vectors, shape (batch, channels, 3), in units of the normalization; if ``invariant``,
            numbers, shape (batch, dim).

        Raises:
            ShapeError: The last axis is not 3, there are too few points, or batch statistics are
                asked for of a single entry, in training mode.
        """
        if self.config.invariant:
            return self.point_features(clouds).amax(1)
        vectors: Tensor = self.pool(self._point_vectors(clouds))
        return vectors

    def point_features(
        self, clouds: Float[Tensor, "batch points xyz"]
    ) -> Float[Tensor, "batch points dim"]:
        """Numbers of every point that do not turn, for segmentation; of invariant encoders only.

        Args:
            clouds: As in :meth:`forward`.

        Returns:
            Shape (batch, points, dim): what an invariant representation is the maximum of.

        Raises:
            ConventionError: The encoder returns vectors.
        """
        if not self.config.invariant:
            raise ConventionError(
                expected="an encoder with invariant=True", got="one that returns vectors",
                argument="config", advice="Only numbers that do not turn can say a class.",
            )  # fmt: skip
        x = self._point_vectors(clouds)
        mean = x.mean(1, keepdim=True).expand_as(x)
        numbers: Tensor = self.norm(self.linear(self.invariant(torch.cat([x, mean], 2))))
        return leaky_relu(numbers, 0.2)

    def _point_vectors(self, clouds: Tensor) -> Float[Tensor, "batch points channels 3"]:
        check_clouds(clouds, least=self.config.neighbors)
        x = (clouds - clouds.mean(1, keepdim=True)).unsqueeze(2)
        features = []
        for convolution in self.convolutions:
            x = convolution(x)
            features.append(x)
        shared: Tensor = self.shared(torch.cat(features, 2))
        return shared


def _pool(pooling: Pooling, channels: int) -> nn.Module:
    if pooling not in ("mean", "max"):
        raise ConventionError(
            expected="mean or max",
            got=repr(pooling),
            argument="pooling",
            advice="The published code takes the mean.",
        )
    return VectorMaxPool(channels) if pooling == "max" else VectorMeanPool()


def _check(config: VectorNeuronEncoderConfig) -> None:
    if min(config.width, config.channels, config.neighbors, config.dim) < 1:
        raise ConventionError(
            expected="width, channels, neighbors and dim of at least 1",
            got=str(config),
            argument="config",
            advice="The published code has width 21, 341 channels and 20 neighbours.",
        )
    if config.architecture not in ("dgcnn", "pointnet"):
        raise ConventionError(
            expected="dgcnn or pointnet",
            got=repr(config.architecture),
            argument="config.architecture",
            advice="pointnet has one edge convolution, dgcnn four.",
        )
