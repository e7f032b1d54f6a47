"""How far a map is from commuting with a group action."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.actions import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.groups import Group, Product, Torus
from equivariant.shapes import Float, Matrix


@dataclass(frozen=True)
class EquivarianceReport:
    """Errors of one map, one entry per group element.

    Args:
        elements: The elements, shape (samples, n, n), float64; the identity comes first.
        absolute: max |left - right| of each element, shape (samples,), float64.
        relative: |left - right|₂ / |right|₂ of each element, shape (samples,), float64; 0 where
            both sides are zero.
        repeat: Relative difference of two evaluations at one x; where it is not far below
            ``relative``, the map is random (dropout, batch statistics) and the rest means
            nothing.
        radius: Distance of each element from the identity, shape (samples,), float64.
    """

    elements: Tensor
    absolute: Tensor
    relative: Tensor
    repeat: float
    radius: Tensor

    def __str__(self) -> str:
        worst = int(self.relative.argmax())
        return (
            f"relative {float(self.relative.mean()):.2e} mean, "
            f"{float(self.relative[worst]):.2e} worst at radius {float(self.radius[worst]):.2f}; "
            f"absolute {float(self.absolute.max()):.2e} worst; repeat {self.repeat:.2e}"
        )


def equivariance_error(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    act_in: Action,
    act_out: Action,
    samples: int = 32,
    generator: torch.Generator | None = None,
) -> EquivarianceReport:
    """Measure how far ``f`` is from commuting with a group action.

    For each drawn element g the two ways round the square are compared:

        left  = f(act_in(g, x))        move, then map
        right = act_out(g, f(x))       map, then move

    Actions are evaluated in float64, so that the ruler is finer than what it measures; f sees
    the dtype of x.

    Args:
        f: Deterministic map; put modules in evaluation mode first.
        x: Input, shape (batch, ...), floating point.
        act_in: Action on x. For point clouds this is ``Points(group)``.
        act_out: Action on f(x); ``Trivial(dim)`` asks for invariance. Of act_in's group.
        samples: Number of random elements, at least 1. The identity and, for compact groups, a
            half turn along every basis element are added: errors hide there.
        generator: Source of the elements; None uses a fresh generator with seed 0.

    Raises:
        ShapeError: f(x) does not end in ``act_out.dim`` features.
        ConventionError: act_in and act_out belong to different groups, or samples < 1.

    Example:
        >>> from equivariant.actions import Points
        >>> from equivariant.groups import SO3
        >>> points = torch.randn(4, 64, 3, dtype=torch.float64)
        >>> action = Points(SO3())
        >>> f = lambda p: p.mean(1, keepdim=True)
        >>> report = equivariance_error(f, points, act_in=action, act_out=action)
        >>> bool(report.relative.max() < 1e-12)
        True
    """
    group = act_in.group
    if group is None or act_out.group not in (None, group) or samples < 1:
        raise ConventionError(
            expected="two actions of one group, and at least one sample",
            got=f"{act_in.group}, {act_out.group}, samples={samples}",
            argument="act_out",
            advice="Trivial(dim) fits every group.",
        )
    generator = generator or torch.Generator().manual_seed(0)
    elements = torch.cat([_special(group), group.sample(samples, generator=generator)])
    with torch.no_grad():
        y = f(x)
        if y.shape[-1] != act_out.dim:
            raise ShapeError(
                expected=f"f(x) of shape (..., {act_out.dim})",
                got=f"shape {tuple(y.shape)}",
                argument="f",
                advice="act_out must act on what f returns.",
            )
        repeat = _relative(f(x).double(), y.double())
        moved_in, moved_out = deepcopy(act_in).double(), deepcopy(act_out).double()
        absolute, relative = [], []
        for g in elements.to(x.device):
            left = f(moved_in(g, x.double()).to(x.dtype)).double()
            right = moved_out(g, y.double())
            absolute.append(float((left - right).abs().max()))
            relative.append(_relative(left, right))
    identity = group.identity(len(elements))
    return EquivarianceReport(
        elements=elements,
        absolute=torch.tensor(absolute, dtype=torch.float64),
        relative=torch.tensor(relative, dtype=torch.float64),
        repeat=repeat,
        radius=group.distance(identity, elements),
    )


@dataclass(frozen=True)
class PairError:
    """Errors of an action on given pairs, one entry per pair.

    Args:
        relative: |ρ(g) z_a - z_b|₂ / ((|ρ(g) z_a|₂ + |z_b|₂) / 2), shape (N,), float64, in [0, 2].
        unmoved: The same without the action: what a map that ignores g would show.
        shuffled: The same against another pair's z_b, a reference for unrelated vectors.
        cosine: Cosine between ρ(g) z_a and z_b, shape (N,), float64.
    """

    relative: Tensor
    unmoved: Tensor
    shuffled: Tensor
    cosine: Tensor


def pair_error(
    action: Action, z_a: Float[Tensor, "pairs dim"], z_b: Float[Tensor, "pairs dim"], g: Matrix
) -> PairError:
    """Measure an action where the input cannot be moved by formula but was rendered again.

    Args:
        action: How g moves an embedding.
        z_a: Embeddings of first views, shape (N, dim).
        z_b: Embeddings of second views, shape (N, dim), which show g applied.
        g: Elements, shape (N, n, n).

    Raises:
        ShapeError: The shapes do not fit the action.

    Example:
        >>> from equivariant.actions import Vectors
        >>> from equivariant.groups import SO3
        >>> g = SO3().sample(8, generator=torch.Generator().manual_seed(0))
        >>> z = torch.randn(8, 3, dtype=torch.float64)
        >>> moved = (g @ z.unsqueeze(-1)).squeeze(-1)
        >>> bool(pair_error(Vectors(SO3()), z, moved, g).relative.max() < 1e-12)
        True
    """
    with torch.no_grad():
        moved = action(g, z_a).double()
    z_a, z_b = z_a.detach().double(), z_b.detach().double()
    return PairError(
        relative=_symmetric(moved, z_b),
        unmoved=_symmetric(z_a, z_b),
        shuffled=_symmetric(moved, z_b.roll(1, 0)),
        cosine=torch.nn.functional.cosine_similarity(moved, z_b, dim=-1),
    )


def _special(group: Group) -> Tensor:
    """The identity, and a half turn about each basis element of a group that has rotations."""
    compact = group.compact and not isinstance(group, (Product, Torus))
    turns = torch.pi * torch.eye(group.dim, dtype=torch.float64) if compact else None
    identity = group.identity(1)
    return identity if turns is None else torch.cat([identity, group.exp(turns)])


def _relative(left: Tensor, right: Tensor) -> float:
    difference, norm = float((left - right).norm()), float(right.norm())
    return 0.0 if difference == 0.0 else difference / max(norm, 1e-300)


def _symmetric(left: Tensor, right: Tensor) -> Tensor:
    norm = 0.5 * (left.norm(dim=-1) + right.norm(dim=-1))
    error: Tensor = (left - right).norm(dim=-1) / norm.clamp(min=1e-300)
    return error
