"""Vectors from a field on the group: what an equivariant part of a representation is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.groups import Group
from equivariant.nn.lie.fields import LieField
from equivariant.nn.lie.pooling import energies
from equivariant.shapes import Float


class VectorPool(nn.Module):
    """Vectors that move by the linear part of the group.

        v_k = Σ_i Σ_x p_i(x) h_i E_k F(x, h_i),   p_i(x) ∝ m_i mean_c F_c(x, h_i)²,   Σ p = 1

    E_k is a matrix of n rows, one column for each channel, and m_i the invariant measure
    (:meth:`LieField.measure`). Moving the field by (t, a) gives a v_k: exactly where all of the
    group is sampled evenly, otherwise in the limit of many samples.

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
        self.direction = nn.Parameter(torch.randn(vectors, n, channels) * channels**-0.5)

    def forward(self, field: LieField) -> Float[Tensor, "batch vectors n"]:
        """Shape (batch, vectors, n), dtype of the field."""
        values = field.values.flatten(3)
        dtype = values.dtype
        energy = energies(values)[:, 0] * field.measure()[:, None]
        total = energy.sum((1, 2), keepdim=True)
        weights = energy / torch.where(total > 0, total, 1.0)
        summed = torch.einsum("bcsx,bsx->bcs", values, weights)
        local = torch.einsum("vnc,bcs->bvns", self.direction.to(dtype), summed)
        elements: Tensor = field.samples.to(values.device).elements.to(dtype)
        return torch.einsum("smn,bvns->bvm", elements, local)
