"""Temperatures of single anchors, from a distributionally robust objective."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.losses.checks import (
    check_count,
    check_indices,
    check_paired,
    check_positive,
    check_rows,
    check_share,
    check_width,
)
from equivariant.losses.contrast.core import contrast
from equivariant.losses.contrast.pairs import Same
from equivariant.losses.contrast.sides import Side
from equivariant.losses.contrast.similarity import unit
from equivariant.losses.contrast.statistics import Boltzmann
from equivariant.losses.temperatures.temperature import PerAnchor

_NEGATIVES = Same("id").not_self()


class IndividualTemperature(nn.Module):
    """A temperature for every sample of a data set, trained beside the embeddings.

    With h_ij = s_ij - s_ip over the negatives j of anchor i (both views of other samples),

        F_i(τ_i) = τ_i log mean_j exp(h_ij / τ_i) + τ_i ρ,   τ_i in [low, high]

    The mean is replaced by a running one, u_i ← (1 - γ) u_i + γ mean_j exp(h_ij / τ_i), kept as
    a logarithm: gradients of small batches are then those of large ones. τ_i descends its own
    averaged, clipped gradient. In evaluation mode nothing is updated.

    Args:
        samples: Size of the data set; the state has three numbers per sample and view.
        rho: ρ >= 0; the larger, the lower the temperatures.
        gamma: γ in (0, 1]; 1 uses the batch alone.
        start: First τ.
        low: Smallest τ > 0.
        high: Largest τ.
        rate: Step of τ.
        average: Share of the old gradient of τ in its average, in [0, 1); the released code's
            β_u, 0.9, is the share of the new one.
        clip: Largest gradient of τ.
        shared: Whether both views of a sample have one τ and one running mean, of
            exp(s_ij / τ), as in the released code; else each has its own.

    Raises:
        ConventionError: The bounds are not 0 < low <= start <= high, γ is outside (0, 1], or
            another number is out of its range.

    Source: Qiu et al. 2023 (iSogCLR)
    """

    tau: Tensor
    log_u: Tensor
    slope: Tensor

    def __init__(
        self,
        samples: int,
        *,
        rho: float = 6.0,
        gamma: float = 0.8,
        start: float = 0.1,
        low: float = 0.05,
        high: float = 1.0,
        rate: float = 1e-3,
        average: float = 0.1,
        clip: float = 3.0,
        shared: bool = False,
    ) -> None:
        super().__init__()
        if not 0.0 < low <= start <= high < math.inf or not 0.0 < gamma <= 1.0:
            raise ConventionError(
                expected="0 < low <= start <= high and gamma in (0, 1]",
                got=f"low={low}, start={start}, high={high}, gamma={gamma}",
                argument="start",
                advice="Published: start 0.1 in [0.05, 1], gamma 0.8.",
            )
        check_count(samples, "samples", "Pass the size of the data set.")
        _check_rho(rho)
        check_positive(rate, "rate", "The published value is 1e-3.")
        check_positive(clip, "clip", "The published value is 3.")
        if not 0.0 <= average < 1.0:
            raise ConventionError(
                expected="a share in [0, 1)", got=str(average), argument="average",
                advice="The published value is 0.1.",
            )  # fmt: skip
        self.rho, self.gamma, self.low, self.high = rho, gamma, low, high
        self.rate, self.average, self.clip, self.shared = rate, average, clip, shared
        views = 1 if shared else 2
        self.register_buffer("tau", torch.full((views, samples), start))
        self.register_buffer("log_u", torch.full((views, samples), -math.inf))
        self.register_buffer("slope", torch.zeros(views, samples))

    def forward(self, a: Tensor, b: Tensor, sample: Tensor) -> Tensor:
        """Losses of the 2N views, shape (2N,), whose mean's gradient trains the embeddings.

        Args:
            a: First views, shape (N, D).
            b: Second views, shape (N, D).
            sample: Number of each object in the data set, shape (N,), int64; no one twice.
        """
        check_numbers(sample, self.tau.shape[1])
        place = self._places(sample)
        tau = self.tau.flatten()[place].to(a)
        side = Side.views(a, b, id=torch.arange(len(a), device=a.device)).replace(tau=tau)
        positive = (unit(a) * unit(b)).sum(1).repeat(2)
        pushed = _push(side)
        with torch.no_grad():
            zero = 0.0 if self.shared else positive
            log_now = pushed - zero / tau
            old = self.log_u.flatten()[place].to(a)
            new = torch.logaddexp(old + math.log1p(-self.gamma), log_now + math.log(self.gamma)) \
                if self.gamma < 1.0 else log_now  # fmt: skip
            log_u = torch.where(old > -math.inf, new, log_now)
            ratio = (log_now - log_u).exp()
            mean = _mean_similarity(side, tau) - zero
            slope = log_u + self.rho - ratio * mean / tau
            if self.training:
                self._descend(place, log_u, slope)
        value = ratio * tau * pushed - positive
        exact = tau * (log_u + self.rho) - (positive - zero)
        return value + (exact - value).detach()

    def _places(self, sample: Tensor) -> Tensor:
        """Where the state of the 2N views is in the flattened buffers, shape (2N,)."""
        return torch.cat([sample, sample if self.shared else sample + self.tau.shape[1]])

    def _descend(self, place: Tensor, log_u: Tensor, slope: Tensor) -> None:
        if self.shared:
            place = place[: len(place) // 2]
            log_u = log_u.unflatten(0, (2, -1)).logsumexp(0) - math.log(2.0)
            slope = slope.unflatten(0, (2, -1)).mean(0)
        averaged, tau = self.slope.flatten(), self.tau.flatten()
        clipped = slope.to(averaged).clamp(-self.clip, self.clip)
        averaged[place] = self.average * averaged[place] + (1.0 - self.average) * clipped
        tau[place] = (tau[place] - self.rate * averaged[place]).clamp(self.low, self.high)
        self.log_u.view(-1)[place] = log_u.to(self.log_u)
        self.slope.copy_(averaged.view_as(self.slope))
        self.tau.copy_(tau.view_as(self.tau))


def check_numbers(sample: Tensor, samples: int) -> None:
    """Refuse numbers of samples that are no integers of the data set, or come twice."""
    if sample.ndim != 1 or sample.is_floating_point() or sample.is_complex():
        raise ConventionError(
            expected="one integer per object, shape (N,)",
            got=f"{sample.dtype} of shape {tuple(sample.shape)}", argument="sample",
            advice="Number the samples of the data set from 0.",
        )  # fmt: skip
    if len(torch.unique(sample)) < len(sample) or len(sample) < 2:
        raise ConventionError(
            expected="at least two samples, no one twice", got=f"{len(sample)} rows",
            argument="sample", advice="Draw batches without replacement.",
        )  # fmt: skip
    check_indices(sample, samples, "sample", "Pass the size of the data set as samples=.")


class TemperatureNetwork(nn.Module):
    """Predicts each anchor's temperature, and is trained by the robust objective that uses it.

        x = σ(W z),   c = x Cᵀ (unit rows of C),
        τ = low + (high - low) σ(linear[(softmax(c / eᵃ) - 1/M) ⊙ σ(c)])

    The network sees embeddings without gradient; see :class:`IndividualTemperature` for F.

    Args:
        dim: Width of the embeddings.
        prototypes: M, rows of C.
        low: Smallest τ > 0.
        high: Largest τ.
        rho: ρ >= 0.
        dropout: Probability on x, in [0, 1].

    Raises:
        ConventionError: Not 0 < low < high, or another number is out of its range.

    Source: Qiu et al. 2024 (TempNet).
    """

    def __init__(
        self,
        dim: int,
        *,
        prototypes: int = 256,
        low: float = 0.005,
        high: float = 0.05,
        rho: float = 6.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0.0 < low < high < math.inf:
            raise ConventionError(
                expected="0 < low < high", got=f"low={low}, high={high}", argument="low",
                advice="Published bounds are 0.005 and 0.05.",
            )  # fmt: skip
        check_count(dim, "dim", "Pass the width of the embeddings.")
        check_count(prototypes, "prototypes", "The published value is 256.")
        check_share(dropout, "dropout", "The published value is 0.5.")
        _check_rho(rho)
        self.low, self.high, self.rho = low, high, rho
        self.project = nn.Linear(dim, dim)
        self.drop = nn.Dropout(dropout)
        self.prototypes = nn.Parameter(torch.randn(prototypes, dim))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.last = nn.Linear(prototypes, 1)

    @torch.no_grad()
    def start_as_published(self) -> None:
        """The released code's first values: eᵃ = 0.01, and a last layer of ones without bias."""
        self.log_scale.fill_(math.log(0.01))
        self.last.weight.fill_(1.0)
        self.last.bias.zero_()

    def temperature(self, z: Tensor) -> Tensor:
        """τ of each row of z, shape (N,)."""
        x = self.drop(torch.sigmoid(self.project(z)))
        scores = x @ unit(self.prototypes).T
        share = torch.softmax(scores / self.log_scale.exp(), 1) - 1.0 / scores.shape[1]
        score = self.last(share * torch.sigmoid(scores))[:, 0]
        return self.low + (self.high - self.low) * torch.sigmoid(score)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """F of the 2N views, shape (2N,), differentiable by embeddings and by the network.

        Args:
            a: First views, shape (N, D), N >= 2: one object alone has no negatives.
            b: Second views, shape (N, D).

        Raises:
            ShapeError: There is one object alone, the shapes differ, or the width is not ``dim``.
        """
        check_rows(a)
        check_paired(a, b)
        check_width(a, self.project.in_features, "a")
        z = torch.cat([a, b])
        tau = self.temperature(z.detach().to(self.project.weight)).to(z)
        side = Side.views(a, b).replace(tau=tau)
        positive = (unit(a) * unit(b)).sum(1).repeat(2)
        return tau * (_push(side) + self.rho) - positive


def _check_rho(rho: float) -> None:
    if not 0.0 <= rho < math.inf:
        raise ConventionError(
            expected="a finite number of at least 0", got=str(rho), argument="rho",
            advice="The published values lie between 6 and 8.",
        )  # fmt: skip


def _push(side: Side) -> Tensor:
    """log mean_j exp(s_ij / τ_i) over the negatives of each anchor."""
    result = contrast(
        side, side, _NEGATIVES.without_same("id"), tau=PerAnchor(), pull="none", push="lme"
    )
    return result.per_anchor


def _mean_similarity(side: Side, tau: Tensor) -> Tensor:
    """Σ_j softmax_j(s_ij / τ_i) s_ij over the negatives of each anchor."""
    result = contrast(
        side, side, _NEGATIVES.without_same("id"), tau=PerAnchor(), pull="none",
        push=Boltzmann(1.0),
    )  # fmt: skip
    return result.per_anchor * tau
