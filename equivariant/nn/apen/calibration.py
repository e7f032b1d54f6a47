"""Certificates from scenes with known parts, for scenes without."""

from __future__ import annotations

import math

import torch
from scipy.stats import beta
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.apen.error_bound import PROBABILITIES_APART, ErrorBound
from equivariant.shapes import Float

_FAR = 1e30  # of edges before calibration: finite, as saved weights must be


class Calibration(nn.Module):
    """Counts of failures on calibration scenes, by groups of scenes that look alike.

    Scenes are grouped by a score that needs no labels, the higher the less sure: -log(1 - δ) of
    the last layer. The edges of the groups are quantiles of the first third of the scenes, which
    is used for nothing else; the rest is counted. Split conformal prediction then gives, within
    each group and without any assumption on the network,

        Pr[failure of a new scene] <= E[(1 + failures) / (1 + scenes)]

    if calibration scenes and the new one are exchangeable: the new scene is equally likely to be
    any of them. What is stated as probability is the right side before the expectation. It is a
    mean over new scenes of the group and over calibration sets, not a promise about one scene.
    ``confident`` is the stronger statement for independent scenes: with probability ``level`` over
    the calibration set, the failure probability of the group is at most that (Clopper and
    Pearson's exact limit). Before :meth:`fit` all bounds are 1.

    The counts are buffers: they are saved with the network.

    Args:
        groups: At least 1.

    Example:
        >>> calibration = Calibration(groups=1)
        >>> failed = torch.zeros(99)
        >>> calibration.fit(torch.zeros(99), failed, failed, refinement=failed, change=failed)
        >>> calibration.bound(torch.zeros(2), delta=torch.zeros(2)).probability
        tensor([0.0100, 0.0100])

    Source: Vovk, Gammerman, Shafer 2005, conditional conformal prediction; Clopper, Pearson 1934.
    """

    edges: Tensor
    failures: Tensor
    scenes: Tensor
    shares: Tensor
    refinements: Tensor
    changes: Tensor
    tolerance: Tensor
    level: Tensor

    def __init__(self, groups: int = 3) -> None:
        super().__init__()
        if groups < 1:
            raise ConventionError(
                expected="at least one group", got=str(groups), argument="groups",
                advice="One group gives the same bound to every input.",
            )  # fmt: skip
        one = torch.ones(groups, dtype=torch.float64)
        self.register_buffer("edges", torch.full((groups - 1,), _FAR, dtype=torch.float64))
        self.register_buffer("failures", torch.zeros(groups, dtype=torch.int64))
        self.register_buffer("scenes", torch.zeros(groups, dtype=torch.int64))
        self.register_buffer("shares", one)
        self.register_buffer("changes", PROBABILITIES_APART * one)
        self.register_buffer("tolerance", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("refinements", torch.zeros(groups, dtype=torch.float64))
        self.register_buffer("level", torch.tensor(0.9, dtype=torch.float64))

    def fit(
        self,
        scores: Float[Tensor, " scenes"],
        failed: Float[Tensor, " scenes"],
        shares: Float[Tensor, " scenes"],
        *,
        refinement: Float[Tensor, " scenes"],
        change: Float[Tensor, " scenes"],
        tolerance: float = 0.0,
        level: float = 0.9,
    ) -> None:
        """Count what happened on calibration scenes.

        Args:
            scores: Of each scene, without its labels.
            failed: 1 where the output changed by more than the tolerance, else 0.
            shares: Share of points where it may, in [0, 1].
            refinement: λ of each scene, in [0, 1].
            change: Mean over points of the change of probabilities, in [0, √2].
            tolerance: That failures are about, not negative.
            level: Of ``share``, ``change`` and ``confident``, in (0, 1).

        Raises:
            ShapeError: Not one number per scene, or no scene.
            ConventionError: A level or number out of range.
        """
        _check(scores, (failed, shares, refinement, change / PROBABILITIES_APART), level)
        groups, count = len(self.scenes), len(scores)
        scores, failed, shares, refinement, change = (
            v.detach().to(self.shares) for v in (scores, failed, shares, refinement, change)
        )
        used = count // 3 if groups > 1 else 0
        with torch.no_grad():
            if groups > 1:
                levels = torch.arange(1, groups, dtype=torch.float64, device=scores.device) / groups
                self.edges.copy_(torch.quantile(scores[:used], levels))
            self.level.fill_(level)
            self.tolerance.fill_(tolerance)
            group = self.group(scores[used:])
            for k in range(groups):
                own = group == k
                number = int(own.sum())
                self.scenes[k] = number
                self.failures[k] = int((failed[used:][own] > 0).sum())
                self.refinements[k] = refinement[used:][own].sum()
                self.shares[k] = _quantile(shares[used:][own], level, otherwise=1.0)
                self.changes[k] = _quantile(
                    change[used:][own], level, otherwise=PROBABILITIES_APART
                )

    def group(self, scores: Float[Tensor, " batch"]) -> Tensor:
        """Group of each score, int64; a score on an edge belongs to the lower group."""
        wide = scores.detach().to(self.edges)
        return torch.bucketize(wide, self.edges)

    def bound(
        self, scores: Float[Tensor, " batch"], *, delta: Float[Tensor, " batch"]
    ) -> ErrorBound:
        """The bounds for new inputs.

        Args:
            scores: Of each input.
            delta: δ of each input.
        """
        group, dtype = self.group(scores), delta.dtype
        probability = (1 + self.failures).double() / (1 + self.scenes).double()
        refinement = (1 + self.refinements) / (1 + self.scenes).double()
        return ErrorBound(
            probability=probability[group].to(dtype), refinement=refinement[group].to(dtype),
            delta=delta.detach(), share=self.shares[group].to(dtype),
            change=self.changes[group].to(dtype), tolerance=float(self.tolerance),
            level=float(self.level), largest=PROBABILITIES_APART,
        )  # fmt: skip

    def confident(self, scores: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Upper limits on the failure probabilities, right with probability ``level`` each.

        Args:
            scores: Of each input.
        """
        limits = [
            1.0
            if failed == number
            else float(beta.ppf(self.level.item(), failed + 1, number - failed))
            for failed, number in zip(self.failures.tolist(), self.scenes.tolist(), strict=True)
        ]
        values = torch.tensor(limits, dtype=scores.dtype, device=scores.device)
        return values[self.group(scores)]


def _quantile(values: Tensor, level: float, *, otherwise: float) -> float:
    """The ⌈(n + 1) level⌉-th smallest of n values."""
    rank = math.ceil((len(values) + 1) * level - 1e-9)
    return float(values.sort().values[rank - 1]) if rank <= len(values) else otherwise


def _check(scores: Tensor, values: tuple[Tensor, ...], level: float) -> None:
    if scores.ndim != 1 or len(scores) == 0 or any(v.shape != scores.shape for v in values):
        raise ShapeError(
            expected="one number per scene, at least three scenes for several groups",
            got=f"shapes {[tuple(v.shape) for v in (scores, *values)]}", argument="scores",
            advice="Give scores, failures, shares and refinement of the same scenes.",
        )  # fmt: skip
    inside = all(bool(((v >= 0) & (v <= 1)).all()) for v in values)
    if not (0 < level < 1 and inside):
        raise ConventionError(
            expected="a level in (0, 1) and numbers in [0, 1]", got=f"level {level}",
            argument="level", advice="0.9 leaves one scene in ten.",
        )  # fmt: skip
