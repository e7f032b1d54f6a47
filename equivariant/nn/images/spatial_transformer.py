"""A network that learns to move its input before it looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from equivariant.errors import ConventionError
from equivariant.groups import Affine, Group
from equivariant.nn.images.conv_net import check_images, map_norm
from equivariant.nn.images.pull_back import check_moves_the_plane, pull_back
from equivariant.nn.points.layers import Norm
from equivariant.shapes import Float, Images


@dataclass(frozen=True)
class SpatialTransformerConfig:
    """A localisation network and what it may do to a picture.

    Args:
        group: Elements are exp of the localisation network's coordinates: SO2(), SE2(), Sim(2),
            Affine(2). None: the six entries of an affine map themselves, as in the paper, which
            may be singular or mirror.
        widths: Channels of the localisation network's convolutions, at least one, each at
            least 1.
        hidden: Width of its layer after the convolutions, at least 1.
        channels: Channels of an image, at least 1.
        norm: Of its convolutions: "batch", "layer" or "none".
    """

    group: Group | None = None
    widths: tuple[int, ...] = (8, 12)
    hidden: int = 24
    channels: int = 1
    norm: Norm = "batch"

    def build(self, network: nn.Module) -> SpatialTransformer:
        """The transformer in front of a network, with fresh weights of its own."""
        return SpatialTransformer(network, self)


class SpatialTransformer(nn.Module):
    """A network on pictures that a second network has moved.

        f(I) = φ(J),   J(u) = I(g u),   g = [[1 + a, t], [0, 1]]  or  g = exp(Σ_k x_k X_k)

    (a, t) or x come from the localisation network: convolutions, each followed by the mean of
    2x2 pixels, means over 4x4 cells, two linear maps. The last starts at zero, so that g is the
    identity and f starts as φ up to the rounding of interpolation. Nothing makes f equivariant
    or invariant: g is whatever training made of it, and need not follow a moved picture.

    Args:
        network: φ: images (batch, channels, height, width) to anything. ``dim`` is its ``dim``.
        config: What is in front of it; None takes the default.

    Raises:
        ConventionError: A size below 1, no convolution, or a group that does not move the plane.

    Example:
        >>> from equivariant.nn import ConvNetConfig
        >>> model = SpatialTransformerConfig().build(ConvNetConfig((8, 16)).build())
        >>> model(torch.rand(2, 1, 28, 28)).shape, model.dim
        (torch.Size([2, 16]), 16)

    Source: Jaderberg et al. 2015, section 3, bilinear sampling.
    """

    def __init__(self, network: nn.Module, config: SpatialTransformerConfig | None = None) -> None:
        super().__init__()
        config = config or SpatialTransformerConfig()
        sizes = (*config.widths, config.hidden, config.channels)
        if not config.widths or min(sizes) < 1:
            raise ConventionError(
                expected="at least one convolution, and widths, hidden and channels of at least 1",
                got=str(config),
                argument="config",
                advice="Widths (8, 12) and 24 hidden units suit digits.",
            )
        if config.group is not None:
            check_moves_the_plane(config.group)
        self.config, self.network = config, network
        self.dim = getattr(network, "dim", None)
        self.convolutions = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 3, padding=1, bias=config.norm != "batch"),
                map_norm(o, config.norm),
                nn.GELU(),
            )
            for i, o in pairwise((config.channels, *config.widths))
        )
        last = nn.Linear(config.hidden, 6 if config.group is None else config.group.dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.linear = nn.Sequential(
            nn.Linear(CELLS**2 * config.widths[-1], config.hidden), nn.GELU(), last
        )

    def forward(self, images: Images) -> Tensor:
        """What the network makes of the moved images.

        Args:
            images: Shape (batch, channels, height, width), at least one pixel.

        Returns:
            The network's result.

        Raises:
            ShapeError: Not images of this number of channels.
        """
        result: Tensor = self.network(pull_back(images, self.locate(images)))
        return result

    def locate(self, images: Images) -> Float[Tensor, "batch n n"]:
        """The maps g through which images are looked at, shape (batch, n, n).

        Raises:
            ShapeError: Not images of this number of channels.
        """
        check_images(images, self.config.channels)
        x: Tensor = images
        for convolution in self.convolutions:
            x = avg_pool2d(convolution(x), 2, ceil_mode=True)
        numbers: Tensor = self.linear(adaptive_avg_pool2d(x, CELLS).flatten(1))
        group = self.config.group
        if group is not None:
            return group.exp(numbers)
        linear = torch.eye(2).to(numbers) + numbers[:, :4].unflatten(1, (2, 2))
        return Affine.join(linear, numbers[:, 4:])


CELLS = 4
"""Along each side: where something is, as well as what, reaches the localisation's linear maps."""
