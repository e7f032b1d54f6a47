"""Vector neurons: layers whose channels are vectors of space, which turn as their input turns.

Features have shape (..., channels, 3). Every layer treats the leading axes as batch axes (clouds,
points, edges), and obeys f(x R) = f(x) R for every orthogonal R: channels are mixed, coordinates
are not. Flattened, the last two axes are what ``Vectors(group, channels)`` acts on. Use float32,
float64 or bfloat16: the numbers that keep divisions from zero are below float16's smallest.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from equivariant.errors import ConventionError
from equivariant.nn.points.layers import FeatureNorm, Norm
from equivariant.shapes import Float

VectorChannels = Float[Tensor, "... channels 3"]
"""Features whose channels are vectors."""

EPSILON = 1e-12
"""Added to squared lengths before a division, in the squared unit of the features."""


class VectorLinear(nn.Module):
    """Mixes channels: ``y_o = Σ_c W_oc x_c``, without a bias, which would not turn.

    Args:
        inputs: Channels in, at least 1.
        outputs: Channels out, at least 1.

    Raises:
        ConventionError: A number of channels is below 1.

    Example:
        >>> VectorLinear(4, 8)(torch.randn(2, 100, 4, 3)).shape
        torch.Size([2, 100, 8, 3])

    Source: Deng et al. 2021, linear layer.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if min(inputs, outputs) < 1:
            raise ConventionError(
                expected="at least one channel in and out",
                got=f"{inputs} in, {outputs} out",
                argument="inputs" if inputs < 1 else "outputs",
                advice="A cloud of points has one channel.",
            )
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))

    def forward(self, x: VectorChannels) -> Float[Tensor, "... outputs 3"]:
        """Shape (..., outputs, 3) of shape (..., inputs, 3)."""
        return linear(x.transpose(-1, -2), self.weight).transpose(-1, -2)


class VectorLeakyReLU(nn.Module):
    """Removes, of each channel, what points against a direction that is learned.

        y = x                             where x·k >= 0
        y = x - (1 - slope) (x·k) k/|k|²  elsewhere,     k = U x

    The denominator is |k|² + 1e-12, so value and gradient at k = 0 are those of y = x.

    Args:
        channels: At least 1.
        slope: Share of the opposing part that stays, in [0, 1].
        shared: One direction for all channels instead of one for each.

    Raises:
        ConventionError: Channels below 1, or a slope outside [0, 1].

    Example:
        >>> VectorLeakyReLU(8)(torch.randn(2, 100, 8, 3)).shape
        torch.Size([2, 100, 8, 3])

    Source: Deng et al. 2021, non-linearity.
    """

    def __init__(self, channels: int, *, slope: float = 0.2, shared: bool = False) -> None:
        super().__init__()
        if not 0.0 <= slope <= 1.0:
            raise ConventionError(
                expected="a slope in [0, 1]",
                got=str(slope),
                argument="slope",
                advice="0.2 is usual; 1 leaves x alone.",
            )
        self.slope = slope
        self.direction = VectorLinear(channels, 1 if shared else channels)

    def forward(self, x: VectorChannels) -> VectorChannels:
        """Shape as given, (..., channels, 3)."""
        k = self.direction(x)
        along = (x * k).sum(-1, keepdim=True)
        length = k.square().sum(-1, keepdim=True) + EPSILON
        opposing = along.clamp(max=0.0) / length
        y: Tensor = x - (1.0 - self.slope) * opposing * k
        return y


class VectorNorm(nn.Module):
    """Normalization of the lengths; directions stay.

        y_c = norm(|x|)_c x_c / |x_c|

    Lengths are √(|x|² + 1e-12), so a zero vector stays zero. Statistics of lengths do not change
    when every cloud turns, each by its own rotation, so this commutes with rotations in training
    mode too. A normalized length may be negative, which turns the vector about, as in the paper.

    Args:
        channels: At least 1.
        norm: See :class:`equivariant.nn.points.layers.FeatureNorm`; over lengths.

    Example:
        >>> VectorNorm(8)(torch.randn(2, 100, 8, 3)).shape
        torch.Size([2, 100, 8, 3])

    Source: Deng et al. 2021, batch normalization.
    """

    def __init__(self, channels: int, norm: Norm = "batch") -> None:
        super().__init__()
        self.norm = FeatureNorm(channels, norm)

    def forward(self, x: VectorChannels) -> VectorChannels:
        """Shape as given, (..., channels, 3).

        Raises:
            ShapeError: Batch statistics are asked for of one entry, in training mode.
        """
        if self.norm.norm == "none":
            return x
        length = (x.square().sum(-1) + EPSILON).sqrt()
        factor: Tensor = self.norm(length) / length
        return x * factor.unsqueeze(-1)


class VectorMaxPool(nn.Module):
    """For each channel, the point whose vector reaches farthest along its own direction.

        y_c = x_nc   with n = argmax_n x_nc · k_nc,   k_n = W x_n

    An argmax passes no gradient to W, in the published code neither: W stays as it was drawn. It
    is kept as a buffer, so that optimizers and gradient reduction do not wait for it. Of equal
    products the first point wins.

    Args:
        channels: At least 1.

    Example:
        >>> VectorMaxPool(8)(torch.randn(2, 100, 8, 3)).shape
        torch.Size([2, 8, 3])

    Source: Deng et al. 2021, pooling.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight: Tensor
        self.register_buffer("weight", VectorLinear(channels, channels).weight.detach())

    def forward(self, x: Float[Tensor, "... points channels 3"]) -> VectorChannels:
        """Shape (..., channels, 3)."""
        with torch.no_grad():
            k = linear(x.transpose(-1, -2), self.weight).transpose(-1, -2)
            best = (x * k).sum(-1).argmax(-2)
        return torch.take_along_dim(x, best[..., None, :, None], -3).squeeze(-3)


class VectorMeanPool(nn.Module):
    """Mean over the points: ``y_c = (1/N) Σ_n x_nc``.

    Example:
        >>> VectorMeanPool()(torch.randn(2, 100, 8, 3)).shape
        torch.Size([2, 8, 3])

    Source: Deng et al. 2021, pooling.
    """

    def forward(self, x: Float[Tensor, "... points channels 3"]) -> VectorChannels:
        """Shape (..., channels, 3)."""
        return x.mean(-3)


class VectorBlock(nn.Sequential):
    """Linear, normalization of lengths, rectifier.

    Args:
        inputs: Channels in, at least 1.
        outputs: Channels out, at least 1.
        norm: See :class:`VectorNorm`.

    Example:
        >>> VectorBlock(4, 8)(torch.randn(2, 100, 4, 3)).shape
        torch.Size([2, 100, 8, 3])
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm = "batch") -> None:
        super().__init__(
            VectorLinear(inputs, outputs), VectorNorm(outputs, norm), VectorLeakyReLU(outputs)
        )


class VectorInvariant(nn.Module):
    """Inner products with three vectors that turn along: numbers that do not turn.

        y_cm = x_c · t_m,   (t_1, t_2, t_3) = T(x)

    T is two blocks and a linear map. Any orthogonal R cancels in each product.

    Args:
        channels: At least 1.
        norm: Of T's blocks; see :class:`VectorNorm`.

    Example:
        >>> VectorInvariant(8, norm="layer")(torch.randn(2, 8, 3)).shape
        torch.Size([2, 24])

    Source: Deng et al. 2021, invariant layer.
    """

    def __init__(self, channels: int, norm: Norm = "batch") -> None:
        super().__init__()
        least = 2 if norm == "layer" else 1  # one length minus its mean is zero
        half, quarter = max(channels // 2, least), max(channels // 4, least)
        self.frame = nn.Sequential(
            VectorBlock(channels, half, norm),
            VectorBlock(half, quarter, norm),
            VectorLinear(quarter, 3),
        )

    def forward(self, x: VectorChannels) -> Float[Tensor, "... features"]:
        """Shape (..., 3 · channels) of shape (..., channels, 3)."""
        frame: Tensor = self.frame(x)
        return (x @ frame.transpose(-1, -2)).flatten(-2)
