"""Convolution along the edges of a graph that is drawn anew in every layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from equivariant.nn.points.layers import FeatureNorm, Norm
from equivariant.nn.points.neighbors import gather_points, nearest_neighbors
from equivariant.shapes import Float

SLOPE = 0.2


class EdgeConvolution(nn.Module):
    """The strongest of the messages of a point's neighbours.

        y_i = max_j σ(norm(W (x_j - x_i, x_i))),   j among the nearest neighbours of i

    W = (U, V) is applied as U x_j + (V - U) x_i: once per point instead of once per edge.

    Args:
        inputs: Channels in, at least 1.
        outputs: Channels out, at least 1.
        neighbors: Edges of each point, at least 1; the point itself is the first.
        norm: See :class:`equivariant.nn.points.layers.FeatureNorm`; over edges.

    Example:
        >>> EdgeConvolution(3, 16, neighbors=4)(torch.randn(2, 100, 3)).shape
        torch.Size([2, 100, 16])

    Source: Wang et al. 2019, equations 7 and 8.
    """

    def __init__(self, inputs: int, outputs: int, *, neighbors: int, norm: Norm = "batch") -> None:
        super().__init__()
        self.neighbors = neighbors
        self.linear = nn.Linear(2 * inputs, outputs, bias=norm != "batch")
        self.norm = FeatureNorm(outputs, norm)

    def forward(self, x: Float[Tensor, "batch points inputs"]) -> Tensor:
        """Features of every point, shape (batch, points, outputs), of the points' features.

        Raises:
            ShapeError: There are fewer points than neighbours.
        """
        index = nearest_neighbors(x, self.neighbors)
        of_difference, of_center = self.linear.weight.chunk(2, dim=1)
        sent = linear(x, of_difference)
        kept = linear(x, of_center - of_difference, self.linear.bias)
        edges: Tensor = self.norm(gather_points(sent, index) + kept.unsqueeze(2))
        return leaky_relu(edges, SLOPE).amax(2)


class DynamicGraphNetwork(nn.Module):
    """Edge convolutions, their results side by side, one more layer, the maximum over points.

        f(x) = max_i σ(norm(W (y¹_i, ..., yᴸ_i))),   yˡ⁺¹ = EdgeConvolution(yˡ),   y⁰ = x

    The graph of each layer joins nearest neighbours among that layer's inputs. Of the published
    classifier this keeps all up to the maximum over points; its code also takes the mean.

    Args:
        widths: Channels of each edge convolution, all at least 1. The paper's classifier has
            (64, 64, 128, 256).
        dim: Channels of the result, at least 1; 1024 in the paper.
        neighbors: Edges of each point, itself included; 20 in the paper for 1024 points.
        norm: See :class:`equivariant.nn.points.layers.FeatureNorm`.

    Example:
        >>> DynamicGraphNetwork((8, 8), 32, neighbors=4)(torch.randn(2, 100, 3)).shape
        torch.Size([2, 32])

    Source: Wang et al. 2019, section 3 and figure 3.
    """

    def __init__(
        self, widths: Sequence[int], dim: int, *, neighbors: int, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        inputs = [3, *widths[:-1]]
        self.convolutions = nn.ModuleList(
            EdgeConvolution(i, o, neighbors=neighbors, norm=norm)
            for i, o in zip(inputs, widths, strict=True)
        )
        self.linear = nn.Linear(sum(widths), dim, bias=norm != "batch")
        self.norm = FeatureNorm(dim, norm)

    def forward(self, clouds: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch dim"]:
        """Global features.

        Args:
            clouds: Shape (batch, points, 3), any unit.

        Returns:
            Shape (batch, dim).

        Raises:
            ShapeError: There are fewer points than neighbours.
        """
        return self.point_features(clouds)[1].amax(1)

    def point_features(self, clouds: Float[Tensor, "batch points 3"]) -> tuple[Tensor, Tensor]:
        """What the maximum is taken of, and what comes before.

        Args:
            clouds: Shape (batch, points, 3).

        Returns:
            The results of all convolutions side by side, (batch, points, sum of widths), and of
            the last layer, (batch, points, dim).
        """
        features = []
        x: Tensor = clouds
        for convolution in self.convolutions:
            x = convolution(x)
            features.append(x)
        local = torch.cat(features, -1)
        joined: Tensor = self.norm(self.linear(local))
        return local, leaky_relu(joined, SLOPE)
