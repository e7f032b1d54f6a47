"""A mixture of Gaussians of one width: expectation and maximization, and its derivative."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from equivariant.errors import ConventionError, check_option
from equivariant.shapes import Bool, Float

Gradient = Literal["implicit", "detached"]

LEAST_LOG = -10.0
_TINY = 1e-30
_SOLVED = 1e-12
_MOST_STEPS = 2000


@dataclass(frozen=True)
class Mixture:
    """Components of mixtures, one mixture per cloud.

    Args:
        centers: Shape (batch, components, 3).
        shares: π, shape (batch, components), zero for components that are not there; sum 1.
        alive: Which components are there; at least one per cloud.
    """

    centers: Float[Tensor, "batch components 3"]
    shares: Float[Tensor, "batch components"]
    alive: Bool[Tensor, "batch components"]

    @classmethod
    def of(
        cls, votes: Float[Tensor, "batch items 3"], mass: Float[Tensor, "batch items"]
    ) -> Mixture:
        """One component at every item that has mass, with that share.

        Args:
            votes: Shape (batch, items, 3).
            mass: Not negative, sum 1 for each cloud.
        """
        return cls(votes, mass, mass > 0)


@dataclass(frozen=True)
class MixtureEnergy:
    """What the components minimize: likelihood, and a penalty on components that coincide.

        E(μ, π) = - Σ_i m_i log Σ_j π_j exp(-|y_i - μ_j|² / 2σ²)
                  - τ Σ_{j ≠ j'} π_j π_j' min(0, log(|μ_j - μ_j'|² / 2σ²))

    m_i is the mass of the vote y_i, sum 1. The logarithm is that of the divergence of two
    components; as two of them meet, it falls and drives the product of their shares to zero. It
    counts only below 0 (closer than √2 σ), where the paper lets it grow without end: so
    components of parts that are far apart do not feel one another. It is cut at -10.

    Args:
        sigma: σ, in the unit of the votes, positive.
        merging: τ, in [0, 0.05).

    Raises:
        ConventionError: Out of range.

    Example:
        >>> energy = MixtureEnergy(sigma=1.0)
        >>> y, mass = torch.tensor([[[0.0, 0, 0], [0.1, 0, 0]]]), torch.tensor([[0.5, 0.5]])
        >>> found = energy.minimize(Mixture.of(y, mass), y, mass, iterations=100)
        >>> found.centers[0, :, 0].mean().item() < 0.06
        True

    Source: Atzmon et al. 2024, section on the prediction of partitions; Dempster et al. 1977.
    """

    sigma: float
    merging: float = 1e-2

    def __post_init__(self) -> None:
        if not (self.sigma > 0 and 0 <= self.merging < -0.5 / LEAST_LOG):
            raise ConventionError(
                expected="a positive sigma and merging in [0, 0.05)",
                got=f"sigma {self.sigma}, merging {self.merging}", argument="sigma",
                advice="sigma is the width of a component, in the unit of the clouds.",
            )  # fmt: skip

    def value(
        self, mixture: Mixture, votes: Float[Tensor, "batch items 3"],
        mass: Float[Tensor, "batch items"],
    ) -> Float[Tensor, " batch"]:  # fmt: skip
        """E of each cloud.

        Args:
            mixture: Where.
            votes: Shape (batch, items, 3).
            mass: Shape (batch, items).
        """
        evidence = self.log_joint(mixture, votes).logsumexp(-1)
        penalty = (mixture.shares * self._crowding(mixture)).sum(-1)
        return -(mass * evidence).sum(-1) - self.merging * penalty

    def log_joint(
        self, mixture: Mixture, votes: Float[Tensor, "batch items 3"]
    ) -> Float[Tensor, "batch items components"]:
        """log π_j - |y_i - μ_j|² / 2σ², minus infinity for components that are not there.

        Args:
            mixture: Components.
            votes: Shape (batch, items, 3).
        """
        away = _squared_distances(votes, mixture.centers)
        log_shares = mixture.shares.clamp(min=_TINY).log().unsqueeze(1)
        joint = log_shares - away / (2 * self.sigma**2)
        return joint.masked_fill(~mixture.alive.unsqueeze(1), -torch.inf)

    def step(
        self, mixture: Mixture, votes: Float[Tensor, "batch items 3"],
        mass: Float[Tensor, "batch items"], *, detached: bool = False,
    ) -> Mixture:  # fmt: skip
        """One round of expectation and maximization, with one step against crowding.

            r_ij = softmax_j(log π_j - |y_i - μ_j|² / 2σ²),   N_j = Σ_i m_i r_ij
            μ_j ← Σ_i m_i r_ij y_i / N_j
            π_j ∝ max(0, N_j + 2 τ π_j Σ_{j' ≠ j} π_j' min(0, log(|μ_j - μ_j'|² / 2σ²)))

        Without τ the likelihood does not fall. Components that lose all mass stay where they are.

        Args:
            mixture: Components so far.
            votes: Shape (batch, items, 3).
            mass: Shape (batch, items).
            detached: Hold r constant under differentiation.
        """
        share = self.log_joint(mixture, votes).softmax(-1)
        if detached:
            share = share.detach()
        taken = share * mass.unsqueeze(2)
        total = taken.sum(1)
        filled = total > _TINY
        weighted = torch.einsum("bij,bix->bjx", taken, votes)
        means = weighted / total.masked_fill(~filled, 1.0).unsqueeze(2)
        centers = torch.where(filled.unsqueeze(2), means, mixture.centers)
        shares = total
        if self.merging:
            crowding = self._crowding(replace(mixture, centers=centers))
            shares = (total + 2 * self.merging * mixture.shares * crowding).clamp(min=0)
        shares = shares / shares.sum(-1, keepdim=True)
        return Mixture(centers, shares, mixture.alive & (shares > _TINY))

    def minimize(
        self, mixture: Mixture, votes: Float[Tensor, "batch items 3"],
        mass: Float[Tensor, "batch items"], *, iterations: int = 20,
        tolerance: float = 0.0,
    ) -> Mixture:  # fmt: skip
        """Rounds of :meth:`step`, without a derivative.

        Args:
            mixture: Where to begin.
            votes: Shape (batch, items, 3).
            mass: Shape (batch, items).
            iterations: The most rounds, at least 1.
            tolerance: Stop as soon as no number moves by more than this (centres in units of σ).
        """
        with torch.no_grad():
            for _ in range(iterations):
                new = self.step(mixture, votes, mass)
                moved = (new.centers - mixture.centers).abs().max() / self.sigma
                change = torch.maximum(moved, (new.shares - mixture.shares).abs().max())
                mixture = new
                if tolerance and float(change) <= tolerance:
                    break
        return mixture

    def differentiable(
        self, mixture: Mixture, votes: Float[Tensor, "batch items 3"],
        mass: Float[Tensor, "batch items"], *, gradient: Gradient = "implicit",
    ) -> Mixture:  # fmt: skip
        """The same components, with their derivative with respect to the votes.

        α* = (μ, π) is a fixed point of the round T, α* = T(α*, Y), whatever path led there:

            dα*/dY = (1 - ∂T/∂α)⁻¹ ∂T/∂Y        "implicit"
            dμ_j/dy_i = m_i r_ij / N_j           "detached": r held constant

        The first is exact at a converged mixture whose components are apart; the linear system is
        solved by repeating the transposed round, up to 2,000 times, until nothing moves by more
        than 1e-12 of the gradient. The second costs one round, and is what the Fisher scoring
        step of the paper reduces to.

        Args:
            mixture: Converged components.
            votes: Shape (batch, items, 3), with a graph behind them.
            mass: Shape (batch, items).
            gradient: "implicit" or "detached".

        Raises:
            ConventionError: Another word.
        """
        check_option(gradient, ("implicit", "detached"), "gradient")
        fixed = Mixture(mixture.centers.detach(), mixture.shares.detach(), mixture.alive)
        if gradient == "detached":
            return self.step(fixed, votes, mass, detached=True)
        flat = _flat(self.step(fixed, votes, mass))
        if flat.requires_grad:
            start = _flat(fixed).requires_grad_()
            with torch.enable_grad():
                again = _flat(self.step(_unflat(start, fixed), votes.detach(), mass))
            flat.register_hook(lambda grad: _solve(grad, start, again))
        return replace(_unflat(flat, fixed), alive=fixed.alive)

    def _crowding(self, mixture: Mixture) -> Float[Tensor, "batch components"]:
        """Σ_{j' ≠ j} π_j' min(0, log(|μ_j - μ_j'|² / 2σ²))."""
        centers = mixture.centers
        away = _squared_distances(centers, centers)
        divergence = (away / (2 * self.sigma**2)).clamp(math.exp(LEAST_LOG), 1.0).log()
        itself = torch.eye(away.shape[-1], dtype=torch.bool, device=away.device)
        crowding: Tensor = (divergence.masked_fill(itself, 0.0) * mixture.shares.unsqueeze(1)).sum(
            -1
        )
        return crowding


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|² from differences, axis by axis: three small arrays instead of one of triples."""
    x, y, z = (a[..., axis, None] - b[..., None, :, axis] for axis in range(3))
    return x.square() + y.square() + z.square()


def _flat(mixture: Mixture) -> Tensor:
    return torch.cat([mixture.centers.flatten(1), mixture.shares], 1)


def _unflat(flat: Tensor, like: Mixture) -> Mixture:
    count = like.shares.shape[1]
    centers = flat[:, : 3 * count].unflatten(1, (count, 3))
    return Mixture(centers, flat[:, 3 * count :], like.alive)


def _solve(grad: Tensor, start: Tensor, again: Tensor) -> Tensor:
    """h with h = grad + (∂T/∂α)ᵀ h."""
    found = grad
    for _ in range(_MOST_STEPS):
        (pulled,) = torch.autograd.grad(again, start, found, retain_graph=True)
        new = grad + pulled
        moved = (new - found).abs().max()
        found = new
        if float(moved) <= _SOLVED * float(grad.abs().max()):
            break
    return found
