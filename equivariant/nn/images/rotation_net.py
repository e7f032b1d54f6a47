"""A convolutional network whose filters are shared over rotations of the plane, by escnn."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, MissingExtraError
from equivariant.nn.images.conv_net import check_images
from equivariant.shapes import Float, Images


@dataclass(frozen=True)
class RotationConvNetConfig:
    """A steerable network over the cyclic group of rotations by multiples of 2π / order.

    Args:
        widths: Regular fields of each stage, ``order`` channels each, at least one stage; the
            last is the size of the representation. (6, 9, 12) has 34 thousand weights at order 8.
        order: Number of rotations, at least 1.
        channels: Channels of an image, at least 1.
    """

    widths: tuple[int, ...] = (6, 9, 12)
    order: int = 8
    channels: int = 1

    def build(self) -> RotationConvNet:
        """The network, with fresh weights.

        Raises:
            MissingExtraError: escnn is not installed.
        """
        return RotationConvNet(self)


class RotationConvNet(nn.Module):
    """Images to representations that change little when the picture turns about its centre.

    Steerable 5x5 convolutions with batch normalization and rectifiers: one in the first stage,
    two in each other one, which sees half the pixels along each side, antialiased; then the
    maximum over the rotations and the mean over the pixels. Pixels outside of the inscribed disk
    are not looked at. On a square grid it is invariant to quarter turns up to rounding
    where halved maps stay centred (odd sizes); to other turns only as far as interpolation and
    the grid allow, so it declares nothing; measure it.

    Args:
        config: Shape of the network.

    Raises:
        ConventionError: No stage, or a width, the order or the channels below 1.
        MissingExtraError: escnn is not installed.

    Source: Weiler and Cesa 2019, regular fields over C_N; layers of escnn.
    """

    def __init__(self, config: RotationConvNetConfig | None = None) -> None:
        super().__init__()
        config = config or RotationConvNetConfig()
        if not config.widths or min(*config.widths, config.order, config.channels) < 1:
            raise ConventionError(
                expected="at least one stage, and widths, order and channels of at least 1",
                got=str(config),
                argument="config",
                advice="Eight rotations and widths (6, 9, 12) suit digits.",
            )
        layers, gspaces = _escnn()
        self.config, self.dim = config, config.widths[-1]
        space = gspaces.rot2dOnR2(N=config.order)
        images = layers.FieldType(space, config.channels * [space.trivial_repr])
        stages, before = [], images
        for k, width in enumerate(config.widths):
            after = layers.FieldType(space, width * [space.regular_repr])
            halve = [layers.PointwiseAvgPoolAntialiased2D(before, 0.66, stride=2)] if k else []
            second = _convolution(layers, after, after) if k else []
            stages += [*halve, *_convolution(layers, before, after), *second]
            before = after
        self.stages = layers.SequentialModule(*stages, layers.GroupPooling(before))
        self._wrap: Any = lambda x: layers.GeometricTensor(x, images)

    def forward(self, images: Images) -> Float[Tensor, "batch dim"]:
        """Representations.

        Args:
            images: Shape (batch, channels, height, width).

        Returns:
            Shape (batch, dim), not negative.

        Raises:
            ShapeError: Not images of the network's number of channels.
        """
        check_images(images, self.config.channels)
        y: Tensor = self.stages(self._wrap(images * _disk(images))).tensor
        return y.mean((-2, -1))


def _convolution(layers: ModuleType, before: Any, after: Any) -> list[Any]:
    """A 5x5 convolution between fields, normalization of each field, a rectifier."""
    return [
        layers.R2Conv(before, after, 5, padding=2, bias=False),
        layers.InnerBatchNorm(after),
        layers.ReLU(after),
    ]


def _disk(images: Tensor) -> Tensor:
    """1 at pixels whose centre is within half the shorter side of the frame's, else 0."""
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device) + 0.5 - 0.5 * height
    x = torch.arange(width, device=images.device) + 0.5 - 0.5 * width
    inside = y[:, None].square() + x.square() <= (0.5 * min(height, width)) ** 2
    return inside.to(images.dtype)


def _escnn() -> tuple[ModuleType, ModuleType]:
    """escnn's layers and spaces; its dependencies warn when they are imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("escnn.nn"), importlib.import_module("escnn.gspaces")
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "escnn", extra="escnn") from error
