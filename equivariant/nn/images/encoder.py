"""Residual networks for images, at any width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from equivariant.errors import ConventionError, ShapeError
from equivariant.shapes import Float, Images

Topology = Literal["standard", "sie"]


@dataclass(frozen=True)
class ImageEncoderConfig:
    """A residual network with basic blocks.

    Args:
        width: Channels of the first stage, at least 1; the representation has 8 times as many.
        blocks: Blocks in each of the four stages; (2, 2, 2, 2) is ResNet-18.
        topology: "standard" is the usual network; "sie" is the one of SIE's published code
            (padding on the right and below, stride in a block's second convolution, a projected
            shortcut in the first block of every stage), which loads its checkpoints.
        channels: Channels of an image.
    """

    width: int = 64
    blocks: tuple[int, int, int, int] = (2, 2, 2, 2)
    topology: Topology = "standard"
    channels: int = 3

    def build(self) -> ImageEncoder:
        """The network, with fresh weights."""
        return ImageEncoder(self)


class ImageEncoder(nn.Module):
    """Images to representations: residual stages, then the mean over the image.

    The last operation before the mean is a rectifier, so representations are not negative.
    Convolutions start Kaiming-normal (fan-out), the last normalization of every block at zero,
    so a block starts as its shortcut.

    Args:
        config: Shape of the network.

    Raises:
        ConventionError: Width, blocks or channels below 1, or an unknown topology.

    Example:
        >>> encoder = ImageEncoder(ImageEncoderConfig(width=16))
        >>> encoder(torch.rand(2, 3, 32, 32)).shape, encoder.dim
        (torch.Size([2, 128]), 128)

    Source: He et al. 2016; the "sie" topology is that of Garrido et al. 2023, 11,180,736
    parameters at width 64.
    """

    def __init__(self, config: ImageEncoderConfig | None = None) -> None:
        super().__init__()
        config = config or ImageEncoderConfig()
        if min(config.width, config.channels, *config.blocks) < 1:
            raise ConventionError(
                expected="width, channels and blocks of at least 1",
                got=str(config),
                argument="config",
                advice="ResNet-18 has blocks (2, 2, 2, 2).",
            )
        if config.topology not in ("standard", "sie"):
            raise ConventionError(
                expected="standard or sie", got=repr(config.topology), argument="config.topology",
                advice="Choose sie only to load checkpoints of that code.",
            )  # fmt: skip
        self.config = config
        width, sie = config.width, config.topology == "sie"
        self.conv1 = Convolution(config.channels, width, 7, 2, padding=0 if sie else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=0 if sie else 1)
        widths = [width, 2 * width, 4 * width, 8 * width]
        inputs = [width, *widths[:-1]]
        stages = [
            _stage(i, o, n, stride=1 if k == 0 else 2, sie=sie)
            for k, (i, o, n) in enumerate(zip(inputs, widths, config.blocks, strict=True))
        ]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.dim = widths[-1]
        self._initialize()

    def forward(self, images: Images) -> Float[Tensor, "batch dim"]:
        """Representations.

        Args:
            images: Shape (batch, channels, height, width), normalized by channel; height
                and width multiples of 32 for the topology "sie", whose shortcuts fit no others.

        Returns:
            Shape (batch, dim), not negative.

        Raises:
            ShapeError: Not images of the encoder's number of channels, or of another size.
        """
        sie = self.config.topology == "sie"
        right = images.ndim == 4 and images.shape[1] == self.config.channels
        step = 32 if sie else 1
        if not right or any(side < step or side % step for side in images.shape[2:]):
            raise ShapeError(
                expected=f"images of shape (batch, {self.config.channels}, height, width), height "
                f"and width multiples of {step}",
                got=f"shape {tuple(images.shape)}",
                argument="images",
                advice="Channels come second.",
            )
        x = self.conv1(pad(images, (2, 3, 2, 3)) if sie else images)
        x = torch.relu(self.bn1(x))
        x = self.maxpool(pad(x, (0, 1, 0, 1), value=-1e4) if sie else x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        pooled: Tensor = x.mean((-2, -1))
        return pooled

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)


class Convolution(nn.Conv2d):
    """A convolution that does not stride along an axis of one pixel.

    Padded by half its kernel, or not at all, it gives one pixel there with any stride. With
    stride 2 and maps one pixel wide, PyTorch 2.13's gradient by the weights contains memory that
    nobody wrote, in bfloat16 on some CPUs.
    """

    def forward(self, x: Images) -> Tensor:
        """Shape (batch, out_channels, height / stride, width / stride)."""
        stride = tuple(
            1 if size == 1 else step for size, step in zip(x.shape[2:], self.stride, strict=True)
        )
        return conv2d(x, self.weight, self.bias, stride, self.padding, self.dilation, self.groups)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        stride: Of the block.
        sie: Stride in the second convolution with padding on the right and below only, and a
            projected shortcut always when ``project`` is set.
        project: Use a 1x1 convolution as the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, sie: bool, project: bool) -> None:
        super().__init__()
        first, second = (1, stride) if sie else (stride, 1)
        self._late_stride = sie and stride > 1
        self.conv1 = Convolution(inputs, outputs, 3, first, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        padding = 0 if self._late_stride else 1
        self.conv2 = Convolution(outputs, outputs, 3, second, padding=padding, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if project
            else None
        )

    def forward(self, x: Images) -> Tensor:
        """Shape (batch, outputs, height / stride, width / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(pad(y, (0, 1, 0, 1)) if self._late_stride else y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


def _stage(inputs: int, outputs: int, blocks: int, *, stride: int, sie: bool) -> nn.Sequential:
    layers: Sequence[BasicBlock] = [
        BasicBlock(
            inputs if k == 0 else outputs,
            outputs,
            stride=stride if k == 0 else 1,
            sie=sie,
            project=k == 0 and (sie or stride > 1 or inputs != outputs),
        )
        for k in range(blocks)
    ]
    return nn.Sequential(*layers)
