"""Similarities as matrix products of two feature maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.shapes import Float


class Similarity(ABC):
    """A similarity s(q, k) = ⟨φ(q), ψ(k)⟩, so that all pairs are one matrix product."""

    @abstractmethod
    def maps(
        self, q: Float[Tensor, "n d"], k: Float[Tensor, "m d"]
    ) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        """Feature maps φ(q), shape (N, E), and ψ(k), shape (M, E)."""

    def matrix(self, q: Float[Tensor, "n d"], k: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """All similarities, shape (N, M)."""
        left, right = self.maps(q, k)
        return left @ right.T


@dataclass(frozen=True)
class Cosine(Similarity):
    """⟨q, k⟩ / (|q| |k|); the similarity of a zero vector is 0, and so is its gradient.

    Args:
        eps: Vectors shorter than this count as zero.
    """

    eps: float = 1e-8

    def maps(
        self, q: Float[Tensor, "n d"], k: Float[Tensor, "m d"]
    ) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        return self._unit(q), self._unit(k)

    def _unit(self, z: Tensor) -> Tensor:
        square = z.square().sum(-1, keepdim=True)
        long = square > self.eps**2
        return torch.where(long, z * torch.where(long, square, 1.0).rsqrt(), 0.0)


@dataclass(frozen=True)
class Dot(Similarity):
    """⟨q, k⟩."""

    def maps(
        self, q: Float[Tensor, "n d"], k: Float[Tensor, "m d"]
    ) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        return q, k


@dataclass(frozen=True)
class NegativeSquaredDistance(Similarity):
    """-|q - k|² = ⟨[2q, -|q|², -1], [k, 1, |k|²]⟩."""

    def maps(
        self, q: Float[Tensor, "n d"], k: Float[Tensor, "m d"]
    ) -> tuple[Float[Tensor, "n e"], Float[Tensor, "m e"]]:
        one_q, one_k = torch.ones_like(q[:, :1]), torch.ones_like(k[:, :1])
        left = torch.cat([2 * q, -q.square().sum(1, keepdim=True), -one_q], 1)
        right = torch.cat([k, one_k, k.square().sum(1, keepdim=True)], 1)
        return left, right
