"""Whether one element is enough to show that a map is not equivariant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from equivariant.measure.error.floor import rounding_of_items
from equivariant.measure.error.report import EquivarianceReport
from equivariant.measure.error.special_elements import special_elements
from equivariant.measure.error.table import compare, relative_error
from equivariant.measure.motions.motion import Motion, as_motion, common_group
from equivariant.tree import call, detached, widened

_CHANGES = 2  # by one unit of rounding, at the input and at the moved input


def one_draw_proves(
    f: Callable[..., Any],
    x: Any,
    report: EquivarianceReport,
    *,
    act_in: Any,
    act_out: Any,
    output: str,
    level: float,
    factor: float,
    seed: int = 0,
    **options: Any,
) -> bool:
    """Whether the worst of the drawn and special elements shows an error beyond rounding.

    A mean needs several items before its interval says something; a single error far above what
    rounding can do is a counterexample. So that no ill-conditioned draw passes for one, the map
    is evaluated there again, and with inputs that are changed by one unit of rounding.

    Args:
        f: The map.
        x: The batch that the report is about.
        report: The measurement.
        act_in: Action on x.
        act_out: Action on f(x).
        output: Which output.
        level: Relative error that counts.
        factor: How far above its own rounding an error must be.
        seed: Of the changes.
        **options: Of :func:`equivariance_error`.
    """
    before, after = (as_motion(action, options.get("group")) for action in (act_in, act_out))
    group = common_group(before, after)
    known = special_elements(group, law=options.get("law"))
    suspects: list[Tensor] = []
    if report.value("worst", output=output) > level:
        suspects.append(report.worst[output])
    at = {name: found[output] for name, found in report.special.items() if name in known}
    if at and max(at.values()) > level:
        suspects.append(known[max(at, key=lambda name: at[name])])
    generator = torch.Generator().manual_seed(seed)
    with torch.set_grad_enabled(options.get("differentiates", False)):
        for g in suspects:
            error = _errors(f, x, before, after, g, output)
            rounding = _rounding(f, x, before, after, g, output, generator)
            if bool((error > torch.clamp(factor * rounding, min=level)).any()):
                return True
    return False


def _errors(
    f: Callable[..., Any], x: Any, before: Motion, after: Motion, g: Tensor, output: str
) -> Tensor:
    """Relative error of each item at one element."""
    g = g.to(next(iter(before.parts(x).values())).tensor.device)
    left = after.parts(detached(call(f, before.move(g, x))))[output]
    right = after.parts(after.move(g, widened(detached(call(f, x)))))[output]
    numbers = compare(
        left.tensor, right.tensor, mask=after.mask(g, output), item_of_row=right.item_of_row,
        items=before.items(x),
    )  # fmt: skip
    return relative_error(numbers)


def _rounding(
    f: Callable[..., Any],
    x: Any,
    before: Motion,
    after: Motion,
    g: Tensor,
    output: str,
    generator: torch.Generator,
) -> Tensor:
    """Relative change of each item by one unit of rounding, at x or at g·x, the larger."""
    moved = before.move(g.to(next(iter(before.parts(x).values())).tensor.device), x)
    found = [
        change[output]
        for here, there in ((x, moved), (moved, x))
        for change in rounding_of_items(
            f, here, before, after, generator, beside=[there] * _CHANGES
        )
    ]
    return torch.stack(found).amax(0)
