"""One layer of message passing between atoms, and what reads energies from it."""

from __future__ import annotations

import torch
from e3nn.nn import FullyConnectedNet
from e3nn.o3 import Irreps, Linear
from torch import Tensor, nn
from torch.nn.functional import silu

from equivariant.nn.force_field.products import Products
from equivariant.nn.irreps_layout import IrrepsLayout
from equivariant.shapes import Float, Int


class MessageLayer(nn.Module):
    """Messages of neighbors, powers of their sum, and the features that were there.

        a_i = Interaction(Linear(h), edges, R(r))_i / mean_neighbors
        h'_i = Linear(ManyBody(a_i)) + W_element(i) h_i

    The first layer has no second term: an atom without neighbors keeps features of 0 and hence
    the energy of an isolated atom.

    Args:
        products: Makes the interaction and the powers.
        irreps_in: Of features.
        irreps_out: Of the next features.
        lmax: Highest degree of harmonics and of messages.
        radial_size: Functions of distance that the radial network starts from.
        radial_hidden: Widths of its hidden layers.
        correlation: Highest power.
        elements: Number of elements.
        mean_neighbors: Edges per atom, to keep the size of messages.
        residual: Whether the second term is there.
    """

    def __init__(
        self,
        products: Products,
        irreps_in: Irreps,
        irreps_out: Irreps,
        *,
        lmax: int,
        radial_size: int,
        radial_hidden: tuple[int, ...],
        correlation: int,
        elements: int,
        mean_neighbors: float,
        residual: bool,
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = irreps_in, irreps_out
        self.mean_neighbors = mean_neighbors
        channels = irreps_in[0].mul
        messages = products.reached(irreps_in, products.irreps(channels, lmax), lmax=lmax)
        self.linear_in = Linear(irreps_in, irreps_in)
        self.interaction = products.interaction(irreps_in, messages, lmax=lmax)
        # Without biases and with silu(0) = 0, weights vanish where the basis does.
        widths = [radial_size, *radial_hidden, self.interaction.radial_numel]
        self.radial = FullyConnectedNet(widths, silu)
        self.many_body = products.many_body(
            messages, irreps_out, correlation=correlation, elements=elements
        )
        self.linear_out = Linear(irreps_out, irreps_out)
        self.residual = (
            ElementLinear(irreps_in, irreps_out, elements=elements) if residual else None
        )

    def forward(
        self,
        h: Float[Tensor, "nodes features"],
        element: Int[Tensor, " nodes"],
        *,
        edge_vectors: Float[Tensor, "edges 3"],
        edge_index: Int[Tensor, "2 edges"],
        radial_basis: Float[Tensor, "edges radial"],
    ) -> Float[Tensor, "nodes next"]:
        """The next features.

        Args:
            h: Shape (nodes, irreps_in.dim).
            element: Index of each node's element, shape (nodes,), int64.
            edge_vectors: From receiver to sender, shape (edges, 3).
            edge_index: Sender and receiver, shape (2, edges).
            radial_basis: Shape (edges, radial_size); 0 at the cutoff.
        """
        messages = self.interaction(
            self.linear_in(h), edge_vectors, self.radial(radial_basis), edge_index
        )
        powers = self.many_body(messages / self.mean_neighbors, element)
        result: Tensor = self.linear_out(powers)
        return result if self.residual is None else result + self.residual(h, element)

    def divide(self, factor: float) -> None:
        """Divide every result by a number, by means of the weights that it is linear in.

        Args:
            factor: Positive.
        """
        last = [self.linear_out.weight]
        if self.residual is not None:
            last += self.residual.weights.values()
        with torch.no_grad():
            for weight in last:
                weight.div_(factor)


class ElementLinear(nn.Module):
    """A linear map of the channels of each irrep, of its own for every element.

    Args:
        irreps_in: Each irrep once.
        irreps_out: Each irrep once; those that irreps_in lacks are 0.
        elements: Number of elements.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, *, elements: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = irreps_in, irreps_out
        self._in = IrrepsLayout(irreps_in)
        sizes = {irrep: mul for mul, irrep in irreps_in}
        self.weights = nn.ParameterDict({
            str(irrep): torch.randn(elements, mul, sizes[irrep]) / sizes[irrep] ** 0.5
            for mul, irrep in irreps_out
            if irrep in sizes
        })  # fmt: skip

    def forward(
        self, x: Float[Tensor, "nodes features"], element: Int[Tensor, " nodes"]
    ) -> Float[Tensor, "nodes result"]:
        """Shape (nodes, irreps_out.dim).

        Args:
            x: Shape (nodes, irreps_in.dim).
            element: Shape (nodes,), int64.
        """
        blocks = self._in.by_irrep(x)
        mixed = [
            torch.bmm(self.weights[str(irrep)][element], blocks[irrep]).flatten(1)
            if str(irrep) in self.weights
            else x.new_zeros(len(x), mul * irrep.dim)
            for mul, irrep in self.irreps_out
        ]
        return torch.cat(mixed, 1)


class LinearReadout(nn.Module):
    """An atom's energy as a linear function of its invariants, without bias.

    Args:
        irreps: Of features.
    """

    def __init__(self, irreps: Irreps) -> None:
        super().__init__()
        self.linear = Linear(irreps, Irreps("1x0e"))

    def forward(self, h: Float[Tensor, "nodes features"]) -> Float[Tensor, " nodes"]:
        """Shape (nodes,)."""
        energies: Tensor = self.linear(h)
        return energies[:, 0]


class NetworkReadout(nn.Module):
    """An atom's energy by a network with one hidden layer on its invariants, without biases.

    Args:
        channels: Invariants; they are all the features there are.
        hidden: Width of the hidden layer.
    """

    def __init__(self, channels: int, *, hidden: int = 16) -> None:
        super().__init__()
        self.network = FullyConnectedNet([channels, hidden, 1], silu)

    def forward(self, h: Float[Tensor, "nodes features"]) -> Float[Tensor, " nodes"]:
        """Shape (nodes,)."""
        energies: Tensor = self.network(h)
        return energies[:, 0]
