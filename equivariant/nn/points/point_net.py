"""A network on sets of points: the same map of every point, then the maximum."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from equivariant.nn.points.layers import FeatureNorm, Norm
from equivariant.shapes import Float


class PointNet(nn.Module):
    """h applied to every point, and the maximum of each feature over the points.

        f(x) = max_i h(x_i),   h = (rectifier ∘ norm ∘ linear) repeated

    Without the input and feature transformers of the paper, which learn to align a cloud: they
    are no part of the idea, and are not equivariant.

    Args:
        widths: Width of each layer of h, all at least 1; the last is that of the result. The
            paper's are (64, 64, 64, 128, 1024).
        norm: See :class:`equivariant.nn.points.layers.FeatureNorm`.

    Example:
        >>> import torch
        >>> PointNet((16, 32))(torch.randn(2, 100, 3)).shape
        torch.Size([2, 32])

    Source: Qi et al. 2017, equation 1 and figure 2.
    """

    def __init__(self, widths: Sequence[int], norm: Norm = "batch") -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in widths:
            linear = nn.Linear(inputs, width, bias=norm != "batch")
            layers += [linear, FeatureNorm(width, norm), nn.ReLU()]
            inputs = width
        self.shared = nn.Sequential(*layers)

    def forward(self, clouds: Float[Tensor, "batch points 3"]) -> Float[Tensor, "batch dim"]:
        """Global features.

        Args:
            clouds: Shape (batch, points, 3), any unit.

        Returns:
            Shape (batch, dim), not negative.
        """
        return self.point_features(clouds)[1].amax(1)

    def point_features(self, clouds: Float[Tensor, "batch points 3"]) -> tuple[Tensor, Tensor]:
        """What the maximum is taken of, and what comes one layer before.

        Args:
            clouds: Shape (batch, points, 3).

        Returns:
            Shapes (batch, points, last width but one; 3 with one layer) and (batch, points, last
            width).
        """
        local: Tensor = self.shared[:-3](clouds)
        last: Tensor = self.shared[-3:](local)
        return local, last
