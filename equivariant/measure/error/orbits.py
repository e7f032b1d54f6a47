"""Errors of whole orbits, and of maps to group elements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group
from equivariant.measure.motions.motion import Motion, as_motion, common_group
from equivariant.measure.motions.per_item import by_item
from equivariant.shapes import Matrix
from equivariant.tree import call


@dataclass(frozen=True)
class OrbitDistance:
    """Distances between sampled orbits of each item, shape (items,) each, float64.

    Args:
        distance: Wasserstein-2 distance between {f(g_s x)} and {g_s f(x)}.
        paired: √ mean |f(g_s x) - g_s f(x)|², the same without leave to match the points of the
            two sets otherwise; at least ``distance``.
        floor: Wasserstein-2 distance between {h_s f(x)} and {g_s f(x)} for other random h_s:
            what two samples of one orbit show. ``distance`` well below ``paired`` and near
            ``floor`` says that outputs stay on the orbit but are moved by other elements.
        scale: √ mean |g_s f(x) - mean|², the size of the orbit.
    """

    distance: Tensor
    paired: Tensor
    floor: Tensor
    scale: Tensor

    def __str__(self) -> str:
        return (
            f"orbits apart {float(self.distance.mean()):.2e} (point by point "
            f"{float(self.paired.mean()):.2e}; two samples of one orbit "
            f"{float(self.floor.mean()):.2e}; size {float(self.scale.mean()):.2e})"
        )


def orbit_distance(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any,
    act_out: Any,
    group: Group | None = None,
    samples: int = 64,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
) -> OrbitDistance:
    """Measure how far the image of an orbit is from the orbit of the image.

        W₂² = min over permutations σ of mean_s |f(g_s x) - g_σ(s) f(x)|²

    An equivariant map takes orbits to orbits, and W₂ = 0. A map with another action on its
    output (reversed, or with another frame) can do that too, with a large error at each g.

    Args:
        f: Deterministic map; put modules in evaluation mode first.
        x: Input.
        act_in: Action on x: an action, a tree of actions, a function with ``group``, or a motion.
        act_out: The same for f(x).
        group: The group, where actions are plain functions.
        samples: Number of elements, at least 2; the time grows with its cube.
        scale: Spread of the elements along directions that are not compact.
        generator: Source of the elements; None uses a fresh generator with seed 0.

    Raises:
        ConventionError: The actions have no group or two, or samples < 2.
        ShapeError: The actions do not fit x or f(x).

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> x = torch.randn(4, 3, dtype=torch.float64)
        >>> found = orbit_distance(
        ...     lambda x: 2 * x, x, act_in=Vectors(SO3()), act_out=Vectors(SO3()), samples=8
        ... )
        >>> bool(found.distance.max() < 1e-12), bool(found.floor.min() > 0.1)
        (True, True)
    """
    motion_in, motion_out = as_motion(act_in, group), as_motion(act_out, group)
    group = common_group(motion_in, motion_out)
    if samples < 2:
        raise ConventionError(
            expected="at least 2 samples",
            got=str(samples),
            argument="samples",
            advice="An orbit is compared as a set of points.",
        )
    generator = generator or torch.Generator().manual_seed(0)
    device = next(iter(motion_in.parts(x).values())).tensor.device
    first, second = (
        group.sample(samples, generator=generator, scale=scale, device=device) for _ in "gh"
    )
    items = motion_in.items(x)
    with torch.no_grad():
        y = call(f, x)
        images = [call(f, motion_in.move(g, x)) for g in first]
        orbit = [motion_out.move(g, y) for g in first]
        other = [motion_out.move(h, y) for h in second]
        cost = _costs(motion_out, images, orbit, items)
        within = _costs(motion_out, orbit, orbit, items)
        floor = _matched(_costs(motion_out, other, orbit, items))
    return OrbitDistance(
        distance=_matched(cost),
        paired=cost.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt(),
        floor=floor,
        scale=(within.mean((-2, -1)) / 2).sqrt(),
    )


def canonicalization_residual(
    c: Callable[[Any], Tensor],
    x: Any,
    *,
    act_in: Any,
    group: Group | None = None,
    samples: int = 32,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Distance of c(g x) from g c(x) in the group, for a map c from inputs to elements.

    Where it is zero, x ↦ c(x)⁻¹ x is a canonical form: equal for all points of an orbit.

    Args:
        c: Map from x to one element per item, shape (items, n, n).
        x: Input.
        act_in: Action on x: an action, a tree of actions, a function with ``group``, or a motion.
        group: The group, where the action is a plain function.
        samples: Number of elements, at least 1.
        scale: Spread of the elements along directions that are not compact.
        generator: Source of the elements; None uses a fresh generator with seed 0.

    Returns:
        |log((g c(x))⁻¹ c(g x))|, shape (samples, items), float64; radians for rotations. Inputs
        with a symmetry of their own have no canonical element, and large values are no fault.

    Raises:
        ConventionError: The action has no group.
        ShapeError: c does not return one element per item.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO2
        >>> def angle(x):
        ...     cos, sin = torch.nn.functional.normalize(x, dim=-1).unbind(-1)
        ...     return torch.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
        >>> x = torch.randn(5, 2, dtype=torch.float64)
        >>> bool(canonicalization_residual(angle, x, act_in=Vectors(SO2())).max() < 1e-7)
        True
    """
    motion = as_motion(act_in, group)
    group = motion.group
    if group is None:
        raise ConventionError(
            expected="an action of a group",
            got="one that is defined for every group",
            argument="act_in",
            advice="Give the action of the group whose elements c returns.",
        )
    generator = generator or torch.Generator().manual_seed(0)
    device = next(iter(motion.parts(x).values())).tensor.device
    elements = group.sample(samples, generator=generator, scale=scale, device=device)
    items = motion.items(x)
    with torch.no_grad():
        start = _elements(c, x, group, items)
        found = [
            group.distance(group.compose(g, start), _elements(c, motion.move(g, x), group, items))
            for g in elements
        ]
    return torch.stack(found)


def _elements(c: Callable[[Any], Tensor], x: Any, group: Group, items: int) -> Matrix:
    g = c(x)
    group.check_element(g, "c")
    if g.shape[:-2] != (items,):
        raise ShapeError(
            expected=f"one element per item, shape ({items}, n, n)",
            got=f"shape {tuple(g.shape)}",
            argument="c",
            advice="c maps a batch of inputs to a batch of elements.",
        )
    return g.double()


def _costs(motion: Motion, first: list[Any], second: list[Any], items: int) -> Tensor:
    """|a_i - b_j|² of each item, shape (items, i, j)."""
    left, right = ([motion.parts(y) for y in side] for side in (first, second))
    total: Tensor | None = None
    for name, part in left[0].items():
        ends = torch.stack([parts[name].tensor.double().flatten(1) for parts in right])
        starts = (parts[name].tensor.double().flatten(1) for parts in left)
        rows = [by_item((ends - a).square().sum(2).T, part, items) for a in starts]
        cost = torch.stack(rows, 1)
        total = cost if total is None else total + cost
    return torch.zeros(items, len(first), len(second)) if total is None else total


def _matched(cost: Tensor) -> Tensor:
    """√ of the least mean cost over permutations, shape (items,)."""
    found = []
    for square in cost.cpu().numpy():
        rows, columns = linear_sum_assignment(square)
        found.append(float(square[rows, columns].mean()) ** 0.5)
    return torch.tensor(found, dtype=torch.float64, device=cost.device)
