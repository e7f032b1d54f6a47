"""Contributions of all layers to a local error from a few backward passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.derivative import DerivativeMethod, derivative
from equivariant.groups import Group
from equivariant.groups.numerics import random_normal
from equivariant.measure.layers.layer_calls import ActionOf, DeclaredLayers, floating
from equivariant.measure.local.local_error import lie_curve
from equivariant.measure.motions.motion import Motion, as_motion, common_group
from equivariant.measure.motions.per_item import kept, moved_dtype, part_tensors
from equivariant.tree import rebuild


@dataclass(frozen=True)
class LayerEstimate:
    """Estimates of E |c_k|² by random probes; K calls.

    Args:
        names: Names of the contributions, ``"glue"`` last.
        mean: Estimates, shape (K+1,), float64.
        standard_error: Their standard errors over probes, shape (K+1,).
        own: E |L_k|² of each call before it is carried to the output, shape (K,).
        probes: Number of probes.
        residual: Largest |Σ_k v_k·L_k + z·glue - z·L f| over the probes, relative to the root
            mean square of z·L f; rounding, unless the model is random.
    """

    names: tuple[str, ...]
    mean: Tensor
    standard_error: Tensor
    own: Tensor
    probes: int
    residual: float


def hutchinson(
    model: nn.Module,
    x: Any,
    *,
    act_in: Any,
    act_out: Any,
    act_of: ActionOf,
    direction: Tensor,
    probes: int = 100,
    layers: Sequence[str] | None = None,
    forward: Callable[[Any], Any] | None = None,
    group: Group | None = None,
    method: DerivativeMethod = "forward",
    generator: torch.Generator | None = None,
) -> LayerEstimate:
    """Estimate what each layer adds to a local error, as lie-deriv does, on any graph.

    A layer's own local error L_k, the derivative of its output less that of ρ_k(exp(tX)) on its
    clean output while all calls before it behaved, reaches the output as c_k = J_k L_k. With
    z ~ N(0, I) on the output and v_k = J_kᵀ z from one backward pass for all layers,

        E (v_k · L_k)² = |J_k L_k|²,   Σ_k v_k · L_k + z · glue = z · L f

    The items of a batch share each probe; their probes are independent, so that the square of
    the sum over items is unbiased for the sum of squares. A standard error is about
    √(2 / probes) of its estimate: :func:`attribute` is exact, and K forward passes.

    Args:
        model: The model, in evaluation mode, differentiable by autograd.
        x: Input.
        act_in: Action on x: an action, a tree of actions, a function with ``group``, or a motion.
        act_out: The same for the output.
        act_of: The same for the output of each layer, as in :func:`attribute`.
        direction: Coordinates of X, shape (dim,).
        probes: Number of backward passes, at least 2.
        layers: Paths of modules to watch, as in :func:`attribute`.
        forward: How the model is called on x; None is ``model(x)``.
        group: The group, where actions are plain functions.
        method: How local errors are differentiated.
        generator: Source of the probes; None uses a fresh generator with seed 0.

    Raises:
        ConventionError: A layer does not exist, or the calls depend on the input.
        ShapeError: An action does not fit what it acts on.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> model = nn.Sequential(nn.Tanh(), nn.Identity())
        >>> x, action = torch.randn(8, 3, dtype=torch.float64), Vectors(SO3())
        >>> found = hutchinson(
        ...     model, x, act_in=action, act_out=action, act_of=lambda layer, output: action,
        ...     direction=torch.tensor([0.0, 0.0, 1.0]),
        ... )
        >>> bool(found.mean[0] > 0), bool(found.mean[1] < 1e-20), found.residual < 1e-12
        (True, True, True)

    Source: Gruver et al. 2023, published code; the graph of calls is ours.
    """
    motion_in, motion_out = as_motion(act_in, group), as_motion(act_out, group)
    group = common_group(motion_in, motion_out)
    group.check_coordinates(direction, "direction")
    generator = generator or torch.Generator().manual_seed(0)
    declared = DeclaredLayers(model, x, act_of=act_of, layers=layers, forward=forward, group=group)
    precision, device = moved_dtype(motion_in, x)
    step = direction.to(device=device, dtype=torch.float64)
    own, whole = (
        derivative(curve, method=method, precision=precision, device=device)
        for curve in (
            _own_errors(declared, motion_in, motion_out, group, step),
            lie_curve(declared.forward, x, motion_in, motion_out, group, step),
        )
    )
    identity = group.identity().to(device)
    drawn = _probe(declared, motion_in, motion_out, identity, own, whole, probes, generator)
    terms, totals = drawn[:, :-1], drawn[:, -1]
    items = motion_in.items(x)
    squares = terms.square() / items
    size = float(totals.square().mean().sqrt())
    gap = float((terms.sum(1) - totals).abs().max())
    return LayerEstimate(
        names=(*(call.name for call in declared.calls), "glue"),
        mean=squares.mean(0),
        standard_error=squares.std(0) / probes**0.5,
        own=torch.stack([_square(own, f"{k}|") / items for k in range(len(declared.calls))]),
        probes=probes,
        residual=0.0 if gap == 0.0 else gap / max(size, 1e-300),
    )


def _own_errors(
    declared: DeclaredLayers, act_in: Motion, act_out: Motion, group: Group, direction: Tensor
) -> Callable[[Tensor], dict[str, Tensor]]:
    """t ↦ output of each call less its moved clean output, and of the model less g f(x).

    One run finds all, since each call's output is replaced before the next one sees it. Keys
    are ``"k|path"``, and ``"glue|path"``.
    """

    def curve(t: Tensor) -> dict[str, Tensor]:
        g = group.exp(t * direction)
        found: dict[str, Tensor] = {}

        def change(number: int, output: Any) -> Any:
            moved = declared.calls[number].moved(g)
            behaved = floating(moved)
            for name, value in floating(output).items():
                found[f"{number}|{name}"] = value - behaved[name]
            return moved

        y = declared.run(act_in.move(g, declared.x), change)
        end = part_tensors(act_out, act_out.move(g, declared.y))
        for name, value in part_tensors(act_out, y).items():
            found[f"glue|{name}"] = value - end[name]
        return found

    return curve


def _probe(
    declared: DeclaredLayers,
    act_in: Motion,
    act_out: Motion,
    identity: Tensor,
    own: dict[str, Tensor],
    whole: dict[str, Tensor],
    probes: int,
    generator: torch.Generator,
) -> Tensor:
    """v_k·L_k of each call, z·glue, and z·L f of each probe, shape (probes, K+2), float64."""
    added: dict[str, Tensor] = {}

    def change(number: int, output: Any) -> Any:
        def with_zero(name: str, leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
                return leaf
            added[f"{number}|{name}"] = torch.zeros_like(leaf, requires_grad=True)
            return leaf + added[f"{number}|{name}"]

        return rebuild(output, with_zero)

    with torch.enable_grad():
        y = part_tensors(act_out, declared.run(declared.x, change))
    drawn = []
    for _ in range(probes):
        z = {
            name: kept(act_out, identity, name,
                       random_normal(tuple(v.shape), generator=generator).to(v))
            for name, v in y.items()
        }  # fmt: skip
        gradients = torch.autograd.grad(
            list(y.values()), list(added.values()), list(z.values()),
            retain_graph=True, allow_unused=True,
        )  # fmt: skip
        terms = torch.zeros(len(declared.calls) + 2, dtype=torch.float64)
        for key, v in zip(added, gradients, strict=True):
            if v is not None:
                terms[int(key.split("|")[0])] += float((v.double() * own[key]).sum())
        for name, probe in z.items():
            terms[-2] += float((probe.double() * own[f"glue|{name}"]).sum())
            terms[-1] += float((probe.double() * whole[name]).sum())
        drawn.append(terms)
    return torch.stack(drawn)


def _square(found: dict[str, Tensor], start: str) -> Tensor:
    squares = [value.square().sum() for key, value in found.items() if key.startswith(start)]
    return torch.stack(squares).sum()
