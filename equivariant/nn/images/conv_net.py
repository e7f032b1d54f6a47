"""A plain convolutional network for small pictures: the baseline that knows no group."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, gelu

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.points.layers import Norm
from equivariant.shapes import Float, Images


@dataclass(frozen=True)
class ConvNetConfig:
    """A plain convolutional network.

    Args:
        widths: Channels of each stage, at least one stage, each at least 1; the last is the
            size of the representation. (16, 24, 32) has 35 thousand weights, (48, 72, 96) has
            313 thousand.
        blocks: Residual blocks in every stage, at least 1.
        channels: Channels of an image, at least 1.
        norm: "batch"; "layer", over channels and pixels of each image, so that no image depends
            on its batch; or "none".
    """

    widths: tuple[int, ...] = (16, 24, 32)
    blocks: int = 1
    channels: int = 1
    norm: Norm = "batch"

    def build(self) -> ConvNet:
        """The network, with fresh weights."""
        return ConvNet(self)


class ConvNet(nn.Module):
    """Images to representations: residual blocks, means of 2x2 pixels, the mean over the image.

        stage_1 = block ∘ σ(norm(conv₃ₓ₃)),   stage_k = block ∘ σ(norm(conv₁ₓ₁ ∘ pool)),
        f = mean over pixels ∘ stage_K ∘ ... ∘ stage_1

    σ is GELU. Each stage after the first sees half the pixels along each side, rounded up.
    Nothing in it commutes with rotations, scales or shears, and zero padding and pooling make it
    commute with translations only roughly.

    Args:
        config: Shape of the network.

    Raises:
        ConventionError: No stage, or a width, the blocks or the channels below 1.

    Example:
        >>> import torch
        >>> network = ConvNetConfig((8, 16)).build()
        >>> network(torch.rand(2, 1, 28, 28)).shape, network.dim
        (torch.Size([2, 16]), 16)

    Source: He et al. 2016 (residual blocks), without strides in convolutions.
    """

    def __init__(self, config: ConvNetConfig | None = None) -> None:
        super().__init__()
        config = config or ConvNetConfig()
        if not config.widths or min(*config.widths, config.blocks, config.channels) < 1:
            raise ConventionError(
                expected="at least one stage, and widths, blocks and channels of at least 1",
                got=str(config),
                argument="config",
                advice="Widths (16, 24, 32) suit pictures of 28 to 40 pixels.",
            )
        self.config, self.dim = config, config.widths[-1]
        inputs = (config.channels, *config.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 1 if k else 3, padding=0 if k else 1, bias=False),
                map_norm(o, config.norm),
                nn.GELU(),
                *(ResidualBlock(o, config.norm) for _ in range(config.blocks)),
            )
            for k, (i, o) in enumerate(zip(inputs, config.widths, strict=True))
        )

    def forward(self, images: Images) -> Float[Tensor, "batch dim"]:
        """Representations.

        Args:
            images: Shape (batch, channels, height, width), at least one pixel; any range, about
                unit variance serves best.

        Returns:
            Shape (batch, dim).

        Raises:
            ShapeError: Not images of the network's number of channels, or, in training mode
                with batch statistics, a single image of so few pixels that the last maps have one.
        """
        config = self.config
        check_images(images, config.channels)
        halvings = len(config.widths) - 1
        rows, columns = (-(-side // 2**halvings) for side in images.shape[2:])
        if self.training and config.norm == "batch" and len(images) * rows * columns == 1:
            raise ShapeError(
                expected="at least two values per channel to take batch statistics of",
                got=f"shape {tuple(images.shape)}",
                argument="images",
                advice='Train with larger batches or norm="layer", or call eval() first.',
            )
        x: Tensor = images
        for k, stage in enumerate(self.stages):
            x = stage(avg_pool2d(x, 2, ceil_mode=True) if k else x)
        return x.mean((-2, -1))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside their input: σ(x + norm(conv(σ(norm(conv(x)))))).

    Args:
        channels: In and out, at least 1.
        norm: See :func:`map_norm`.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            map_norm(channels, norm),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            map_norm(channels, norm),
        )

    def forward(self, x: Images) -> Tensor:
        """Shape of x."""
        return gelu(x + self.inner(x))


def map_norm(channels: int, norm: Norm) -> nn.Module:
    """Normalization of feature maps.

    Args:
        channels: Of the maps, at least 1.
        norm: "batch" over batch and pixels, "layer" over channels and pixels of each image, or
            "none".

    Returns:
        A module that keeps the shape (batch, channels, height, width).

    Raises:
        ConventionError: Another word.

    Example:
        >>> type(map_norm(8, "layer")).__name__
        'GroupNorm'
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "layer":
        return nn.GroupNorm(1, channels)
    if norm != "none":
        raise ConventionError(
            expected="batch, layer or none",
            got=repr(norm),
            argument="norm",
            advice="batch is usual for classifiers of pictures.",
        )
    return nn.Identity()


def check_images(images: Tensor, channels: int | None = None) -> None:
    """Raise ShapeError unless images are (batch, channels, height, width) with a pixel.

    Args:
        images: What a network was given.
        channels: Number of channels it works with; None for any.

    Raises:
        ShapeError: Another number of axes or channels, or no pixel.

    Example:
        >>> import torch
        >>> check_images(torch.zeros(2, 28, 28, 1), 1)
        Traceback (most recent call last):
        ...
        equivariant.errors.ShapeError: images: expected images of shape (batch, 1, height, width) \
with at least one pixel, got shape (2, 28, 28, 1). Channels come second.
    """
    fits = images.ndim == 4 and (channels is None or images.shape[1] == channels)
    if not fits or min(images.shape[2:]) < 1:
        raise ShapeError(
            expected=f"images of shape (batch, {channels or 'channels'}, height, width) with at "
            "least one pixel",
            got=f"shape {tuple(images.shape)}",
            argument="images",
            advice="Channels come second.",
        )
