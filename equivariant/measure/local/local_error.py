"""How far a map is from commuting with an infinitesimal motion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.derivative import DerivativeMethod, ForwardAndDifferences, compared, derivative
from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.measure.error.caveats import Caveat, Concern, refuse_nonfinite
from equivariant.measure.error.state_changes import kept_state
from equivariant.measure.local.hidden_steps import hiding_steps
from equivariant.measure.motions.declared import claimed
from equivariant.measure.motions.motion import Motion, Part, common_group
from equivariant.measure.motions.per_item import by_item, kept, moved_dtype, part_tensors, products
from equivariant.tree import detached, spreading


@dataclass(frozen=True)
class LocalPart:
    """Local errors of one tensor of the output, or of all together; d directions.

    Args:
        gram_of_item: ⟨L_a f, L_b f⟩ of each item, shape (items, d, d), float64.
        spread_of_item: |f - mean f|² of each item, the mean over items, shape (items,), float64;
            for outputs with several rows per item the mean is over all rows.
        lie_deriv: Mean |L_a softmax f| over the entries of each item, shape (items, d), float64;
            classes run along the last axis.
        entries: Mean number of entries of an item that are compared.
    """

    gram_of_item: Tensor
    spread_of_item: Tensor
    lie_deriv: Tensor
    entries: float

    @property
    def squared(self) -> Tensor:
        """|L_a f|² of each item, shape (items, d)."""
        return self.gram_of_item.diagonal(dim1=-2, dim2=-1)

    @property
    def gram(self) -> Tensor:
        """G_ab = E ⟨L_a f, L_b f⟩, shape (d, d)."""
        return self.gram_of_item.mean(0)

    @property
    def lee(self) -> Tensor:
        """Local equivariance error E |L_a f|² / entries, shape (d,)."""
        return self.gram.diagonal() / max(self.entries, 1.0)

    @property
    def scale(self) -> float:
        """E |f - mean f|²."""
        return float(self.spread_of_item.mean())


@dataclass(frozen=True)
class LocalReport:
    """What :func:`local_equivariance_error` found.

    Args:
        group: The group.
        names: Names of the d directions.
        directions: Their coordinates, shape (d, group.dim), float64.
        parts: Local errors of every output tensor by its path.
        overall: Local errors of all output tensors together.
        disagreement: |forward - differences| / |differences| of the derivative along the sum of
            all directions.
        method: How the errors were found: ``"differences"`` also where forward mode was asked
            for, but f hides its input from it (``detach``, NumPy, inference mode).
        caveats: What limits the numbers: outputs whose derivative forward mode loses, with the
            steps that hide it, and outputs that jump or are random.
    """

    group: Group
    names: tuple[str, ...]
    directions: Tensor
    parts: dict[str, LocalPart]
    overall: LocalPart
    disagreement: float
    method: DerivativeMethod = "forward"
    caveats: tuple[Caveat, ...] = ()

    def __str__(self) -> str:
        errors = ", ".join(
            f"{name}: {float(value):.2e}"
            for name, value in zip(self.names, self.overall.lee, strict=True)
        )
        limits = "".join(f"\n! {caveat}" for caveat in self.caveats)
        return f"local equivariance error {errors}; scale {self.overall.scale:.2e}{limits}"


def local_equivariance_error(
    f: Callable[..., Any],
    x: Any,
    *,
    act_in: Any = None,
    act_out: Any = None,
    group: Group | None = None,
    directions: Mapping[str, Tensor] | None = None,
    method: DerivativeMethod = "forward",
) -> LocalReport:
    """Measure how far ``f`` is from commuting with infinitesimal elements of the group.

        L_X f(x) = d/dt ρ_out(exp(-tX)) f(ρ_in(exp(tX)) x) at t = 0

    is zero for every X and x where f is equivariant (to the connected part of the group). It is
    linear in X, so the Gram matrix over a basis holds the error in every direction.

    Args:
        f: Deterministic map; put modules in evaluation mode first. Trees of tensors in and out;
            a tuple x is spread over its arguments.
        x: Input.
        act_in: Action on x: an action, a tree of actions, a function with ``group``, or a motion.
            None for both actions takes those that f declares, as ``equivariance_error`` does.
        act_out: The same for f(x).
        group: The group, where actions are plain functions.
        directions: Coordinates of directions X in the algebra by name, each of shape (dim,);
            None takes the basis, named "0", "1", ...
        method: ``"forward"``, or ``"differences"`` for maps without forward-mode derivatives.
            Forward mode is compared with differences along the sum of all directions; where it
            loses a part of the derivative, differences take its place, and ``caveats`` says so.

    Raises:
        ConventionError: The group has no direction, the method is unknown, f does not support
            forward mode, an input, output or derivative is not finite, only one action is given,
            or none and f declares nothing.
        ShapeError: The actions do not fit x or f(x), or a direction the algebra.

    Example:
        >>> from equivariant.actions import Points, Trivial
        >>> from equivariant.groups import SO3
        >>> cloud = torch.randn(4, 16, 3, dtype=torch.float64)
        >>> f = lambda p: p.square().sum((1, 2), keepdim=True).squeeze(-1)
        >>> report = local_equivariance_error(f, cloud, act_in=Points(SO3()), act_out=Trivial(1))
        >>> bool(report.overall.lee.max() < 1e-20)
        True

    Source: Gruver et al. 2023, "The Lie derivative for measuring learned equivariance"; the
    Gram matrix over directions is ours.
    """
    claim = claimed(f, x, act_in=act_in, act_out=act_out)
    model, f = f, spreading(claim.f)
    motion_in, motion_out = claim.motions(group)
    group = common_group(motion_in, motion_out)
    names, rows = named_directions(group, directions)
    precision, device = moved_dtype(motion_in, x)

    def lie(coordinates: Tensor, method: DerivativeMethod) -> dict[str, Tensor]:
        return derivative(
            lie_curve(f, x, motion_in, motion_out, group, coordinates.to(device)),
            method=method,
            precision=precision,
            device=device,
        )

    items = motion_in.items(x)
    refuse_nonfinite(motion_in.parts(x), items, "inputs")
    with kept_state(model):
        identity = group.identity().to(device)
        with torch.enable_grad():  # f may call autograd itself
            y = motion_out.parts(detached(f(x)))
        refuse_nonfinite(y, items, "outputs")
        caveats: tuple[Caveat, ...] = ()
        check = lie(rows.sum(0), "differences")
        found = [lie(row, method) for row in rows]
        disagreement = _disagreement(found, check)
        if method == "forward":
            both = _both_ways(f, x, motion_in, motion_out, rows.sum(0).to(device), y)
            caveats = _caveats(both, f, x)
            if any(one.lost for one in both.values()):
                method = "differences"
                found = [lie(row, method) for row in rows]
    for along in found:
        derivatives = {name: Part(along[name], y[name].item_of_row) for name in along}
        refuse_nonfinite(derivatives, items, "derivatives")
    parts = {}
    for name, part in y.items():
        stacked = torch.stack([along[name] for along in found])
        parts[name] = _local_part(stacked, part, name, motion_out, identity, items)
    return LocalReport(
        group=group,
        names=names,
        directions=rows,
        parts=parts,
        overall=_together(list(parts.values())),
        disagreement=disagreement,
        method=method,
        caveats=caveats,
    )


def named_directions(
    group: Group, directions: Mapping[str, Tensor] | None
) -> tuple[tuple[str, ...], Tensor]:
    """Names and coordinates of directions, shape (d, dim), float64; None takes the basis.

    Raises:
        ConventionError: There is none.
        ShapeError: One does not fit the algebra.
    """
    if directions is None:
        eye = torch.eye(group.dim, dtype=torch.float64)
        directions = {str(k): row for k, row in enumerate(eye)}
    for name, row in directions.items():
        group.check_coordinates(row, f"directions[{name!r}]")
    if not directions:
        raise ConventionError(
            expected="at least one direction in the Lie algebra",
            got=f"none, for {group}",
            argument="directions",
            advice="A discrete group has no local error: measure whole elements.",
        )
    return tuple(directions), torch.stack([v.detach().cpu().double() for v in directions.values()])


def lie_curve(
    f: Callable[[Any], Any],
    x: Any,
    act_in: Motion,
    act_out: Motion,
    group: Group,
    coordinates: Tensor,
) -> Callable[[Tensor], dict[str, Tensor]]:
    """t ↦ ρ_out(exp(-tX)) f(ρ_in(exp(tX)) x), as tensors by path."""

    def curve(t: Tensor) -> dict[str, Tensor]:
        y = f(act_in.move(group.exp(t * coordinates), x))
        return part_tensors(act_out, act_out.move(group.exp(-t * coordinates), y))

    return curve


def _both_ways(
    f: Callable[[Any], Any],
    x: Any,
    act_in: Motion,
    act_out: Motion,
    coordinates: Tensor,
    y: Mapping[str, Part],
) -> dict[str, ForwardAndDifferences]:
    """d/dt f(exp(tX) x) by both methods; outputs stay where they are, so that it is not zero."""
    group = common_group(act_in, act_out)
    precision, device = moved_dtype(act_in, x)

    def curve(t: Tensor) -> dict[str, Tensor]:
        return part_tensors(act_out, f(act_in.move(group.exp(t * coordinates), x)))

    sizes = {name: part.tensor for name, part in y.items()}
    return compared(curve, sizes, precision=precision, device=device)


def _caveats(
    both: Mapping[str, ForwardAndDifferences], f: Callable[[Any], Any], x: Any
) -> tuple[Caveat, ...]:
    """Outputs whose derivative is lost, and outputs that have none."""
    found = []
    lost = {name: one for name, one in both.items() if one.lost}
    if lost:
        steps = ", ".join(hiding_steps(f, x)) or "none of those that are known"
        shares = ", ".join(
            f"{100 * min(1.0, one.gap / float(one.differences.norm())):.0f} % of the derivative of "
            f"{repr(name) if name else 'f(x)'}"
            for name, one in lost.items()
        )
        text = f"forward mode loses {shares} (steps that hide it: {steps}); by differences instead"
        found.append(Caveat(Concern.HIDDEN, text))
    rough = [repr(name) if name else "f(x)" for name, one in both.items() if one.rough]
    if rough:
        text = f"differences at two steps disagree for {', '.join(rough)}: it jumps, or is random"
        found.append(Caveat(Concern.ROUGH, text))
    return tuple(found)


def _local_part(
    lie: Tensor, part: Part, name: str, motion: Motion, identity: Tensor, items: int
) -> LocalPart:
    """Inner products of the derivatives of one output tensor, shape (d, rows, ...)."""
    value = part.tensor.double()
    probability = value.softmax(-1)
    softmax = probability * (lie - (probability * lie).sum(-1, keepdim=True))
    ones = kept(motion, identity, name, torch.ones_like(value))
    count = by_item(ones.flatten(1).sum(1), part, items)
    absolute = by_item((softmax.abs() * ones).flatten(2).sum(2).T, part, items)
    centred = (value - value.mean(0, keepdim=True)) * ones
    return LocalPart(
        gram_of_item=products(lie * ones, part, items),
        spread_of_item=by_item(centred.square().flatten(1).sum(1), part, items),
        lie_deriv=absolute / count.clamp(min=1).unsqueeze(-1),
        entries=float(count.mean()),
    )


def _together(parts: list[LocalPart]) -> LocalPart:
    entries = sum(part.entries for part in parts)
    weighted = torch.stack([part.lie_deriv * part.entries for part in parts]).sum(0)
    return LocalPart(
        gram_of_item=torch.stack([part.gram_of_item for part in parts]).sum(0),
        spread_of_item=torch.stack([part.spread_of_item for part in parts]).sum(0),
        lie_deriv=weighted / max(entries, 1.0),
        entries=entries,
    )


def _disagreement(found: list[dict[str, Tensor]], check: dict[str, Tensor]) -> float:
    total = {name: torch.stack([along[name] for along in found]).sum(0) for name in check}
    difference = sum(float((total[name] - check[name]).square().sum()) for name in check) ** 0.5
    size = sum(float(value.square().sum()) for value in check.values()) ** 0.5
    return 0.0 if difference == 0.0 else difference / max(size, 1e-300)
