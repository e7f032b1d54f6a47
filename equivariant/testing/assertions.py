"""Assertions about equivariance."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from equivariant.measure import Concern, EquivarianceReport, equivariance_error

TOLERANCE = {"float64": 1e-9, "float32": 1e-3}


def assert_equivariant(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any = None,
    act_out: Any = None,
    tolerance: float | None = None,
    samples: int = 16,
    seed: int = 0,
    **options: Any,
) -> EquivarianceReport:
    """Fail unless ``f`` commutes with the action up to a relative error.

    Args:
        f: Deterministic map; put modules in evaluation mode first.
        x: A batch of inputs, as :func:`equivariant.measure.equivariance_error` takes it.
        act_in: Action on x. None for both actions takes those that f declares, as
            ``equivariance_error`` does.
        act_out: Action on f(x).
        tolerance: Largest relative error |l-r|₂ / ((|l|₂ + |r|₂) / 2) of any output, item and
            element; None takes 1e-9 for float64, 1e-3 for float32, 5e-2 for half precision.
        samples: Random elements per item.
        seed: Of the elements.
        **options: Further arguments of ``equivariance_error``: ``group``, ``law``, ``scale``,
            ``differentiates``.

    Returns:
        The report.

    Raises:
        AssertionError: The worst relative error exceeds the tolerance, f is not deterministic,
            or an input or output is not finite.

    Warns:
        UserWarning: The output is constant, or f writes into its input.

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
        f, x, act_in=act_in, act_out=act_out, samples=samples, generator=generator, **options
    )
    refuse_what_is_not_finite(report)
    limit = TOLERANCE.get(report.dtype, 5e-2) if tolerance is None else tolerance
    for output in report.outputs:
        named = f" of {output!r}" if output else ""
        drawn = report.value("worst", output=output)
        at = {name: found[output] for name, found in report.special.items()}
        place = max(at, key=lambda name: at[name])
        worst = max(drawn, at[place])
        if report.repeat[output] > 0.1 * limit:
            raise AssertionError(
                f"not deterministic: two evaluations{named} differ by {report.repeat[output]:.1e}"
            )
        if not worst <= limit:
            raise AssertionError(
                f"not equivariant under {report.group}: relative error{named} {worst:.1e} exceeds "
                f"{limit:.0e}{f' at the {place}' if at[place] > drawn else ''} ({report})"
            )
    for caveat in report.caveats:
        if caveat.concern is Concern.STATE:  # training mode is chosen: the report has it
            continue
        warnings.warn(f"passed, but {caveat}", UserWarning, stacklevel=2)
    return report


def refuse_what_is_not_finite(report: EquivarianceReport) -> None:
    """Fail where a measurement met infinite numbers or NaN.

    Raises:
        AssertionError: With the tensors, items and elements.
    """
    if not report.finite:
        raise AssertionError("; ".join(str(c) for c in report.caveats if c.forbids))
