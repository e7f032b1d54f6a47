"""The element at which a map is farthest from equivariant, sought by gradient ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.derivative import DerivativeMethod, compared, derivative
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.groups.numerics import random_normal
from equivariant.measure.error.caveats import refuse_nonfinite
from equivariant.measure.error.statistics import unseen_share
from equivariant.measure.motions.declared import claimed
from equivariant.measure.motions.motion import Motion, Part, common_group
from equivariant.measure.motions.per_item import by_item, kept, moved_dtype, part_tensors
from equivariant.tree import call, detached


@dataclass(frozen=True)
class WorstCase:
    """What :func:`worst_case` found.

    Args:
        elements: Worst element of each item, shape (items, n, n), float64; (1, n, n) for the
            batch as a whole, where a motion is not batched.
        errors: Relative errors there, shape (items,), in [0, 2].
        drawn: Largest error of each item among the random elements, before ascent.
        draws: Number of random elements.
        method: How gradients were taken.
    """

    elements: Tensor
    errors: Tensor
    drawn: Tensor
    draws: int
    method: DerivativeMethod = "forward"

    def unseen_share(self, confidence: float = 0.95) -> float:
        """Largest share of elements whose error exceeds ``drawn``, at a confidence.

            1 - (1 - confidence)^(1 / draws)

        for each item by itself, whatever the map, for the law that the elements were drawn from.
        Ascent gives no such bound: it finds a larger error, and does not say that none is.

        Args:
            confidence: In (0, 1).
        """
        return unseen_share(self.draws, confidence)

    def __str__(self) -> str:
        return (
            f"worst relative error {float(self.errors.max()):.2e} "
            f"({float(self.drawn.max()):.2e} among {self.draws} random elements; at most "
            f"{100 * self.unseen_share():.1f} % of elements exceed an item's largest, with 95 % "
            "confidence)"
        )


def worst_case(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any = None,
    act_out: Any = None,
    group: Group | None = None,
    draws: int = 64,
    starts: int = 4,
    steps: int = 30,
    radius: float | None = None,
    method: DerivativeMethod = "forward",
    generator: torch.Generator | None = None,
) -> WorstCase:
    """Search for the element with the largest relative error, for each item.

        e(g) = |f(g x) - g f(x)| / ((|f(g x)| + |g f(x)|) / 2)

    Random elements are tried first; from the worst few of each item, e climbs along
    g ← exp(c) g, with the gradient over c by forward mode along the basis of the algebra. The
    step grows after a success and is halved after a failure, and no step is taken that lowers
    the error.

    Args:
        f: Deterministic map; put modules in evaluation mode first.
        x: Input.
        act_in: Action on x: an action, a tree of actions, a function with ``group``, or a motion.
            None for both actions takes those that f declares, as ``equivariance_error`` does.
        act_out: The same for f(x). Where one of the two is not batched, all items share an
            element, and the error is of the batch as a whole.
        group: The group, where actions are plain functions.
        draws: Number of random elements, at least 1. They follow Haar measure on a compact
            group without ``radius``; else their coordinates fill the ball evenly.
        starts: From how many of them to climb, at least 1 and at most ``draws``.
        steps: Number of ascent steps; each costs dim + 1 evaluations of f.
        radius: Largest distance of elements from the identity; needed where the group is not
            compact, or where f's own declaration is about a law of elements.
        method: How gradients are taken. ``"forward"`` becomes ``"differences"`` where f hides
            its input from forward mode (``detach``, NumPy).
        generator: Source of the elements; None uses a fresh generator with seed 0.

    Raises:
        ConventionError: There is no radius where one is needed, numbers are out of range, f does
            not support forward mode, an input or output is not finite, only one action is given,
            or none and f declares nothing.
        ShapeError: The actions do not fit x or f(x).

    Example:
        >>> from equivariant.actions import Trivial, Vectors
        >>> from equivariant.groups import SO2
        >>> first = lambda x: 2 + x[:, :1]  # on the circle: 3 at x, 1 opposite
        >>> x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        >>> found = worst_case(first, x, act_in=Vectors(SO2()), act_out=Trivial(1))
        >>> found.errors.round(decimals=6)
        tensor([1.], dtype=torch.float64)
    """
    claim = claimed(f, x, act_in=act_in, act_out=act_out)
    f, motion_in, motion_out = claim.f, *claim.motions(group)
    group = common_group(motion_in, motion_out)
    bounded = group.compact and claim.law is None
    if not 1 <= starts <= draws or (radius is None and not bounded):
        raise ConventionError(
            expected="1 <= starts <= draws, and a radius where the group is not compact or a "
            "declaration is about some of its elements",
            got=f"starts={starts}, draws={draws}, radius={radius}, {group}",
            argument="radius" if 1 <= starts <= draws else "starts",
            advice="The radius is a distance in the coordinates of the Lie algebra.",
        )
    search = _Search(f, x, motion_in, motion_out, group, radius, method)
    if method == "forward" and search.hides():
        search.method = method = "differences"
    generator = generator or torch.Generator().manual_seed(0)
    elements = search.draw(draws, generator)
    errors = torch.stack([search.found(g) for g in elements])
    drawn = {f"errors at draw {k}": Part(row) for k, row in enumerate(errors)}
    refuse_nonfinite(drawn, errors.shape[1], "errors")
    order = errors.argsort(0, descending=True)
    best_g, best = None, torch.full_like(errors[0], -1.0)
    for rank in range(starts):
        chosen = order[rank]
        own = torch.arange(len(chosen), device=chosen.device)
        g, error = search.climb(elements[chosen, own], errors[chosen, own], steps)
        better = error > best
        best_g = g if best_g is None else torch.where(better[:, None, None], g, best_g)
        best = torch.where(better, error, best)
    return WorstCase(
        elements=elements[0] if best_g is None else best_g,
        errors=best,
        drawn=errors.max(0).values,
        draws=draws,
        method=method,
    )


class _Search:
    """The error as a function of one element per item, and steps that raise it."""

    def __init__(
        self,
        f: Callable[..., Any],
        x: Any,
        act_in: Motion,
        act_out: Motion,
        group: Group,
        radius: float | None,
        method: DerivativeMethod,
    ) -> None:
        self.f, self.x, self.act_in, self.act_out = f, x, act_in, act_out
        self.group, self.radius, self.method = group, radius, method
        self.precision, self.device = moved_dtype(act_in, x)
        self.batched = act_in.batched and act_out.batched
        self.items = act_in.items(x)
        with torch.enable_grad():  # f may call autograd itself
            self.y = detached(call(f, x))
        refuse_nonfinite(act_in.parts(x), self.items, "inputs")
        refuse_nonfinite(act_out.parts(self.y), self.items, "outputs")

    def hides(self) -> bool:
        """Whether f loses derivatives in forward mode; tried at x, along all directions."""
        coordinates = torch.ones(self.group.dim, dtype=torch.float64, device=self.device)

        def curve(t: Tensor) -> dict[str, Tensor]:
            moved = self.act_in.move(self.group.exp(t * coordinates), self.x)
            return part_tensors(self.act_out, call(self.f, moved))

        sizes = {name: part.tensor for name, part in self.act_out.parts(self.y).items()}
        ends = compared(curve, sizes, precision=self.precision, device=self.device)
        return any(end.lost for end in ends.values())

    def draw(self, draws: int, generator: torch.Generator) -> Tensor:
        """Random elements, the same for all items, shape (draws, items, n, n)."""
        if self.radius is None:
            g = self.group.sample(draws, generator=generator)
        else:
            direction = random_normal((draws, self.group.dim), generator=generator)
            direction = direction / direction.norm(dim=1, keepdim=True).clamp(min=1e-300)
            share = torch.rand(draws, 1, generator=generator, dtype=torch.float64)
            length = self.radius * share ** (1 / max(self.group.dim, 1))
            g = self.group.exp(length * direction)
        return g.to(self.device).unsqueeze(1).repeat(1, self.items if self.batched else 1, 1, 1)

    def error(self, g: Tensor) -> Tensor:
        """e(g), shape (items,), float64; differentiable except where it is zero."""
        own = g if self.batched else g[0]
        left = self.act_out.parts(call(self.f, self.act_in.move(own, self.x)))
        right = self.act_out.parts(self.act_out.move(own, self.y))
        sums = []
        for name, part in right.items():
            a, b = (
                kept(self.act_out, own, name, side[name].tensor.double()) for side in (left, right)
            )
            rows = torch.stack([(a - b).square(), a.square(), b.square()], 1).flatten(2).sum(2)
            sums.append(by_item(rows, part, self.items))
        total = torch.stack(sums).sum(0)
        gap, a, b = _root(total if self.batched else total.sum(0, keepdim=True)).unbind(1)
        scale = (a + b) / 2
        return torch.where(scale > 0, gap / torch.where(scale > 0, scale, 1.0), 0.0)

    def found(self, g: Tensor) -> Tensor:
        """e(g) without a graph behind it."""
        with torch.enable_grad():
            return self.error(g).detach()

    def gradient(self, g: Tensor) -> Tensor:
        """Derivative of e(exp(c) g) in c at 0, shape (items, dim); 0 where it is not finite."""
        columns = []
        for direction in torch.eye(self.group.dim, dtype=torch.float64, device=self.device):
            moved = derivative(
                self._along(g, direction),
                method=self.method,
                precision=self.precision,
                device=self.device,
            )
            columns.append(moved[""])
        return torch.stack(columns, 1).nan_to_num(0.0, 0.0, 0.0)

    def climb(self, g: Tensor, error: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Elements and errors after ascent; errors are at least those of the start."""
        length = torch.full_like(error, min(0.5, self.radius / 4 if self.radius else 0.5))
        slope, stale = None, torch.ones_like(error, dtype=torch.bool)
        for _ in range(steps):
            if slope is None or bool(stale.any()):
                slope = self.gradient(g)
            norm = slope.norm(dim=1, keepdim=True)
            unit = torch.where(norm > 0, slope / norm.clamp(min=1e-300), 0.0)
            tried = self._within(self.group.exp(length.unsqueeze(1) * unit) @ g)
            found = self.found(tried)
            better = found > error
            g = torch.where(better[:, None, None], tried, g)
            error = torch.where(better, found, error)
            length, stale = torch.where(better, 1.5 * length, 0.5 * length), better
        return g, error

    def _along(self, g: Tensor, direction: Tensor) -> Callable[[Tensor], dict[str, Tensor]]:
        return lambda t: {"": self.error(self.group.exp(t * direction) @ g)}

    def _within(self, g: Tensor) -> Tensor:
        """Elements beyond the radius brought back to it, along their one-parameter subgroup."""
        if self.radius is None:
            return g
        coordinates = self.group.log(g)
        norm = coordinates.norm(dim=-1, keepdim=True)
        inside = norm <= self.radius
        shrunk = self.group.exp(coordinates * self.radius / torch.where(inside, 1.0, norm))
        return torch.where(inside.unsqueeze(-1), g, shrunk)


def _root(square: Tensor) -> Tensor:
    """Square root with derivative 0 at 0."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)
