"""A head learned from embeddings of one modality with noise, to be used on those of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from equivariant.errors import ConventionError, ShapeError
from equivariant.losses.contrast.similarity import unit
from equivariant.shapes import Float
from equivariant.training.learners.pairs import Learner


class EmbeddingNoise(nn.Module):
    """Unit vectors, moved a little and brought back to length 1.

        z ← unit(unit(z) + shift + σ ε),    ε ~ N(0, I), or N(0, C) where a covariance is given

    Two modalities of one contrastive space lie apart. A head that must stand noise of that size
    is indifferent to which of them it reads; where it is known how they lie apart, ``shift`` is
    the difference of their means and C the covariance of the differences of pairs.

    Args:
        sigma: σ, at least 0, in units of the vectors' length, for each coordinate.
        shift: Shape (D,); None is 0.
        covariance: C, shape (D, D), positive semidefinite; None is the identity.

    Raises:
        ConventionError: σ is negative or infinite, or C has a negative eigenvalue.

    Source: Gu et al. 2023, "I can't believe there's no images!" (CLOSE), σ 0.04 to 0.12.
    """

    shift: Tensor | None
    root: Tensor | None

    def __init__(
        self, sigma: float, *, shift: Tensor | None = None, covariance: Tensor | None = None
    ) -> None:
        super().__init__()
        if not 0.0 <= sigma < float("inf"):
            raise ConventionError(
                expected="a finite number of at least 0", got=str(sigma), argument="sigma",
                advice="Published values lie between 0.04 and 0.12.",
            )  # fmt: skip
        self.sigma = sigma
        self.register_buffer("shift", shift)
        self.register_buffer("root", None if covariance is None else _root(covariance))

    def forward(
        self, z: Float[Tensor, "n d"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n d"]:
        """Noisy unit vectors; in evaluation mode unit vectors as they are.

        Args:
            z: Embeddings, shape (N, D).
            generator: Of the noise, on the CPU.
        """
        z = unit(z)
        if not self.training:
            return z  # of the other modality: it is where the shift leads
        moved = z if self.shift is None else z + self.shift.to(z)
        noise = torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z)
        if self.root is not None:
            noise = noise @ self.root.to(z).T
        return unit(moved + self.sigma * noise)


class NoisyHeadLearner(Learner):
    """Trains a head on embeddings with noise; what made them is not touched.

        L = criterion(head(noise(x)), y)

    Args:
        model: Embeddings (N, D) to answers: what is kept, to be applied to unit vectors of the
            other modality.
        noise: How embeddings are moved; its draws depend on the step alone.
        criterion: From answers and targets to a scalar.

    Source: Gu et al. 2023 (CLOSE).
    """

    def __init__(
        self,
        model: nn.Module,
        noise: EmbeddingNoise,
        *,
        criterion: Callable[[Tensor, Tensor], Tensor] = mse_loss,
    ) -> None:
        super().__init__(model)
        self.noise, self.criterion = noise, criterion

    def forward(self, x: Tensor, y: Tensor, **unused: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of embeddings x and targets y."""
        value = self.criterion(self.model(self.noise(x, generator=self.generator)), y)
        return value, {"head": value.detach()}


def _root(covariance: Tensor) -> Tensor:
    """R with R Rᵀ = C."""
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
        raise ShapeError(
            expected="a covariance of shape (D, D)", got=f"shape {tuple(covariance.shape)}",
            argument="covariance", advice="torch.cov(differences.T) is one.",
        )  # fmt: skip
    values, vectors = torch.linalg.eigh(covariance.double())
    if not bool((values >= -1e-6 * values.abs().max()).all()):
        raise ConventionError(
            expected="a covariance without negative eigenvalues",
            got=f"smallest {float(values.min()):.3g}", argument="covariance",
            advice="torch.cov(differences.T) has none.",
        )  # fmt: skip
    root: Tensor = vectors * values.clamp(min=0.0).sqrt()
    return root
