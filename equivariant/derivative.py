"""Derivatives of whole outputs along a curve, by dual numbers or by differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad

from equivariant.errors import ConventionError

OutputsAlong = Callable[[Tensor], Mapping[str, Tensor]]
"""A function of time, a float64 scalar, with tensors as values."""

DerivativeMethod = Literal["forward", "differences"]
"""Forward-mode differentiation, or central differences."""


def derivative(
    curve: OutputsAlong, *, method: DerivativeMethod, precision: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """d/dt of a curve at t = 0.

    Args:
        curve: t ↦ tensors by name; t is a float64 scalar.
        method: ``"forward"`` carries dual numbers through the curve, exact up to rounding;
            ``"differences"`` evaluates the curve at four points and extrapolates, with a
            relative error of about eps^(4/5).
        precision: Floating-point type in which the curve is computed; sets the step.
        device: Where t lives.

    Returns:
        Derivatives by name, float64, detached. Values that do not depend on t have derivative
        zero; so have, in forward mode, values that the curve detached from t.

    Raises:
        ConventionError: The method is unknown, or the curve has an operation without
            forward-mode derivative.

    Example:
        >>> curve = lambda t: {"": torch.stack([t.sin(), t.square()])}
        >>> cpu = torch.device("cpu")
        >>> derivative(curve, method="forward", precision=torch.float64, device=cpu)[""]
        tensor([1., 0.], dtype=torch.float64)
    """
    if method not in get_args(DerivativeMethod):
        raise ConventionError(
            expected=f"one of {get_args(DerivativeMethod)}",
            got=repr(method),
            argument="method",
            advice="Forward mode is exact; differences suit every f.",
        )
    zero = torch.zeros((), dtype=torch.float64, device=device)
    if method == "differences":
        return _by_differences(curve, zero, torch.finfo(precision).eps ** 0.2)
    with warnings.catch_warnings():
        # torch compiles its own formulas when the first dual number is made, and warns of it.
        warnings.simplefilter("ignore", DeprecationWarning)
        with forward_ad.dual_level():
            forward_ad.make_dual(zero, torch.ones_like(zero))
    with forward_ad.dual_level(), torch.enable_grad():
        try:
            values = curve(forward_ad.make_dual(zero, torch.ones_like(zero)))
        except (NotImplementedError, RuntimeError) as error:
            if not any(
                word in str(error).lower() for word in ("forward ad", "forward mode", "jvp")
            ):
                raise
            raise ConventionError(
                expected="a map whose operations all have forward-mode derivatives",
                got=str(error).splitlines()[0],
                argument="f",
                advice='Pass method="differences".',
            ) from error
        return {name: tangent(value) for name, value in values.items()}


def tangent(value: Tensor) -> Tensor:
    """The derivative part of a dual number, float64, detached; zero where there is none.

    Call it within the ``dual_level`` that the number belongs to.
    """
    found = forward_ad.unpack_dual(value).tangent
    return (torch.zeros_like(value) if found is None else found).detach().double()


@dataclass(frozen=True)
class ForwardAndDifferences:
    """The derivative of one tensor by dual numbers and by central differences.

    Args:
        forward: By dual numbers, float64.
        differences: By central differences, extrapolated, float64.
        inconsistency: Norm of the change from the step to its half.
        noise: Norm of what rounding may do to the differences.
    """

    forward: Tensor
    differences: Tensor
    inconsistency: float
    noise: float

    @property
    def gap(self) -> float:
        """Norm of the difference of the two."""
        return float((self.forward - self.differences).norm())

    @property
    def lost(self) -> bool:
        """Whether forward mode misses a part of the derivative that differences agree on."""
        size = float(self.differences.norm())
        doubt = 10 * self.inconsistency + self.noise
        return self.gap > max(doubt, 1e-3 * size) and size > doubt

    @property
    def rough(self) -> bool:
        """Whether differences at two steps disagree: the curve jumps, or is random."""
        return self.inconsistency > max(self.noise, 0.3 * float(self.differences.norm()))


def compared(
    curve: OutputsAlong,
    sizes: Mapping[str, Tensor],
    *,
    precision: torch.dtype,
    device: torch.device,
) -> dict[str, ForwardAndDifferences]:
    """The derivative of a curve at t = 0 by both methods.

    Args:
        curve: See :func:`derivative`.
        sizes: Values by name whose norms say how much rounding may be; others are not compared.
        precision: See :func:`derivative`.
        device: See :func:`derivative`.

    Raises:
        ConventionError: See :func:`derivative`.

    Example:
        >>> curve = lambda t: {"": t.sin() + t.detach().exp()}
        >>> size = {"": torch.ones(())}
        >>> cpu = torch.device("cpu")
        >>> both = compared(curve, size, precision=torch.float64, device=cpu)[""]
        >>> both.lost, round(float(both.forward), 9), round(float(both.differences), 9)
        (True, 1.0, 2.0)
    """
    forward = derivative(curve, method="forward", precision=precision, device=device)
    zero = torch.zeros((), dtype=torch.float64, device=device)
    eps = torch.finfo(precision).eps
    step = eps**0.2
    coarse, fine = _central(curve, zero, step), _central(curve, zero, step / 2)
    return {
        name: ForwardAndDifferences(
            forward[name],
            (4 * fine[name] - coarse[name]) / 3,
            float((fine[name] - coarse[name]).norm()),
            30 * eps / step * float(size.detach().double().norm()),
        )
        for name, size in sizes.items()
    }


def _by_differences(curve: OutputsAlong, zero: Tensor, step: float) -> dict[str, Tensor]:
    """Central differences at step and step / 2, extrapolated to fourth order (Richardson)."""
    coarse, fine = _central(curve, zero, step), _central(curve, zero, step / 2)
    return {name: (4 * fine[name] - coarse[name]) / 3 for name in fine}


def _central(curve: OutputsAlong, zero: Tensor, h: float) -> dict[str, Tensor]:
    with torch.enable_grad():  # what is differentiated may call autograd itself
        ahead, behind = curve(zero + h), curve(zero - h)
    return {n: (ahead[n].detach().double() - behind[n].detach().double()) / (2 * h)
            for n in ahead}  # fmt: skip
