"""Assertions about equivariance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equivariant.actions import Action
from equivariant.measure import EquivarianceReport, equivariance_error

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}


def assert_equivariant(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    act_in: Action,
    act_out: Action,
    tolerance: float | None = None,
    samples: int = 16,
    seed: int = 0,
) -> EquivarianceReport:
    """Fail unless ``f`` commutes with the action up to a relative error.

    Args:
        f: Deterministic map; put modules in evaluation mode first.
        x: Input, shape (batch, ...).
        act_in: Action on x.
        act_out: Action on f(x).
        tolerance: Largest relative error; None takes 1e-9 for float64, 1e-3 for float32.
        samples: Random elements.
        seed: Of the elements.

    Returns:
        The report.

    Raises:
        AssertionError: The worst relative error exceeds the tolerance, or f is not
            deterministic.

    Example:
        >>> from equivariant.actions import Points
        >>> from equivariant.groups import SO3
        >>> cloud = torch.randn(2, 10, 3, dtype=torch.float64)
        >>> action = Points(SO3())
        >>> assert_equivariant(lambda p: p + 1, cloud, act_in=action, act_out=action)
        Traceback (most recent call last):
        ...
        AssertionError: not equivariant under SO3(): relative error ... exceeds 1e-09 ...
    """
    generator = torch.Generator().manual_seed(seed)
    report = equivariance_error(
        f, x, act_in=act_in, act_out=act_out, samples=samples, generator=generator
    )
    limit = TOLERANCE.get(x.dtype, 1e-2) if tolerance is None else tolerance
    worst = float(report.relative.max())
    if report.repeat > 0.1 * limit:
        raise AssertionError(f"not deterministic: two evaluations differ by {report.repeat:.1e}")
    if not worst <= limit:
        raise AssertionError(
            f"not equivariant under {act_in.group}: relative error {worst:.1e} exceeds "
            f"{limit:.0e} ({report})"
        )
    return report
