"""A residual block on space and group, and the normalization that commutes with the group."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from equivariant.nn.lie.fields import LieField
from equivariant.nn.lie.group_convolution import GroupConv
from equivariant.shapes import Float


class LieResidualBlock(nn.Module):
    """F + V gelu(U norm(K F)), with U and V on channels alone.

    Args:
        convolution: K, from ``width`` to ``width`` channels.
        width: Channels.
        expansion: Hidden channels of U and V, over ``width``.
    """

    def __init__(self, convolution: GroupConv, width: int, expansion: int = 2) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = ChannelNorm(width)
        hidden = expansion * width
        self.widen = nn.Parameter(torch.randn(hidden, width) * width**-0.5)
        self.narrow = nn.Parameter(torch.randn(width, hidden) * hidden**-0.5)

    def forward(self, x: LieField) -> LieField:
        """A field at the same samples and places."""
        y = self.norm(self.convolution(x).values)
        hidden = gelu(torch.einsum("oc,bc...->bo...", self.widen.to(y.dtype), y))
        added = torch.einsum("oc,bc...->bo...", self.narrow.to(hidden.dtype), hidden)
        return x.with_values(x.values + added)


class ChannelNorm(nn.Module):
    """Each channel over its root mean square in the batch: y_c = γ_c x_c / √(mean x_c² + ε).

    The mean is over the batch, samples and places; in evaluation mode it is the running one of
    training, so that the layer multiplies by constants and commutes with everything; an empty
    batch leaves that as it was. Nothing is
    subtracted or added: an empty background stays 0, inside the frame as outside of it.

    Args:
        channels: Size of the second axis.
        momentum: Share of a batch in the running mean.
        epsilon: ε.
    """

    def __init__(self, channels: int, *, momentum: float = 0.1, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.register_buffer("mean_square", torch.ones(channels))
        self.momentum, self.epsilon = momentum, epsilon

    def forward(self, x: Float[Tensor, "batch channels ..."]) -> Tensor:
        """Shape as given."""
        running = self.get_buffer("mean_square")
        square = running.to(x.dtype)
        if self.training and x.numel():
            axes = (0, *range(2, x.ndim))
            square = x.square().mean(axes)
            with torch.no_grad():
                running.lerp_(square.to(running.dtype), self.momentum)
        scale = self.gain.to(x.dtype) * (square + self.epsilon).rsqrt()
        return x * scale.reshape(-1, *([1] * (x.ndim - 2)))
