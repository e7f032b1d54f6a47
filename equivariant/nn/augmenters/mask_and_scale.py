"""A mask and a scale over the times of a series."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.shapes import Float


class MaskAndScale(nn.Module):
    """Multiplies every time of a series by a mask that may be exactly 0 or 1, and by a scale.

        v_t = s_t h_t x_t,    s = 1 + ½ tanh(scale),
        h = clip(σ((logit + log u - log(1 - u)) / β) · (1 + 2γ) - γ, 0, 1),   u ~ U(0, 1)

    logit and scale are two outputs of a network at every time. In evaluation u is ½. The mask's
    noise makes it differentiable although it is 0 or 1 most of the time.

    Args:
        network: From series (batch, times, channels) to two numbers for each time,
            (batch, times, 2).
        beta: β, above 0: towards 0 masks are harder.
        stretch: γ, at least 0; 0.05 in the paper.

    Raises:
        ConventionError: A setting is out of range.

    Example:
        >>> augmenter = MaskAndScale(nn.Linear(3, 2))
        >>> augmenter(torch.randn(4, 10, 3)).shape, augmenter.mask(torch.randn(4, 10, 3)).shape
        (torch.Size([4, 10, 3]), torch.Size([4, 10]))

    Source: Zheng et al. 2024 (AutoTCL); the mask is Louizos et al. 2018 (hard concrete).
    """

    def __init__(self, network: nn.Module, *, beta: float = 2 / 3, stretch: float = 0.05) -> None:
        super().__init__()
        if not beta > 0 or not stretch >= 0:
            raise ConventionError(
                expected="beta above 0 and stretch of at least 0",
                got=f"beta={beta}, stretch={stretch}", argument="beta",
                advice="The usual values are 2/3 and 0.05.",
            )  # fmt: skip
        self.network, self.beta, self.stretch = network, beta, stretch

    def forward(
        self, x: Float[Tensor, "batch times c"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch times c"]:
        """The view v, the shape of x.

        Args:
            x: Series, shape (batch, times, channels).
            generator: Of the mask's noise, on the CPU.
        """
        logit, scale = self.network(x).unbind(2)
        factor = (1.0 + 0.5 * torch.tanh(scale)) * self._mask(logit, generator)
        return factor[:, :, None] * x

    def mask(
        self, x: Float[Tensor, "batch times c"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch times"]:
        """h, shape (batch, times), in [0, 1].

        Args:
            x: Series, shape (batch, times, channels).
            generator: Of the mask's noise, on the CPU.
        """
        return self._mask(self.network(x)[:, :, 0], generator)

    def open_probability(self, x: Float[Tensor, "batch times c"]) -> Float[Tensor, "batch times"]:
        """P(h > 0) = σ(logit - β log(γ / (1 + γ))), whose sum asks for sparse masks.

        Args:
            x: Series, shape (batch, times, channels).
        """
        logit: Tensor = self.network(x)[:, :, 0]
        if self.stretch == 0:
            return torch.ones_like(logit)
        return torch.sigmoid(logit - self.beta * math.log(self.stretch / (1 + self.stretch)))

    def _mask(self, logit: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.training:
            u = torch.rand(logit.shape, generator=generator, dtype=torch.float64)
            u = u.clamp(1e-9, 1 - 1e-9)
            logit = logit + (u.log() - (-u).log1p()).to(logit)
        soft = torch.sigmoid(logit / self.beta)
        return (soft * (1 + 2 * self.stretch) - self.stretch).clamp(0.0, 1.0)
