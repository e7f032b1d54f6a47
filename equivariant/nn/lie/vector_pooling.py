"""Vectors from a field on the group: what an equivariant part of a representation is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.nn.lie.fields import LieField, check_field
from equivariant.nn.lie.pooling import energies
from equivariant.shapes import Float


class VectorPool(nn.Module):
    """Vectors that move by the linear part of the group.

        v_k = Σ_i Σ_x p_i(x) ((α_k · F̂(x, h_i)) (x - x̄) + h_i E_k F̂(x, h_i))

        p_i(x) ∝ m_i e(x, h_i),   Σ p = 1,   e = mean_c F_c²,   x̄ = Σ p x,   F̂ = F / √(Σ p e)

    m_i is the invariant measure (:meth:`LieField.measure`), α_k has one number for each channel and
    E_k, a matrix of n rows, one column for each. Moving the field by (t, a) gives a v_k: exactly
    where all of the group is sampled evenly, otherwise in the limit of many samples. The first
    summand, what is read off centred places, needs few samples; the second, what is read off the
    group elements, needs many where F hardly depends on h. E_k is 0 at the start.

    Args:
        group: H, linear maps of n-space.
        channels: Of the field, at least 1.
        vectors: Number of vectors, at least 1.

    Raises:
        ConventionError: A number below 1.
    """

    def __init__(self, group: Group, channels: int, vectors: int) -> None:
        super().__init__()
        if min(channels, vectors) < 1:
            raise ConventionError(
                expected="at least 1 channel and vector", got=f"{channels} and {vectors}",
                argument="vectors", advice="Leave the layer out where no vector is wanted.",
            )  # fmt: skip
        n = group.matrix_size
        self.moment = nn.Parameter(torch.randn(vectors, channels) * channels**-0.5)
        self.direction = nn.Parameter(torch.zeros(vectors, n, channels))

    def forward(self, field: LieField) -> Float[Tensor, "batch vectors n"]:
        """Shape (batch, vectors, n), dtype of the field; 0 where the field is 0."""
        check_field(field)
        values = field.values.flatten(3)
        dtype = values.dtype
        energy = energies(values)[:, 0]
        weights = _shares(energy * field.measure()[:, None])
        size = (weights * energy).sum((1, 2), keepdim=True).sqrt()
        values = values / torch.where(size > 0, size, 1.0)[:, None]
        places = field.places.positions.to(values)
        center = torch.einsum("bsx,bxn->bn", weights, places.expand(len(weights), -1, -1))
        read = torch.einsum("bcsx,bsx->bcx", values, weights)
        found = torch.einsum(
            "vc,bcx,bxn->bvn", self.moment.to(dtype), read, places - center[:, None]
        )
        summed = torch.einsum("bcsx,bsx->bcs", values, weights)
        local = torch.einsum("vnc,bcs->bvns", self.direction.to(dtype), summed)
        elements: Tensor = field.samples.to(values.device).elements.to(dtype)
        return found + torch.einsum("smn,bvns->bvm", elements, local)


def _shares(weights: Float[Tensor, "batch samples places"]) -> Tensor:
    """Weights that add up to 1 over samples and places; 0 where all are."""
    total = weights.sum((1, 2), keepdim=True)
    shares: Tensor = weights / torch.where(total > 0, total, 1.0)
    return shares
