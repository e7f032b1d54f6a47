"""What an ideal map would show: rounding, and the interpolation of images."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from equivariant.errors import ConventionError
from equivariant.groups import SE3, SO2, SO3, Translation
from equivariant.measure.equivariance_report import Comparison, EquivarianceReport
from equivariant.measure.error import equivariance_error
from equivariant.measure.motion import Motion, TreeMotion, as_motion
from equivariant.measure.table import compare, relative_error
from equivariant.measure.tree import call, rebuild, tensors, widened

_ISOMETRIES = (SO2(), SO3(), SE3(), Translation(2), Translation(3))  # a blur commutes with
_BLUR_REACH_PX = 6.0
_LEAST = 16  # units of rounding that a short sum of products may lose


@dataclass(frozen=True)
class Floor:
    """Errors that say nothing against a map.

    Args:
        rounding: Relative rounding error of the map in the dtype of its input.
        reference: Relative error of a map that is equivariant in the continuum, measured with
            the same actions: what interpolation costs. None where nothing is interpolated.
    """

    rounding: float
    reference: float | None = None

    @property
    def value(self) -> float:
        """The larger of the two."""
        return max(self.rounding, self.reference or 0.0)


def numerical_floor(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any,
    act_out: Any,
    reference: Callable[[Any], Any] | None = None,
    samples: int = 4,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Floor:
    """Measure the error that the same actions and dtype would show for an ideal map.

    Rounding: for a module in less than float64, the relative difference between it and its copy
    in float64, at x; else the change of f(x) under a relative change of x by one unit of
    rounding, at least 16 units. Interpolation: the error of ``reference``, by default a Gaussian
    blur where rotations or translations warp images or volumes; for other warps none is known.

    Args:
        f: The map that is measured.
        x: A batch of inputs.
        act_in: Action on x.
        act_out: Action on f(x); says which outputs count.
        reference: A map from inputs to inputs that commutes with act_in in the continuum.
        samples: Changes of x, and elements for the reference.
        generator: Source of both; None takes a fresh one with seed 0.
        **options: ``group``, ``law`` and ``scale`` of :func:`equivariance_error`.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> x = torch.randn(8, 3)
        >>> floor = numerical_floor(torch.sin, x, act_in=Vectors(SO3()), act_out=Vectors(SO3()))
        >>> 1e-8 < floor.value < 1e-5
        True
    """
    generator = generator or torch.Generator().manual_seed(0)
    group = options.get("group")
    before, after = as_motion(act_in, group), as_motion(act_out, group)
    known = reference or _reference(before)
    interpolation = None
    if known is not None:
        ideal = equivariance_error(
            known if not isinstance(x, tuple) else lambda *leaves: known(leaves), x,
            act_in=before, act_out=_inside(before, x), samples=samples, generator=generator,
            **options,
        )  # fmt: skip
        interpolation = max(ideal.value(output=name) for name in ideal.outputs)
    with torch.set_grad_enabled(options.get("differentiates", False)):
        rounding = _rounding(f, x, before, after, samples, generator)
    return Floor(rounding, interpolation)


@dataclass(frozen=True)
class PrecisionSplit:
    """An error, and how much of it is rounding.

    Args:
        given: Report in the dtype of the input.
        true: Report of the same weights in float64, with the same elements.
        rounding: Error of the first minus error of the second, by output.
    """

    given: EquivarianceReport
    true: EquivarianceReport
    rounding: dict[str, Comparison]


def split_precision(model: nn.Module, x: Any, *, seed: int = 0, **options: Any) -> PrecisionSplit:
    """Measure a model as it is and in float64, with the same items and elements.

    The error in float64 is that of the map; what the first has beyond it is rounding.

    Args:
        model: A module; its copy in float64 has the same weights.
        x: A batch of inputs in the model's dtype.
        seed: Of the elements.
        **options: Of :func:`equivariance_error`: ``act_in``, ``act_out``, ``samples``, ...

    Raises:
        ConventionError: There is nothing to split, since x is in float64 already.

    Example:
        >>> from equivariant.actions import Trivial, Vectors
        >>> from equivariant.groups import SO3
        >>> layer = nn.Linear(3, 2)
        >>> split = split_precision(
        ...     layer, torch.randn(8, 3), act_in=Vectors(SO3()), act_out=Trivial(2)
        ... )
        >>> abs(split.rounding[""].difference.value) < 1e-5 < split.true.value()
        True
    """
    if any(leaf.dtype == torch.float64 for leaf in tensors(x).values()):
        raise ConventionError(
            expected="inputs in less than float64",
            got="float64",
            argument="x",
            advice="An error in float64 is the error of the map: use equivariance_error.",
        )
    given, true = (
        equivariance_error(f, z, generator=torch.Generator().manual_seed(seed), **options)
        for f, z in ((model, x), (deepcopy(model).double(), widened(x)))
    )
    rounding = {name: given.compare(true, output=name) for name in given.outputs}
    return PrecisionSplit(given, true, rounding)


def float64_twin(f: Callable[..., Any], x: Any) -> nn.Module | None:
    """A module's copy in float64, with the same weights.

    Args:
        f: The map.
        x: A batch of its inputs.

    Returns:
        None for what is no module, is in float64 already, mixes dtypes, or does not run in
        float64.
    """
    dtypes = {leaf.dtype for leaf in tensors(x).values() if leaf.is_floating_point()}
    if not isinstance(f, nn.Module) or torch.float64 in dtypes:
        return None
    if any(p.is_floating_point() and p.dtype not in dtypes for p in f.parameters()):
        return None
    wide = deepcopy(f).double()
    try:
        call(wide, widened(x))
    except (RuntimeError, TypeError):  # a dtype that is fixed inside
        return None
    return wide


def _rounding(
    f: Callable[..., Any],
    x: Any,
    before: Motion,
    after: Motion,
    samples: int,
    generator: torch.Generator,
) -> float:
    items, y = before.items(x), after.parts(call(f, x))
    dtype = next(iter(before.parts(x).values())).tensor.dtype
    unit = torch.finfo(dtype).eps
    wide = float64_twin(f, x)
    if wide is not None:
        others = [after.parts(call(wide, widened(x)))]
    else:
        others = [
            after.parts(call(f, _disturbed(x, before, unit, generator))) for _ in range(samples)
        ]
    found = [_LEAST * unit]
    for other in others:
        for name, part in y.items():
            numbers = compare(
                part.tensor.detach(), other[name].tensor.detach(), mask=None,
                item_of_row=part.item_of_row, items=items,
            )  # fmt: skip
            found.append(float(relative_error(numbers).mean()))
    return max(found)


def _disturbed(x: Any, before: Motion, unit: float, generator: torch.Generator) -> Any:
    """x with every moved entry changed by one unit of rounding, up or down."""
    moved = before.parts(x)

    def change(name: str, leaf: Any) -> Any:
        if name not in moved:
            return leaf
        sign = 2 * torch.randint(2, leaf.shape, generator=generator) - 1
        return leaf * (1 + unit * sign.to(leaf))

    return rebuild(x, change)


def _inside(before: Motion, x: Any) -> Motion:
    """The same motion, comparing only what the blur's own border does not reach."""
    if not isinstance(before, TreeMotion):
        return before
    sides = [min(part.tensor.shape[-2:]) for part in before.parts(x).values()]
    return TreeMotion(before.tree, margin_px=min(_BLUR_REACH_PX, min(sides) / 4))


def _reference(before: Motion) -> Callable[[Any], Any] | None:
    """The maps that actions name as their reference, applied side by side."""
    actions = before.actions if isinstance(before, TreeMotion) else {}
    known = {
        name: getattr(action, "reference", None) if action.group in _ISOMETRIES else None
        for name, action in actions.items()
    }
    if not any(known.values()):
        return None

    def reference(x: Any) -> Any:
        def one(name: str, leaf: Any) -> Any:
            blur = known.get(name)
            return leaf if blur is None else blur(leaf)

        return rebuild(x, one)

    return reference
