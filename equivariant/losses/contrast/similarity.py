"""Similarities as matrix products of two feature maps."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor

from equivariant.actions import Action
from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.contrast.sides import Side
from equivariant.losses.transforms import transformed
from equivariant.shapes import Float


class Similarity(ABC):
    """A similarity s(q, k) = f(⟨φ(q), ψ(k)⟩), so that all pairs are one matrix product."""

    exact = True
    """Whether f is the identity."""

    @abstractmethod
    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        """Feature maps φ(q), shape (N, E), and ψ(k), shape (M, E)."""

    def finish(self, product: Tensor) -> Tensor:
        """The monotone map f, entry by entry."""
        return product

    def matrix(self, q: Side, k: Side) -> Float[Tensor, "n m"]:
        """All similarities, shape (N, M)."""
        left, right = self.maps(q, k)
        return self.finish(left @ right.T)


@dataclass(frozen=True)
class Cosine(Similarity):
    """⟨q, k⟩ / (|q| |k|); the similarity of a zero vector is 0, and so is its gradient.

    Args:
        eps: Vectors shorter than this count as zero.
    """

    eps: float = 1e-8

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        return unit(q.z, self.eps), unit(k.z, self.eps)


@dataclass(frozen=True)
class Dot(Similarity):
    """⟨q, k⟩.

    Args:
        unit: Divide the anchors by their lengths first.

    With the rows of :func:`product` as candidates it is the multilinear inner product
    Σ_d a_d b_d c_d of three or more modalities (Saporta et al. 2024).
    """

    unit: bool = False

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        return (unit(q.z) if self.unit else q.z), k.z


@dataclass(frozen=True)
class NegativeSquaredDistance(Similarity):
    """-|q - k|² = ⟨[2q, -|q|², -1], [k, 1, |k|²]⟩.

    Args:
        unit: Divide vectors by their lengths first.
        of: Names of further per-row vectors whose squared distances are added: the similarity of
            joined spaces, as in the joint entropy of common and salient parts.
    """

    unit: bool = False
    of: tuple[str, ...] = ()

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        u = torch.cat([self._scaled(x.to(q.z)) for x in (q.z, *map(q.get, self.of))], 1)
        v = torch.cat([self._scaled(x.to(q.z)) for x in (k.z, *map(k.get, self.of))], 1)
        one_u, one_v = torch.ones_like(u[:, :1]), torch.ones_like(v[:, :1])
        left = torch.cat([2 * u, -u.square().sum(1, keepdim=True), -one_u], 1)
        right = torch.cat([v, one_v, v.square().sum(1, keepdim=True)], 1)
        return left, right

    def _scaled(self, z: Tensor) -> Tensor:
        return unit(z) if self.unit else z


@dataclass(frozen=True)
class NegativeDistance(Similarity):
    """-|q - k|; where two vectors coincide its gradient is 0.

    Args:
        unit: Divide vectors by their lengths first.
    """

    exact = False

    unit: bool = False

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        return NegativeSquaredDistance(unit=self.unit).maps(q, k)

    def finish(self, product: Tensor) -> Tensor:
        # Squares below rounding are those of vectors that coincide.
        near = -product <= 8 * torch.finfo(product.dtype).eps
        return torch.where(near, 0.0, -torch.where(near, 1.0, -product).sqrt())


@dataclass(frozen=True)
class NegativeSquaredAngle(Similarity):
    """-θ², θ = arccos of the cosine in [0, π]; its slope is finite also at θ = 0.

    The derivative of -θ² by the cosine is 2θ / sin θ, which tends to 2 as θ → 0 and grows
    without bound at antipodes only; cosines below -1 + 1e-6 are treated as if they were that.
    """

    exact = False

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        return unit(q.z), unit(k.z)

    def finish(self, product: Tensor) -> Tensor:
        # Near θ = 0, arccos has no derivative; its square has the series in h = 1 - cos θ:
        # θ² = 2h + h²/3 + 4h³/45 + O(h⁴).
        h = (1.0 - product).clamp(min=0.0)
        near = h < 1e-3
        safe = torch.where(near, 0.5, product.clamp(min=-1.0 + 1e-6))
        series = 2 * h + h.square() / 3 + 4 * h**3 / 45 + h**4 / 35
        return -torch.where(near, series, torch.acos(safe).square())


@dataclass(frozen=True)
class Gated(Similarity):
    """cos(gate ⊙ q, gate ⊙ k): vectors compared in a subspace.

    Args:
        gate: Factors of the columns, shape (D,), finite; gradients flow to them.

    Raises:
        ShapeError: The gate has another width (when evaluated).
        ConventionError: A side has irreps on whose components the gate differs (when evaluated):
            the comparison would no longer be invariant.
    """

    gate: Tensor

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        if self.gate.shape != q.z.shape[1:]:
            raise ShapeError(
                expected=f"one factor per column, shape ({q.z.shape[1]},)",
                got=f"shape {tuple(self.gate.shape)}",
                argument="gate",
                advice="A gate scales the columns of z.",
            )
        for side in (q, k):
            check_constant_on_irreps(self.gate, side.irreps, "gate")
        gate = self.gate.to(q.z)
        return unit(q.z * gate), unit(k.z * gate)


@dataclass(frozen=True)
class Canonical(Similarity):
    """cos(ρ(g_i)⁻¹ q_i, ρ(h_j)⁻¹ k_j): every pair compared in its own common frame.

    For an orthogonal ρ this equals cos(ρ(h_j g_i⁻¹) q_i, k_j), the anchor moved to each
    candidate's pose, at the cost of one action per row.

    Args:
        action: Acts on the columns of z; orthogonal.

    Raises:
        ConventionError: The action is not orthogonal; a side does not know its poses (when
            evaluated).
    """

    action: Action

    def __post_init__(self) -> None:
        if not self.action.orthogonal:
            raise ConventionError(
                expected="an orthogonal action, so that lengths and angles survive it",
                got=repr(self.action),
                argument="action",
                advice="Use Vectors or IrrepsAction of rotations, or move the anchors yourself "
                "and use Cosine.",
            )

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        return self._still(q), self._still(k)

    def _still(self, side: Side) -> Tensor:
        # Of an orthogonal group's elements the transpose is the inverse, but an orthogonal
        # action may belong to a group that is none: the group inverts.
        pose = side.get("pose").to(side.z)
        group = self.action.group
        inverse = pose.mT if group is None else group.inverse(pose)
        return unit(self.action(inverse, side.z))


@dataclass(frozen=True)
class Bonus(Similarity):
    """A number that each candidate knows, whatever the anchor; a part of a :class:`Sum`.

    Args:
        name: What candidates know it by, shape (M,).
    """

    name: str

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        return torch.ones_like(q.z[:, :1]), k.get(self.name).to(k.z)[:, None]


@dataclass(frozen=True)
class Sum(Similarity):
    """Σ_m w_m s_m(q, k), computed as one product of joined feature maps.

    Args:
        parts: Similarities without a map after the product.
        weights: One finite weight per part; all 1 by default.

    Raises:
        ConventionError: No part, another number of weights, or a part whose similarity is not
            a plain product.
    """

    parts: tuple[Similarity, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        wrong = [part for part in self.parts if not part.exact]
        if not self.parts or wrong or len(self.weights) not in (0, len(self.parts)):
            raise ConventionError(
                expected="at least one similarity that is a plain product, a weight for each",
                got=f"{self.parts}, weights {self.weights}",
                argument="parts",
                advice="NegativeSquaredAngle cannot be summed; leave weights empty for all 1.",
            )

    def maps(self, q: Side, k: Side) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        weights = self.weights or (1.0,) * len(self.parts)
        maps = [part.maps(q, k) for part in self.parts]
        left = torch.cat([w * phi for w, (phi, _) in zip(weights, maps, strict=True)], 1)
        return left, torch.cat([psi for _, psi in maps], 1)


def product(*sides: Side) -> Side:
    """Entrywise products of the rows of sides, Π_m z^m_i, with the names of the first.

    Args:
        sides: One or more, all of shape (N, D).

    Raises:
        ShapeError: Shapes differ.
    """
    if len({tuple(side.z.shape) for side in sides}) != 1:
        raise ShapeError(
            expected="sides of one shape",
            got=", ".join(str(tuple(side.z.shape)) for side in sides) or "none",
            argument="sides",
            advice="Row i of every side must show object i.",
        )
    return sides[0].replace(math.prod([side.z for side in sides[1:]], start=sides[0].z))


def unit(z: Tensor, eps: float = 1e-8) -> Tensor:
    """Rows divided by their lengths; rows shorter than eps become 0, with gradient 0.

    Rows with NaN or infinity, and those whose squared length overflows, become NaN.
    """
    if transformed(z):
        return z * _one_over_length(z, eps)
    rows: Tensor = _Unit.apply(z, eps)  # type: ignore[no-untyped-call]
    return rows


def _one_over_length(z: Tensor, eps: float) -> Tensor:
    """Factors of the rows, shape (..., 1)."""
    square = z.square().sum(-1, keepdim=True)  # smooth at 0, as a length is not
    short = square <= eps**2  # not so for NaN, which goes through
    factor = torch.where(short, 1.0, square).rsqrt()
    factor = torch.where(square.isinf(), torch.nan, factor)
    return torch.where(short, 0.0, factor)


class _Unit(torch.autograd.Function):
    """u = f z with f = 1 / |z|, whose derivative maps g to f (g - u ⟨u, g⟩)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, eps: float) -> Tensor:
        factor = _one_over_length(z, eps)
        u = z * factor
        ctx.save_for_backward(z, factor, u)
        ctx.eps = eps
        return u

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        z, factor, u = ctx.saved_tensors
        if torch.is_grad_enabled():  # for second derivatives
            factor = _one_over_length(z, ctx.eps)
            u = z * factor
        along = torch.linalg.vecdot(u, grad)[..., None]
        found = torch.addcmul(grad, u, along, value=-1.0)
        return found * factor if torch.is_grad_enabled() else found.mul_(factor), None


def check_constant_on_irreps(factors: Tensor, irreps: str | None, argument: str) -> None:
    """Refuse per-column factors that differ inside an irrep of degree above 0.

    Args:
        factors: Shape (D,).
        irreps: Layout of the columns; None passes.
        argument: Its name in the error.

    Raises:
        ConventionError: They differ.
    """
    if irreps is None:
        return
    for (multiplicity, irrep), where in zip(Irreps(irreps), Irreps(irreps).slices(), strict=True):
        blocks = factors[where].reshape(multiplicity, irrep.dim)
        if bool((blocks != blocks[:, :1]).any()):
            raise ConventionError(
                expected=f"one factor per irrep, equal on the components of {irrep}",
                got="factors that differ inside it",
                argument=argument,
                advice="Repeat one factor over an irrep's components, or drop irreps= from the "
                "Side to give up invariance.",
            )
