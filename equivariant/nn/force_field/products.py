"""What couples features in a force field: the two parts that a product must provide."""

from __future__ import annotations

from abc import ABC, abstractmethod

from e3nn.o3 import Irreps
from torch import Tensor

from equivariant.nn.derived_buffers import DerivedBuffers
from equivariant.shapes import Float, Int


def channel_irreps(channels: int, lmax: int, *, pseudo: bool = False) -> Irreps:
    """The same number of channels of every degree: ``16x0e + 16x1o + 16x2e``.

    Args:
        channels: Copies of each irrep.
        lmax: Highest degree.
        pseudo: Whether degrees from 1 on also come with the parity that harmonics do not have.
            Pseudoscalars are left out: two natural features do not couple to them.

    Example:
        >>> channel_irreps(16, 1), channel_irreps(16, 1, pseudo=True)
        (16x0e+16x1o, 16x0e+16x1o+16x1e)
    """
    return Irreps([
        (channels, (degree, sign * (-1) ** degree))
        for degree in range(lmax + 1)
        for sign in ((1, -1) if pseudo and degree else (1,))
    ])  # fmt: skip


class Interaction(DerivedBuffers, ABC):
    """Messages of neighbors: features of the sender coupled with harmonics of the edge.

    Args:
        irreps_in: Of a node's features.
        irreps_out: Of a node's sum of messages.
        radial_numel: Numbers that every edge has to bring, functions of its length.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, *, radial_numel: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out, self.radial_numel = irreps_in, irreps_out, radial_numel

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "nodes features"],
        edge_vectors: Float[Tensor, "edges 3"],
        radial_weights: Float[Tensor, "edges radial"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, "nodes messages"]:
        """The sum of messages that every node receives.

        Args:
            x: Shape (nodes, irreps_in.dim).
            edge_vectors: From receiver to sender, not zero, shape (edges, 3).
            radial_weights: Shape (edges, radial_numel); where they are 0, messages are 0.
            edge_index: Sender and receiver, shape (2, edges).

        Returns:
            Shape (nodes, irreps_out.dim).
        """


class ManyBody(DerivedBuffers, ABC):
    """Polynomial of a node's own features, channel by channel, with weights per element.

    Args:
        irreps_in: Of features.
        irreps_out: Of the result.
        correlation: Highest power.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, *, correlation: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out, self.correlation = irreps_in, irreps_out, correlation

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "nodes features"], element: Int[Tensor, " nodes"]
    ) -> Float[Tensor, "nodes result"]:
        """The polynomial.

        Args:
            x: Shape (nodes, irreps_in.dim).
            element: Index of each node's element, shape (nodes,), int64.

        Returns:
            Shape (nodes, irreps_out.dim).
        """


class Products(ABC):
    """Makes the parts of one kind of product."""

    @abstractmethod
    def irreps(self, channels: int, lmax: int) -> Irreps:
        """Of hidden features."""

    @abstractmethod
    def interaction(self, irreps_in: Irreps, irreps_out: Irreps, *, lmax: int) -> Interaction:
        """Messages.

        Args:
            irreps_in: Of a node's features.
            irreps_out: Of messages.
            lmax: Highest degree of the edge's harmonics.
        """

    @abstractmethod
    def many_body(
        self, irreps_in: Irreps, irreps_out: Irreps, *, correlation: int, elements: int
    ) -> ManyBody:
        """Powers.

        Args:
            irreps_in: Of messages.
            irreps_out: Of the result.
            correlation: Highest power, 1 or more.
            elements: Number of elements.
        """

    def reached(self, irreps_in: Irreps, wanted: Irreps, *, lmax: int) -> Irreps:
        """Those of the irreps wanted that messages from these features can have.

        Args:
            irreps_in: Of a node's features.
            wanted: Of messages.
            lmax: Highest degree of the edge's harmonics.
        """
        pairs = [(a, b) for _, a in irreps_in for _, b in channel_irreps(1, lmax)]
        found = {third for first, second in pairs for third in first * second}
        return Irreps([(mul, irrep) for mul, irrep in wanted if irrep in found])
