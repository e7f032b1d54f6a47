"""Actions by name, for command lines and configuration files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import isabstract, isclass, signature
from typing import Any

import torch
from torch import Tensor

from equivariant import groups
from equivariant.actions import (
    Action,
    ImageWarp,
    IrrepsAction,
    Permute,
    Points,
    Trivial,
    Vectors,
    VolumeWarp,
)
from equivariant.errors import ConventionError
from equivariant.groups import Group, Permutation

NAMES = (
    "points[:N]", "vectors[:C]", "irreps:8x0e+4x1o", "invariant[:D]", "image:CxHxW",
    "volume:CxDxHxW", "rows:NxC",
)  # fmt: skip


@dataclass(frozen=True)
class Named:
    """An action that was named.

    Args:
        action: The action.
        shape: Of one item, without the batch axis.
    """

    action: Action
    shape: tuple[int, ...]

    def draw(self, items: int, generator: torch.Generator) -> Tensor:
        """Random inputs, shape (items, *shape), float64: normal numbers; smooth for images.

        Images and volumes are sums of waves of at most three periods, since white noise measures
        nothing but interpolation.
        """
        if self.action.event_dim < 3:
            return torch.randn(items, *self.shape, generator=generator, dtype=torch.float64)
        return _smooth(items, self.shape, generator)


def group_names() -> dict[str, Callable[[], Group]]:
    """The groups that have a name: every class of :mod:`equivariant.groups` that names a group.

    One without settings has the name of its class; one with a size has its name with 2 and with 3
    behind it, ``"Sim3"`` for ``Sim(3)``.

    Example:
        >>> sorted(group_names())[:4]
        ['Affine2', 'Affine3', 'CubeFaces', 'Cyclic2']
    """
    found: dict[str, Callable[[], Group]] = {}
    sized: dict[str, Callable[[], Group]] = {}
    for name in groups.__all__:
        kind = getattr(groups, name)
        if not isclass(kind) or not issubclass(kind, Group) or isabstract(kind):
            continue
        build: Callable[..., Group] = kind
        settings = set(signature(build).parameters)
        if not settings:
            found[name] = build
        elif settings == {"size"} and kind is not Permutation:
            sized |= {f"{name}{size}": partial(build, size) for size in (2, 3)}
    return sized | found  # closed forms, SO2, go before SO(2)


def named_group(name: str, *, rows: int = 0) -> Group:
    """A group by name.

    Args:
        name: A key of :func:`group_names`, or ``"Permutation"`` of ``rows`` things.
        rows: How many things are permuted.

    Raises:
        ConventionError: No group has this name.

    Example:
        >>> named_group("SE3"), named_group("Sim2")
        (SE3(), Sim(size=2))
    """
    if name == "Permutation" and rows > 0:
        return Permutation(rows)
    known = group_names()
    if name not in known:
        raise ConventionError(
            expected=f"one of {', '.join(known)}, or Permutation with rows:NxC",
            got=repr(name),
            argument="group",
            advice="From Python any Group can be measured.",
        )
    return known[name]()


def named_action(name: str, group: Group, *, like: Tensor | None = None) -> Named:
    """An action by name.

    Args:
        name: One of ``points``, ``vectors``, ``irreps``, ``invariant``, ``image``, ``volume``,
            ``rows``, with sizes behind a colon; sizes may be left out where ``like`` shows them.
        group: The group.
        like: A tensor that the action moves, with its batch axis.

    Raises:
        ConventionError: The name is not known, or a size is missing or not a number.

    Example:
        >>> from equivariant.groups import SE3, SO2, SO3
        >>> named_action("vectors:4", SO3()).action.dim
        12
        >>> named_action("image:3x16x20", SO2()).shape
        (3, 16, 20)
    """
    kind, _, rest = name.partition(":")
    if kind == "irreps":
        action = IrrepsAction(rest, group)
        return Named(action, (action.dim,))
    sizes = _sizes(name, rest)
    seen = () if like is None else tuple(like.shape[1:])
    build = {
        "points": _points, "vectors": _vectors, "invariant": _invariant, "image": _image,
        "volume": _volume, "rows": _rows,
    }.get(kind)  # fmt: skip
    if build is None:
        raise ConventionError(
            expected=f"one of {', '.join(NAMES)}",
            got=repr(name),
            argument="input or output",
            advice="From Python any Action can be measured.",
        )
    return build(group, sizes, seen)


def directions(group: Group) -> dict[str, Tensor] | None:
    """Named directions of a group's algebra, for tables; None for a discrete group.

    Example:
        >>> from equivariant.groups import SE3
        >>> list(directions(SE3()))[:4]
        ['turn x', 'turn y', 'turn z', 'shift x']
    """
    return group.directions() or None


def _points(group: Group, sizes: tuple[int, ...], seen: tuple[int, ...]) -> Named:
    action = Points(group)
    count = (sizes or seen[:-1] or (128,))[-1]
    return Named(action, (count, action.dim))


def _vectors(group: Group, sizes: tuple[int, ...], seen: tuple[int, ...]) -> Named:
    space = Vectors(group).dim
    action = Vectors(group, (sizes or (max(1, seen[-1] // space) if seen else 1,))[0])
    return Named(action, (action.dim,))


def _invariant(group: Group, sizes: tuple[int, ...], seen: tuple[int, ...]) -> Named:
    dim = (sizes or seen[-1:] or (1,))[-1]
    return Named(Trivial(dim, group), (dim,))


def _image(group: Group, sizes: tuple[int, ...], seen: tuple[int, ...]) -> Named:
    channels, height, width = _needed("image:CxHxW", sizes or seen, 3)
    return Named(ImageWarp(group, (height, width), channels=channels), (channels, height, width))


def _volume(group: Group, sizes: tuple[int, ...], seen: tuple[int, ...]) -> Named:
    channels, d, h, w = _needed("volume:CxDxHxW", sizes or seen, 4)
    return Named(VolumeWarp(group, (d, h, w), channels=channels), (channels, d, h, w))


def _rows(group: Group, sizes: tuple[int, ...], seen: tuple[int, ...]) -> Named:
    count, dim = _needed("rows:NxC", sizes or seen, 2)
    return Named(Permute(count, dim), (count, dim))


def _needed(form: str, sizes: tuple[int, ...], count: int) -> tuple[int, ...]:
    if len(sizes) != count:
        raise ConventionError(
            expected=f"{count} sizes, {form}",
            got="x".join(map(str, sizes)) or "none",
            argument="input or output",
            advice="Write the sizes behind the name.",
        )
    return sizes


def _sizes(name: str, rest: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in rest.split("x")) if rest else ()
    except ValueError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise ConventionError(
            expected="sizes of at least 1 joined by x, such as image:3x32x32",
            got=repr(name),
            argument="input or output",
            advice=f"Known names: {', '.join(NAMES)}.",
        )
    return sizes


def _smooth(items: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Sums of eight plane waves of at most three periods along each axis, unit variance."""
    channels, *size = shape
    axes = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in size]
    grid: Any = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    normal = torch.randn(
        items, channels, 8, len(size) + 2, generator=generator, dtype=torch.float64
    )
    waves = torch.einsum("...d,ickd->ick...", grid, 3.0 * normal[..., 2:])
    extra = (1,) * len(size)
    phase = 2 * torch.pi * normal[..., 1].reshape(items, channels, 8, *extra)
    amplitude = normal[..., 0].reshape(items, channels, 8, *extra)
    return (amplitude * torch.sin(waves + phase)).mean(2) * 4
