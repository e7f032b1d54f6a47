"""Temperatures: fixed, or learned within bounds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.shapes import Float


class Temperature(nn.Module, ABC):
    """Divides similarities: logits are s / τ."""

    @abstractmethod
    def forward(self) -> Float[Tensor, ""]:
        """τ, a scalar tensor."""


class Fixed(Temperature):
    """A constant temperature.

    Args:
        tau: τ > 0.

    Raises:
        ConventionError: τ is not positive.
    """

    def __init__(self, tau: float) -> None:
        super().__init__()
        _check_positive(tau, "tau")
        self.tau = tau

    def forward(self) -> Float[Tensor, ""]:
        return torch.tensor(self.tau, dtype=torch.float64)

    def extra_repr(self) -> str:
        return f"{self.tau:g}"


class Learned(Temperature):
    """A trained temperature, stored as its logarithm and clamped to [low, high].

    At a bound the gradient passes only if it points inwards, so τ can always come back. Exclude
    the parameter from weight decay.

    Args:
        initial: Starting τ.
        low: Smallest τ.
        high: Largest τ.

    Raises:
        ConventionError: The bounds are not 0 < low <= initial <= high.

    Example:
        >>> round(Learned(0.07)().item(), 6)
        0.07
    """

    def __init__(self, initial: float = 0.07, low: float = 0.01, high: float = 1.0) -> None:
        super().__init__()
        _check_positive(low, "low")
        if not low <= initial <= high:
            raise ConventionError(
                expected="0 < low <= initial <= high",
                got=f"low={low}, initial={initial}, high={high}",
                argument="initial",
                advice="Start inside the bounds.",
            )
        self.low, self.high = low, high
        self.log_tau = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Float[Tensor, ""]:
        tau: Tensor = _ClampInwards.apply(  # type: ignore[no-untyped-call]
            self.log_tau, math.log(self.low), math.log(self.high)
        )
        return tau.exp()


class _ClampInwards(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, low: float, high: float
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bounds = (low, high)  # type: ignore[attr-defined]
        return x.clamp(low, high)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        low, high = ctx.bounds  # type: ignore[attr-defined]
        outwards = ((x <= low) & (grad > 0)) | ((x >= high) & (grad < 0))
        return torch.where(outwards, 0.0, grad), None, None


def _check_positive(value: float, argument: str) -> None:
    if not value > 0:
        raise ConventionError(
            expected="a temperature above 0",
            got=str(value),
            argument=argument,
            advice="Common values lie between 0.05 and 0.5 for cosine similarity.",
        )
