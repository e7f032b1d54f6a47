"""What an ideal map would show: rounding, and the interpolation of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.measure.error.equivariance_error import equivariance_error
from equivariant.measure.error.report import Comparison, EquivarianceReport
from equivariant.measure.error.state_changes import kept_state
from equivariant.measure.error.table import compare, relative_error
from equivariant.measure.motions.declared import claimed
from equivariant.measure.motions.motion import Motion, Part, TreeMotion, as_motion, common_group
from equivariant.tree import call, detached, mapped, of_kind, rebuild, tensors, widened

_FUNCTION = "a function cannot be copied: to say more, measure it in float32 or give the module"
_BLUR_REACH_PX = 6.0
_BELOW_SINGLE, _ABOVE_SINGLE = 1e-12, 1e-4  # relative changes that a cast hides, and shows
_HALF = 1e-4  # units of dtypes of half precision are above
LEAST = 16  # units of rounding that a short sum of products may lose


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
    act_in: Any = None,
    act_out: Any = None,
    reference: Callable[[Any], Any] | None = None,
    samples: int = 4,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Floor:
    """Measure the error that the same actions and dtype would show for an ideal map.

    Rounding: the change of f(x) when every row of x is changed by one unit of rounding of its
    largest entry, before or after a move; for a module in less than float64 also the difference
    between it and its copy in float64, at x; at least 16 units, one in half precision, where 16
    are 2 to 12 %. Interpolation: the error of
    ``reference``, by default a Gaussian blur where rotations or translations warp images or
    volumes; for other warps none is known.

    Args:
        f: The map that is measured.
        x: A batch of inputs.
        act_in: Action on x. None for both actions takes those that f declares.
        act_out: Action on f(x); says which outputs count.
        reference: A map from inputs to inputs that commutes with act_in in the continuum.
        samples: Changes of x, and elements for the reference.
        generator: Source of both; None takes a fresh one with seed 0.
        **options: ``group``, ``law``, ``scale`` and ``differentiates`` of
            :func:`equivariance_error`.

    Returns:
        The floor. Where a change by one unit makes an output infinite or NaN it is 2, the
        largest relative error there is.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> x = torch.randn(8, 3)
        >>> floor = numerical_floor(torch.sin, x, act_in=Vectors(SO3()), act_out=Vectors(SO3()))
        >>> 1e-8 < floor.value < 1e-5
        True
    """
    claim = claimed(f, x, act_in=act_in, act_out=act_out, law=options.get("law"))
    floors = floor_of_outputs(
        claim.f, x, act_in=claim.act_in, act_out=claim.act_out, reference=reference,
        samples=samples, generator=generator, **{**options, "law": claim.law},
    )  # fmt: skip
    return max(floors.values(), key=lambda floor: floor.value)


def floor_of_outputs(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any,
    act_out: Any,
    reference: Callable[[Any], Any] | None = None,
    samples: int = 4,
    generator: torch.Generator | None = None,
    **options: Any,
) -> dict[str, Floor]:
    """:func:`numerical_floor` of each output by itself."""
    generator = generator or torch.Generator().manual_seed(0)
    before, after = (as_motion(action, options.get("group")) for action in (act_in, act_out))
    known = reference or _reference(before)
    interpolation = None
    if known is not None:
        ideal = equivariance_error(
            known if not isinstance(x, tuple) else lambda *leaves: known(leaves), x,
            act_in=before, act_out=_inside(before, x), samples=samples, generator=generator,
            **options,
        )  # fmt: skip
        interpolation = max(ideal.value(output=name) for name in ideal.outputs)
    with torch.set_grad_enabled(options.get("differentiates", False)), kept_state(f):
        moved = []
        for _ in range(samples):
            g = drawn_element(common_group(before, after), generator, **options)
            moved.append(before.move(g.to(_device(before, x)), x))
        found = rounding_of_items(f, x, before, after, generator, beside=moved)
        wide = float64_twin(f, x).module
        if wide is not None:
            other = after.parts(call(wide, widened(x)))
            found.append(_differences(after.parts(call(f, x)), other, before.items(x)))
    unit = torch.finfo(next(iter(before.parts(x).values())).tensor.dtype).eps
    least = least_rounding(unit)
    return {
        name: Floor(max(least, *(float(one[name].mean()) for one in found)), interpolation)
        for name in found[0]
    }


def least_rounding(unit: float) -> float:
    """The rounding of any map in a dtype of that unit: 16 units, or one in half precision."""
    return LEAST * unit if unit < _HALF else unit


def drawn_element(group: Group, generator: torch.Generator, **options: Any) -> Tensor:
    """One element by the law among the options, or by the group's own, shape (n, n)."""
    law = options.get("law")
    if law is not None:
        elements: Tensor = law.draw(1, generator=generator).elements[0]
        return elements
    return group.sample(generator=generator, scale=options.get("scale", 1.0))


def rounding_of_items(
    f: Callable[..., Any],
    x: Any,
    before: Motion,
    after: Motion,
    generator: torch.Generator,
    *,
    beside: Sequence[Any],
) -> list[dict[str, Tensor]]:
    """How far one unit of rounding of x moves f(x), item by item.

    Args:
        f: The map.
        x: A batch of inputs.
        before: Motion of x; says which tensors round.
        after: Motion of f(x).
        generator: Of the signs of the changes.
        beside: Inputs with as many rows whose sizes count too, one per change: what x is moved
            to, or came from.

    Returns:
        For each change, by output, relative errors of shape (items,); 2 where not finite.
    """
    y = after.parts(call(f, x))
    return [
        _differences(
            y, after.parts(call(f, _disturbed(x, other, before, generator))), before.items(x)
        )
        for other in beside
    ]


def _differences(y: dict[str, Part], others: dict[str, Part], items: int) -> dict[str, Tensor]:
    found = {}
    for name, part in y.items():
        numbers = compare(
            others[name].tensor.detach(), part.tensor.detach(), mask=None,
            item_of_row=part.item_of_row, items=items,
        )  # fmt: skip
        found[name] = relative_error(numbers).nan_to_num(nan=2.0)
    return found


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
        **options: Of :func:`equivariance_error`: ``act_in`` and ``act_out`` (or neither, for what
            the model declares), ``samples``, ...

    Raises:
        ConventionError: There is nothing to split, since x is in float64 already, or the model
            does not run in float64.

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
    names = ("act_in", "act_out", "law")
    claim = claimed(model, x, **{name: options.get(name) for name in names})
    options = {**options, **{name: getattr(claim, name) for name in names}}
    twin = float64_twin(claim.f, x)
    if twin.module is None:
        raise ConventionError(
            expected="a model that runs in float64 too",
            got=twin.reason,
            argument="model",
            advice="Make dtypes follow the input: x.dtype instead of torch.float32.",
        )
    given, true = (
        equivariance_error(f, z, generator=torch.Generator().manual_seed(seed), **options)
        for f, z in ((claim.f, x), (twin.module, widened(x)))
    )
    rounding = {name: given.compare(true, output=name) for name in given.outputs}
    return PrecisionSplit(given, true, rounding)


@dataclass(frozen=True)
class Twin:
    """A module's copy in float64, with the same weights.

    Args:
        module: The copy; None where there is none.
        reason: Why there is none; empty where none is needed (functions, float64).
    """

    module: nn.Module | None
    reason: str = ""


def float64_twin(f: Callable[..., Any], x: Any) -> Twin:
    """Copy a module to float64 and try it.

    Args:
        f: The map.
        x: A batch of its inputs.

    Returns:
        No copy for functions and for what is in float64 already; and, with the reason, for
        functions in half precision, and modules that mix dtypes, cannot be copied, do not run in
        float64, or compute in less inside.
    """
    dtypes = {leaf.dtype for leaf in tensors(x).values() if leaf.is_floating_point()}
    if torch.float64 in dtypes:
        return Twin(None)
    if not isinstance(f, nn.Module):
        coarse = [dtype for dtype in dtypes if torch.finfo(dtype).eps > _HALF]
        return Twin(None, _FUNCTION if coarse else "")
    if any(p.is_floating_point() and p.dtype not in dtypes for p in f.parameters()):
        return Twin(None, "parameters and inputs have different dtypes")
    try:
        wide = deepcopy(f).double()
        with torch.enable_grad():  # for models that call autograd themselves
            y, near, far = (
                tensors(detached(call(wide, _nudged(widened(x), by))))
                for by in (0.0, _BELOW_SINGLE, _ABOVE_SINGLE)
            )
    except Exception as error:  # whatever a model of others raises: it is said, not hidden
        first = (str(error).splitlines() or [""])[0]
        return Twin(None, f"the copy fails with {type(error).__name__}: {first[:80]}")
    for name, value in y.items():
        if value.is_floating_point() and value.dtype != torch.float64:
            return Twin(None, f"the copy returns {str(value.dtype).removeprefix('torch.')}")
        if value.is_floating_point() and _rounds(value, near.get(name), far.get(name)):
            return Twin(None, "the copy computes in less than float64 inside")
    return Twin(wide)


def _rounds(value: Tensor, near: Tensor | None, far: Tensor | None) -> bool:
    """Whether most entries that a large change of x moves are not moved by a small one."""
    if near is None or far is None or not near.shape == far.shape == value.shape:
        return False
    moving = far != value
    still = moving & (near == value)
    return int(still.sum()) > 0.8 * int(moving.sum())


def _nudged(x: Any, by: float) -> Any:
    """Neighbouring entries changed by different relative amounts, none of them more than by."""

    def change(leaf: Tensor) -> Tensor:
        if not leaf.is_floating_point():
            return leaf
        wave = torch.arange(leaf.numel(), device=leaf.device).double().sin().reshape(leaf.shape)
        return leaf * (1 + by * wave)

    return mapped(x, change)


def _disturbed(x: Any, other: Any, before: Motion, generator: torch.Generator) -> Any:
    """x with every moved entry changed by a unit of rounding, up or down.

    The unit is that of the largest entry of a row, here or in the other input: a rotation mixes
    the entries of a row, a translation adds to them.
    """
    moved, sizes = before.parts(x), before.parts(other)

    def change(name: str, leaf: Any) -> Any:
        if name not in moved:
            return leaf
        value = moved[name].tensor
        sign = (2 * torch.randint(2, value.shape, generator=generator) - 1).to(value.device)
        size = torch.maximum(value.abs(), sizes[name].tensor.abs())
        size = size.amax(-1, keepdim=True) if value.ndim > 1 else size
        unit = torch.finfo(value.dtype).eps
        changed = (value.double() + unit * size.double() * sign).to(value.dtype)
        return of_kind(changed.reshape(leaf.shape), leaf)

    return rebuild(x, change)


def _device(before: Motion, x: Any) -> torch.device:
    return next(iter(before.parts(x).values())).tensor.device


def _inside(before: Motion, x: Any) -> Motion:
    """The same motion, comparing only what the blur's own border does not reach."""
    if not isinstance(before, TreeMotion):
        return before
    sides = [min(part.tensor.shape[-2:]) for part in before.parts(x).values()]
    return TreeMotion(before.tree, margin_px=min(_BLUR_REACH_PX, min(sides) / 4))


def _moves_rigidly(group: Group | None) -> bool:
    """Whether a blur commutes with the group."""
    return group is not None and group.space_dim is not None and group.preserves_lengths


def _reference(before: Motion) -> Callable[[Any], Any] | None:
    """The maps that actions name as their reference, applied side by side."""
    actions = before.actions if isinstance(before, TreeMotion) else {}
    known = {
        name: getattr(action, "reference", None) if _moves_rigidly(action.group) else None
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
