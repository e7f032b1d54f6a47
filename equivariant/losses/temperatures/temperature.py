"""Temperatures: fixed, scheduled, learned, of each anchor, of each candidate, of each pair."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from equivariant.errors import ConventionError
from equivariant.losses.contrast.sides import Side
from equivariant.losses.transforms import transformed
from equivariant.shapes import Float


class Temperature(nn.Module, ABC):
    """Divides similarities: logits are s_ij / τ_ij."""

    @abstractmethod
    def forward(self, q: Side, k: Side) -> Float[Tensor, ...]:
        """τ > 0: one for all, shape (); of each anchor, (N, 1); of each candidate, (1, M); or of
        each pair, (N, M)."""


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

    def forward(self, q: Side, k: Side) -> Float[Tensor, ...]:
        return torch.tensor(self.tau, dtype=torch.float64)

    def extra_repr(self) -> str:
        return f"{self.tau:g}"


def temperature_of(tau: object) -> Temperature:
    """The temperature that an argument means.

    Args:
        tau: A temperature, or a number above 0.

    Raises:
        ConventionError: It is neither: a tensor, trained or not, would get no gradient.

    Example:
        >>> temperature_of(0.1)
        Fixed(0.1)
    """
    if isinstance(tau, Temperature):
        return tau
    if isinstance(tau, int | float):
        return Fixed(float(tau))
    raise ConventionError(
        expected="a number, or a Temperature", got=type(tau).__name__, argument="tau",
        advice="Learned(0.1) is a trained temperature; PerAnchor, PerCandidate and PerPair "
        "take one for each.",
    )  # fmt: skip


class Scheduled(Temperature):
    """A cosine from one temperature to another over a number of steps.

        τ(t) = end + (start - end) (1 + cos(π min(t / steps, 1))) / 2

    A step is a step of an optimizer, any of the process, that follows an evaluation in training
    mode with gradients: however often the loss is evaluated for one step (parts of a batch,
    cached gradients, several terms that share the temperature), it advances once, and it does
    not where a step is skipped. The number of steps is part of the state. Loops without an
    optimizer of PyTorch call :meth:`advance`.

    Args:
        start: τ > 0 at the first step.
        end: τ > 0 from the last step on.
        steps: At least 1.

    Raises:
        ConventionError: A temperature is not positive, or there is no step.

    Example:
        >>> tau = Scheduled(0.5, 0.1, steps=10)
        >>> side = Side.of(torch.eye(2, requires_grad=True))
        >>> before = tau(side, side), tau(side, side)
        >>> tau.advance()
        >>> bool(before[0] == before[1] == 0.5 > tau(side, side))
        True
    """

    step: Tensor

    def __init__(self, start: float, end: float, steps: int) -> None:
        super().__init__()
        _check_positive(start, "start")
        _check_positive(end, "end")
        _check_positive(steps, "steps")
        self.start, self.end, self.steps = start, end, steps
        self.register_buffer("step", torch.tensor(0))
        self._evaluated = False
        _scheduled.add(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        _scheduled.add(self)  # copies and what was unpickled advance as well

    def advance(self) -> None:
        """Go on by one step."""
        self.step += 1
        self._evaluated = False

    def forward(self, q: Side, k: Side) -> Float[Tensor, ...]:
        done = (self.step.double() / self.steps).clamp(max=1.0)
        tau = self.end + (self.start - self.end) * 0.5 * (1.0 + torch.cos(math.pi * done))
        if self.training and torch.is_grad_enabled():
            self._evaluated = True
        return tau

    def extra_repr(self) -> str:
        return f"{self.start:g} to {self.end:g} in {self.steps} steps"


_scheduled: WeakSet[Scheduled] = WeakSet()


def _after_optimizer_step(*_: object) -> None:
    for temperature in list(_scheduled):
        if temperature._evaluated:
            temperature.advance()


register_optimizer_step_post_hook(_after_optimizer_step)


class Learned(Temperature):
    """A trained temperature, stored as its logarithm and clamped to [low, high].

    At a bound the gradient passes only if it points inwards, so τ can always come back. Exclude
    the parameter from weight decay.

    Args:
        initial: Starting τ.
        low: Smallest τ.
        high: Largest τ; infinity for none.

    Raises:
        ConventionError: The bounds are not 0 < low <= initial <= high.

    Example:
        >>> round(Learned(0.07).value().item(), 6)
        0.07
    """

    def __init__(self, initial: float = 0.07, low: float = 0.01, high: float = 1.0) -> None:
        super().__init__()
        _check_positive(low, "low")
        given: Any = initial
        if isinstance(given, Tensor) or not isinstance(given, Real):
            raise ConventionError(
                expected="a number to start from", got=type(given).__name__, argument="tau",
                advice="This temperature is learned by itself; the number is where it starts.",
            )  # fmt: skip
        if not low <= initial <= high:
            raise ConventionError(
                expected="0 < low <= initial <= high",
                got=f"low={low}, initial={initial}, high={high}",
                argument="initial",
                advice="Start inside the bounds.",
            )
        self.low, self.high = low, high
        self.log_tau = nn.Parameter(torch.tensor(math.log(initial)))

    def value(self) -> Float[Tensor, ""]:
        """τ as it is now."""
        return clamp_inwards(self.log_tau, math.log(self.low), math.log(self.high)).exp()

    def forward(self, q: Side, k: Side) -> Float[Tensor, ...]:
        return self.value()


class PerAnchor(Temperature):
    """The temperature that each anchor knows.

    Args:
        name: What anchors know it by, shape (N,), positive.
    """

    def __init__(self, name: str = "tau") -> None:
        super().__init__()
        self.name = name

    def forward(self, q: Side, k: Side) -> Float[Tensor, ...]:
        return _positive(q.get(self.name), self.name)[:, None]


class PerCandidate(Temperature):
    """The temperature that each candidate knows, as the density of its cluster.

    Args:
        name: What candidates know it by, shape (M,), positive.
    """

    def __init__(self, name: str = "tau") -> None:
        super().__init__()
        self.name = name

    def forward(self, q: Side, k: Side) -> Float[Tensor, ...]:
        return _positive(k.get(self.name), self.name)[None, :]


class PerPair(Temperature):
    """A temperature for every pair, from a small network on both sides.

        τ_ij = low + (high - low) sigmoid(-⟨φ(q_i), φ(k_j)⟩)

    Args:
        network: φ, from (N, D) to (N, F).
        low: Smallest τ > 0. At 1e-5, the value of the released code, the push set's share of
            the objective has no lower bound but this clamp: keep it at 0.05 or more.
        high: Largest τ.

    Raises:
        ConventionError: Not 0 < low < high.

    Source: Zhang et al. 2024 (AMCL); bounds [1e-5, 2] there.
    """

    def __init__(self, network: nn.Module, *, low: float = 0.05, high: float = 2.0) -> None:
        super().__init__()
        _check_positive(low, "low")
        if not low < high:
            raise ConventionError(
                expected="0 < low < high", got=f"low={low}, high={high}", argument="high",
                advice="Common bounds are 0.05 and 2.",
            )  # fmt: skip
        self.network, self.low, self.high = network, low, high

    def forward(self, q: Side, k: Side) -> Float[Tensor, ...]:
        agreement = self.network(q.z) @ self.network(k.z).T
        return self.low + (self.high - self.low) * torch.sigmoid(-agreement)


def clamp_inwards(x: Tensor, low: float, high: float) -> Tensor:
    """x clamped to [low, high]; at a bound, only a gradient that leads back inside passes."""
    clamp: type[torch.autograd.Function] = _ClampInwardsBothWays
    if torch.compiler.is_compiling():  # which knows no derivative in forward mode
        clamp = _ClampInwards
    elif not transformed(x):
        clamp = _ClampInwardsPlainly
    result: Tensor = clamp.apply(x, low, high)
    return result


class _ClampInwards(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, float], output: Tensor) -> None:
        x, *ctx.bounds = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        outwards = ((x <= low) & (grad > 0)) | ((x >= high) & (grad < 0))
        return torch.where(outwards, 0.0, grad), None, None


class _ClampInwardsPlainly(torch.autograd.Function):
    """The same outside ``torch.func``, a third of the overhead."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.bounds = low, high
        ctx.save_for_backward(x)
        return x.clamp(low, high)

    backward = _ClampInwards.backward


class _ClampInwardsBothWays(_ClampInwards):
    """The same with a derivative in forward mode, that of a clamp."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        (x,) = ctx.saved_tensors
        low, high = ctx.bounds
        return torch.where((x < low) | (x > high), 0.0, tangent)


def _positive(tau: Tensor, name: str) -> Tensor:
    if tau.ndim != 1 or not bool((tau > 0).all()):
        raise ConventionError(
            expected="one temperature above 0 per row",
            got=f"shape {tuple(tau.shape)}, smallest {float(tau.min()) if tau.numel() else None}",
            argument=name,
            advice="Clamp it from below.",
        )
    return tau


def _check_positive(value: float | int, argument: str) -> None:
    if not 0 < value < math.inf:
        raise ConventionError(
            expected="a finite temperature above 0" if argument != "steps" else "at least one step",
            got=str(value),
            argument=argument,
            advice="Common values lie between 0.05 and 0.5 for cosine similarity.",
        )
