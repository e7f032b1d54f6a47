"""Full products of Clebsch and Gordan, by e3nn: the baseline, as MACE and NequIP use them."""

from __future__ import annotations

from typing import Any

import torch
from e3nn.o3 import Irreps, Linear, TensorProduct, spherical_harmonics
from torch import Tensor, nn

from equivariant.nn.force_field.products import (
    Interaction,
    ManyBody,
    Products,
    channel_irreps,
)
from equivariant.nn.irreps_layout import IrrepsLayout
from equivariant.shapes import Float, Int


class ClebschGordanInteraction(Interaction):
    """Every path (l1, l2, l3) with a radial function per path and channel, mixed by a linear map.

        m_i = Linear( Σ_j ⊕_paths  R_path,c(r_ij) · (x_j,c^l1 ⊗ Y^l2(r̂_ij))^l3 )

    Args:
        irreps_in: Of features, channel by channel.
        irreps_out: Of messages.
        lmax: Highest degree of the edge's harmonics.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, *, lmax: int) -> None:
        harmonics = channel_irreps(1, lmax)
        paths: list[tuple[int, Any, int, int]] = []  # multiplicity, irrep, operands
        wanted = [irrep for _, irrep in irreps_out]
        for i, (mul, first) in enumerate(irreps_in):
            for j, (_, second) in enumerate(harmonics):
                paths += [(mul, third, i, j) for third in first * second if third in wanted]
        middle, order, _ = Irreps([(mul, ir) for mul, ir, _, _ in paths]).sort()
        instructions = sorted(
            ((i, j, order[k], "uvu", True) for k, (_, _, i, j) in enumerate(paths)),
            key=lambda instruction: instruction[2],
        )
        product = TensorProduct(
            irreps_in, harmonics, middle, instructions, shared_weights=False, internal_weights=False
        )
        super().__init__(irreps_in, irreps_out, radial_numel=product.weight_numel)
        self.lmax, self.product = lmax, product
        self.linear = Linear(middle.simplify(), irreps_out)

    def forward(
        self,
        x: Float[Tensor, "nodes features"],
        edge_vectors: Float[Tensor, "edges 3"],
        radial_weights: Float[Tensor, "edges radial"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, "nodes messages"]:
        harmonics = spherical_harmonics(
            list(range(self.lmax + 1)), edge_vectors, normalize=True, normalization="component"
        )
        sender, receiver = edge_index
        messages = self.product(x[sender], harmonics, radial_weights)
        total = messages.new_zeros(len(x), messages.shape[-1]).index_add(0, receiver, messages)
        result: Tensor = self.linear(total)
        return result


class ClebschGordanPower(ManyBody):
    """Powers by chained products, each over all paths with weights per path, element, channel.

        B = w1 A + P2(A, A) + P3(P2'(A, A), A) + ...

    P2' keeps every irrep that A's degrees allow, so that nothing is lost on the way.

    Args:
        irreps_in: Of A, channel by channel.
        irreps_out: Of B, with the same number of channels.
        middle: Of the products on the way.
        correlation: Highest power.
        elements: Number of elements.
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        *,
        middle: Irreps,
        correlation: int,
        elements: int,
    ) -> None:
        super().__init__(irreps_in, irreps_out, correlation=correlation)
        self.first = _ElementScale(irreps_in, irreps_out, elements=elements)
        self.on_the_way = nn.ModuleList()
        self.out = nn.ModuleList()
        current = irreps_in
        for power in range(2, correlation + 1):
            self.out.append(_ElementProduct(current, irreps_in, irreps_out, elements=elements))
            if power < correlation:
                step = _ElementProduct(current, irreps_in, middle, elements=elements)
                self.on_the_way.append(step)
                current = middle

    def forward(
        self, x: Float[Tensor, "nodes features"], element: Int[Tensor, " nodes"]
    ) -> Float[Tensor, "nodes result"]:
        total: Tensor = self.first(x, element)
        current = x
        for index, product in enumerate(self.out):
            total = total + product(current, x, element)
            if index < len(self.on_the_way):
                current = self.on_the_way[index](current, x, element)
        return total


class ClebschGordanProducts(Products):
    """All couplings.

    Args:
        pseudo: Whether hidden features have both parities of every degree. Without, parity
            leaves the couplings with even l1+l2+l3, as in a MACE of natural parity.
    """

    def __init__(self, *, pseudo: bool) -> None:
        self.pseudo = pseudo

    def irreps(self, channels: int, lmax: int) -> Irreps:
        return channel_irreps(channels, lmax, pseudo=self.pseudo)

    def interaction(self, irreps_in: Irreps, irreps_out: Irreps, *, lmax: int) -> Interaction:
        return ClebschGordanInteraction(irreps_in, irreps_out, lmax=lmax)

    def many_body(
        self, irreps_in: Irreps, irreps_out: Irreps, *, correlation: int, elements: int
    ) -> ManyBody:
        middle = self.irreps(irreps_in[0].mul, irreps_in.lmax)
        return ClebschGordanPower(
            irreps_in, irreps_out, middle=middle, correlation=correlation, elements=elements
        )


class _ElementProduct(nn.Module):
    """Σ over paths of w_element,path,c (x_c^l1 ⊗ y_c^l2)^l3."""

    def __init__(
        self, irreps_in1: Irreps, irreps_in2: Irreps, irreps_out: Irreps, *, elements: int
    ) -> None:
        super().__init__()
        instructions = [
            (i, j, k, "uuu", True)
            for i, (_, first) in enumerate(irreps_in1)
            for j, (_, second) in enumerate(irreps_in2)
            for k, (_, third) in enumerate(irreps_out)
            if third in first * second
        ]
        self.product = TensorProduct(
            irreps_in1, irreps_in2, irreps_out, instructions,
            shared_weights=False, internal_weights=False,
        )  # fmt: skip
        self.weight = nn.Parameter(torch.randn(elements, self.product.weight_numel))

    def forward(self, x: Tensor, y: Tensor, element: Tensor) -> Tensor:
        result: Tensor = self.product(x, y, self.weight[element])
        return result


class _ElementScale(nn.Module):
    """w_element,irrep,c x_c on the irreps of both sides; 0 on the others of the result."""

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, *, elements: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = irreps_in, irreps_out
        self._in = IrrepsLayout(irreps_in)
        shared = [irrep for _, irrep in irreps_out if irrep in irreps_in]
        self.weight = nn.Parameter(torch.randn(len(shared), elements, irreps_in[0].mul, 1))
        self.row = {irrep: row for row, irrep in enumerate(shared)}

    def forward(self, x: Tensor, element: Tensor) -> Tensor:
        blocks = self._in.by_irrep(x)
        scaled = [
            (blocks[irrep] * self.weight[self.row[irrep]][element]).flatten(1)
            if irrep in self.row
            else x.new_zeros(len(x), mul * irrep.dim)
            for mul, irrep in self.irreps_out
        ]
        return torch.cat(scaled, 1)
