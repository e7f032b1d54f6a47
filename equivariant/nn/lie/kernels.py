"""Networks that write a convolution's kernel: from coordinates to numbers."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError, check_option
from equivariant.shapes import Float, Vector

KernelName = Literal["siren", "fourier"]


class KernelNetwork(nn.Module):
    """Coordinates to kernel values: a SIREN, or a network on Fourier features.

        siren     s_1 = sin(ω (W_1 x + b_1)),  s_l = sin(ω (W_l s_{l-1} + b_l)),  y = W s_L
        fourier   s_1 = (cos, sin)(2π B x),    s_l = gelu(W_l s_{l-1} + b_l),     y = W s_L

    B holds fixed normal numbers of standard deviation ``frequency``, in periods per unit of the
    coordinates; ω = ``frequency`` for the SIREN. Coordinates should lie in about [-1, 1]: beyond
    it a large ω aliases.

    Args:
        inputs: Coordinates, at least 1.
        outputs: Numbers, at least 1.
        kind: "siren" or "fourier".
        width: Of hidden layers, at least 2; even for "fourier".
        depth: Layers before the last, at least 1.
        frequency: See above; positive.
        scale: Standard deviation of y at the start, about; positive.

    Raises:
        ConventionError: Another kind, or a number out of range.

    Example:
        >>> network = KernelNetwork(3, 8, kind="siren", width=16)
        >>> network(torch.zeros(5, 5, 3)).shape
        torch.Size([5, 5, 8])

    Source: Sitzmann et al. 2020 (siren, its initialization); Tancik et al. 2020 (fourier).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kind: KernelName = "siren",
        width: int = 32,
        depth: int = 2,
        frequency: float | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_option(kind, ("siren", "fourier"), "kind")
        frequency = (10.0 if kind == "siren" else 0.5) if frequency is None else frequency
        if min(inputs, outputs, depth) < 1 or width < 2 or not (frequency > 0 and scale > 0):
            raise ConventionError(
                expected="positive sizes, frequency and scale, and a width of at least 2",
                got=f"inputs={inputs}, outputs={outputs}, width={width}, depth={depth}, "
                f"frequency={frequency}, scale={scale}",
                argument="width", advice="The published network has width 60 and depth 3.",
            )  # fmt: skip
        self.kind, self.frequency = kind, frequency
        self.hidden = nn.ModuleList()
        if kind == "fourier":
            waves = frequency * torch.randn(width // 2, inputs)
            self.register_buffer("waves", waves)
            sizes = [2 * (width // 2), *[width] * (depth - 1)]
        else:
            sizes = [inputs, *[width] * depth]
        for before, after in pairwise(sizes):
            self.hidden.append(nn.Linear(before, after))
        self.last = nn.Linear(sizes[-1], outputs, bias=False)
        self._initialize(scale)

    def forward(self, coordinates: Vector) -> Float[Tensor, "... outputs"]:
        """Kernel values at coordinates (..., inputs), shape (..., outputs)."""
        y: Tensor = self.last(self.features(coordinates))
        return y

    def features(self, coordinates: Vector) -> Float[Tensor, "... hidden"]:
        """What the last layer, a linear map, reads: shape (..., hidden)."""
        x = coordinates.to(self.last.weight.dtype)
        if self.kind == "fourier":
            phase = 2 * math.pi * x @ self.get_buffer("waves").T
            x = torch.cat([phase.cos(), phase.sin()], -1)
        for layer in self.hidden:
            x = layer(x)
            x = torch.sin(self.frequency * x) if self.kind == "siren" else nn.functional.gelu(x)
        return x

    def _initialize(self, scale: float) -> None:
        with torch.no_grad():
            layers = [layer for layer in self.hidden if isinstance(layer, nn.Linear)]
            for number, layer in enumerate(layers):
                size = layer.in_features
                if self.kind == "fourier":
                    layer.weight.normal_(0.0, math.sqrt(2 / size))
                else:
                    bound = 1 / size if number == 0 else math.sqrt(6 / size) / self.frequency
                    layer.weight.uniform_(-bound, bound)
                    # Phases spread over a period: without them all of it would be odd.
                    layer.bias.uniform_(-math.pi / self.frequency, math.pi / self.frequency)
            # The last hidden values have a mean square of about 1/2.
            self.last.weight.normal_(0.0, scale * math.sqrt(2 / self.last.in_features))


class PlaceKernel(nn.Module):
    """A kernel on space with a compact window: y ↦ (1 - |y/r|²)³₊ network(y / r).

    Args:
        space: Dimension n of the space.
        outputs: Numbers at each place.
        radius: r, beyond which the kernel is 0, in the unit of places; positive and finite.
        kind: Of the network.
        width: Of the network.
        depth: Of the network.
        scale: Of its values at the start.

    Raises:
        ConventionError: The radius is not positive.
    """

    def __init__(
        self,
        space: int,
        outputs: int,
        *,
        radius: float,
        kind: KernelName = "siren",
        width: int = 32,
        depth: int = 2,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 < radius < math.inf:
            raise ConventionError(
                expected="a finite positive radius", got=str(radius), argument="radius",
                advice="Images have half their shorter side as the unit of length.",
            )  # fmt: skip
        self.radius = radius
        frequency = 3.0 if kind == "siren" else 0.5
        self.network = KernelNetwork(
            space, outputs, kind=kind, width=width, depth=depth, frequency=frequency, scale=scale
        )

    def forward(self, y: Float[Tensor, "... n"]) -> Float[Tensor, "... outputs"]:
        """Values at places relative to the kernel's centre, shape (..., outputs)."""
        unit = y / self.radius
        window = (1 - unit.square().sum(-1, keepdim=True)).clamp(min=0) ** 3
        values: Tensor = self.network(unit)
        return window.to(values.dtype) * values
