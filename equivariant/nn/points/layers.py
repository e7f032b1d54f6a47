"""Layers on the last axis that every point or edge of a cloud shares."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Vector

Norm = Literal["batch", "layer", "none"]


class FeatureNorm(nn.Module):
    """Normalization of features in the last axis, whatever axes lead.

    Args:
        channels: Size of the last axis, at least 1.
        norm: "batch" normalizes each channel over all leading axes, as the papers do; "layer"
            normalizes each vector by itself, so that no cloud depends on its batch; "none" does
            nothing.

    Raises:
        ConventionError: An unknown kind.

    Example:
        >>> import torch
        >>> y = FeatureNorm(4)(torch.randn(8, 100, 4))
        >>> bool(y.mean((0, 1)).abs().max() < 1e-5)
        True
    """

    def __init__(self, channels: int, norm: Norm = "batch") -> None:
        super().__init__()
        if norm not in ("batch", "layer", "none"):
            raise ConventionError(
                expected="batch, layer or none",
                got=repr(norm),
                argument="norm",
                advice="The papers use batch.",
            )
        kinds = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "none": nn.Identity}
        self.inner: nn.Module = kinds[norm](channels)
        self.norm = norm

    def forward(self, x: Vector) -> Vector:
        """Shape as given, (..., channels).

        Raises:
            ShapeError: Batch statistics are asked for of a single vector, in training mode.
        """
        flat = x.reshape(-1, x.shape[-1])
        if self.norm == "batch" and self.training and len(flat) < 2:
            raise ShapeError(
                expected="at least two vectors to take batch statistics of",
                got=f"shape {tuple(x.shape)}",
                argument="x",
                advice='Train with larger batches or with norm="layer"; or call eval() first.',
            )
        normalized: Tensor = self.inner(flat)
        return normalized.reshape(x.shape)
