"""A class for every point: any encoder of points under one head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.nn.points.layers import FeatureNorm, Norm
from equivariant.shapes import Float


class PointSegmenter(nn.Module):
    """Logits of every point, of its own features and the strongest in the cloud.

        f(x)_i = W_2 σ(norm(W_1 (φ_i, max_j φ_j)))

    As invariant or not as the encoder is. ``FrameAverage(PointSegmenter(...), SO3())`` is a
    segmenter that ignores rotations, whatever the encoder.

    Args:
        encoder: Has ``point_features`` (batch, points, 3) to (batch, points, point_dim):
            :class:`PointEncoder`, or :class:`VectorNeuronEncoder` with ``invariant``.
        classes: At least 1.
        hidden: Width of the head, at least 1.
        norm: Of the head; see :class:`equivariant.nn.points.layers.FeatureNorm`.

    Raises:
        ConventionError: The encoder has no ``point_features``, or a size below 1.

    Example:
        >>> from equivariant.nn import PointEncoderConfig
        >>> encoder = PointEncoderConfig("dgcnn", width=4, dim=16, neighbors=5).build()
        >>> PointSegmenter(encoder, 3)(torch.randn(2, 50, 3)).shape
        torch.Size([2, 50, 3])

    Source: the segmentation networks of Qi et al. 2017, Wang et al. 2019 and Deng et al. 2021,
    without what aligns clouds.
    """

    def __init__(
        self, encoder: nn.Module, classes: int, *, hidden: int = 128, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        dim = getattr(encoder, "point_dim", None)
        if not isinstance(dim, int) or min(classes, hidden) < 1:
            raise ConventionError(
                expected="an encoder with point_features and point_dim, and sizes of at least 1",
                got=f"{type(encoder).__name__}, {classes} classes, hidden {hidden}",
                argument="encoder", advice="PointEncoderConfig().build() is one.",
            )  # fmt: skip
        self.encoder, self.classes = encoder, classes
        self.head = nn.Sequential(
            nn.Linear(2 * dim, hidden), FeatureNorm(hidden, norm), nn.LeakyReLU(0.2),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(
        self, clouds: Float[Tensor, "batch points xyz"]
    ) -> Float[Tensor, "batch points classes"]:
        """Logits of every point.

        Args:
            clouds: Shape (batch, points, 3), as the encoder takes them.

        Raises:
            ShapeError: The encoder refuses them.
        """
        features: Tensor = self.encoder.point_features(clouds)  # type: ignore[operator]
        strongest = features.amax(1, keepdim=True).expand_as(features)
        logits: Tensor = self.head(torch.cat([features, strongest], -1))
        return logits
