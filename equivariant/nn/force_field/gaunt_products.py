"""Products of functions on the sphere as the parts of a force field."""

from __future__ import annotations

import torch
from e3nn.o3 import Irreps, Linear
from torch import Tensor

from equivariant.nn.force_field.products import (
    Interaction,
    ManyBody,
    Products,
    channel_irreps,
)
from equivariant.nn.gaunt import GauntConvolution, GauntPower, GauntTensorProduct
from equivariant.nn.gaunt.paths import Parity
from equivariant.nn.irreps import sign_of
from equivariant.nn.irreps_layout import IrrepsLayout
from equivariant.shapes import Float, Int

_PROBES = 4096

_MESSAGE_SIZE = 0.3  # of one message at the start; powers of sums of larger ones run away


class GauntInteraction(Interaction):
    """Convolution with filters on the sphere, and radial functions per channel before and after.

        m_i = Linear( Σ_j ⊕_c,l3 q_c,l3(r) (Σ_l1,l2 (1 + p_c,l1(r)) x_j,c^l1 ⊗ h_l2(r) Y^l2)^l3 )

    A product of functions sums its paths, so a path cannot have a radial function of its own:
    it has the product (1+p)·h·q of three, one for each degree. h is shared by channels, which is
    what makes the filter's matrix one per edge. The 1 is there because a product of three numbers
    that are all small at the start learns slowly.

    Args:
        irreps_in: Of features, each irrep once.
        irreps_out: Of messages.
        lmax: Highest degree of the filter.
        parity: "even", or "full" with brackets.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, *, lmax: int, parity: Parity) -> None:
        channels, numbers = irreps_in[0].mul, (len(irreps_in), len(irreps_out))
        self._sizes = [lmax + 1, channels * numbers[0], channels * numbers[1]]
        super().__init__(irreps_in, irreps_out, radial_numel=sum(self._sizes))
        self.channels = channels
        self.convolution = GauntConvolution(
            irreps_in, lmax, irreps_out, parity=parity, layout="ir_mul"
        )
        self.linear = Linear(irreps_out, irreps_out)
        self.in_owner: Tensor
        self.out_owner: Tensor
        self.scale: Tensor
        self._in, self._out = IrrepsLayout(irreps_in), IrrepsLayout(irreps_out)
        self.derive("in_owner", self._in.owner())
        self.derive("out_owner", self._out.owner())
        self.register_buffer("scale", torch.ones(len(irreps_out)))
        self.scale.copy_(self._unit_scale())

    def forward(
        self,
        x: Float[Tensor, "nodes features"],
        edge_vectors: Float[Tensor, "edges 3"],
        radial_weights: Float[Tensor, "edges radial"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, "nodes messages"]:
        sender, receiver = edge_index
        values = self._in.by_component(x)
        messages = self._messages(values.index_select(0, sender), edge_vectors, radial_weights)
        total = messages.new_zeros(len(x), *messages.shape[1:]).index_add(0, receiver, messages)
        result: Tensor = self.linear(self._out.from_components(total))
        return result

    def _messages(self, values: Tensor, vectors: Tensor, radial: Tensor) -> Tensor:
        """Of every edge, shape (edges, components, channels)."""
        filters, before, after = radial.split(self._sizes, 1)
        before = before.unflatten(1, (len(self.irreps_in), self.channels))
        after = after.unflatten(1, (len(self.irreps_out), self.channels)) * self.scale[:, None]
        weighted = values * (1 + before.index_select(1, self.in_owner))
        coupled: Tensor = self.convolution(weighted.flatten(1), vectors, filters)
        factors = after.index_select(1, self.out_owner)
        messages: Tensor = coupled.view_as(factors) * factors
        return messages

    @torch.no_grad()
    def _unit_scale(self) -> Tensor:
        """Per irrep, what gives messages of normal features and weights their size."""
        generator = torch.Generator().manual_seed(0)
        shapes = ((_PROBES, len(self.in_owner), self.channels), (_PROBES, 3))
        values, vectors = (torch.randn(shape, generator=generator) for shape in shapes)
        radial = torch.randn(_PROBES, self.radial_numel, generator=generator)
        return _MESSAGE_SIZE / _size(self._messages(values, vectors, radial), self.irreps_out)


class GauntManyBody(ManyBody):
    """Powers of a function on the sphere; with brackets, a product with another mixture as well.

        B_i = GauntPower(a_i)                                       parity "even"
        B_i = GauntPower(a_i) + w_element(i) a_i ⊗ Linear(a_i)      parity "full"

    Powers are symmetric, and a bracket of a function with itself is 0. Odd couplings need two
    different functions: the channels themselves and a mixture of channels.

    Args:
        irreps_in: Of features, each irrep once.
        irreps_out: Of the result.
        correlation: Highest power.
        elements: Number of elements.
        parity: "even" or "full".
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        *,
        correlation: int,
        elements: int,
        parity: Parity,
    ) -> None:
        super().__init__(irreps_in, irreps_out, correlation=correlation)
        pseudo = any(sign_of(irrep) < 0 for _, irrep in irreps_in)
        powers = Irreps([(mul, ir) for mul, ir in irreps_out if pseudo or sign_of(ir) > 0])
        self.power = GauntPower(irreps_in, powers, correlation, num_elements=elements)
        with torch.no_grad():  # different channels and elements, as in the baseline
            self.power.weight.mul_(torch.randn(self.power.weight.shape))
        self.missing = irreps_out.dim - powers.dim
        self.order = _order(powers, irreps_out)
        self.bracket = None
        self._out = IrrepsLayout(irreps_out)
        if parity == "full" and correlation > 1:
            self.mixture = Linear(irreps_in, irreps_in)
            self.bracket = GauntTensorProduct(
                irreps_in, irreps_in, irreps_out, parity="full", normalization="component"
            )
            shape = (elements, len(irreps_out), irreps_out[0].mul)
            self.weight = torch.nn.Parameter(torch.randn(shape))
            self.out_owner: Tensor
            self.scale: Tensor
            self.derive("out_owner", self._out.owner())
            self.register_buffer("scale", self._unit_scale(self.bracket))

    def forward(
        self, x: Float[Tensor, "nodes features"], element: Int[Tensor, " nodes"]
    ) -> Float[Tensor, "nodes result"]:
        result: Tensor = self.power(x, element)
        if self.missing:
            result = torch.cat([result, result.new_zeros(len(x), self.missing)], 1)
            result = result.index_select(1, self.order.to(x.device))
        if self.bracket is None:
            return result
        product = self._out.by_component(self.bracket(x, self.mixture(x)))
        weight = (self.weight * self.scale[:, None]).index_select(0, element)
        weighted = product * weight.index_select(1, self.out_owner)
        return result + self._out.from_components(weighted)

    @torch.no_grad()
    def _unit_scale(self, bracket: GauntTensorProduct) -> Tensor:
        """Per irrep, what gives the product of two unit normal features unit size."""
        generator = torch.Generator().manual_seed(0)
        a, b = (torch.randn(_PROBES, self.irreps_in.dim, generator=generator) for _ in range(2))
        return 1 / _size(self._out.by_component(bracket(a, b)), self.irreps_out)


class GauntProducts(Products):
    """Products of functions on the sphere.

    Args:
        parity: "even": features of natural parity. "full": brackets, and both parities.
    """

    def __init__(self, parity: Parity) -> None:
        self.parity: Parity = parity

    def irreps(self, channels: int, lmax: int) -> Irreps:
        return channel_irreps(channels, lmax, pseudo=self.parity == "full")

    def interaction(self, irreps_in: Irreps, irreps_out: Irreps, *, lmax: int) -> Interaction:
        return GauntInteraction(irreps_in, irreps_out, lmax=lmax, parity=self.parity)

    def many_body(
        self, irreps_in: Irreps, irreps_out: Irreps, *, correlation: int, elements: int
    ) -> ManyBody:
        return GauntManyBody(
            irreps_in, irreps_out, correlation=correlation, elements=elements, parity=self.parity
        )


def _size(values: Tensor, irreps: Irreps) -> Tensor:
    """Root mean square of each irrep's components; values (rows, components, channels)."""
    parts = values.split([irrep.dim for _, irrep in irreps], 1)
    return torch.stack([part.square().mean().sqrt() for part in parts])


def _order(first: Irreps, wanted: Irreps) -> Tensor:
    """Where each column of the irreps wanted stands after those of ``first``; absent ones last."""
    columns = {
        ir: range(rows.start, rows.stop)
        for (_, ir), rows in zip(first, first.slices(), strict=True)
    }
    place, order = first.dim, []
    for mul, ir in wanted:
        if ir not in columns:
            columns[ir] = range(place, place + mul * ir.dim)
            place += mul * ir.dim
        order += list(columns[ir])
    return torch.tensor(order)
