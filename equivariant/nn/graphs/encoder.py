"""Graph convolutions over lists of edges."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.nn.graphs.graph import Graph
from equivariant.shapes import Float


class GraphConvolution(nn.Module):
    """D^(-1/2) (A + I) D^(-1/2) X W + b.

    Args:
        inputs: Columns of X.
        outputs: Columns of the result.

    Source: Kipf, Welling 2017, eq. 2.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Float[Tensor, "n d"], graph: Graph) -> Float[Tensor, "n e"]:
        """Features of the nodes after one round.

        Args:
            x: Shape (n, inputs).
            graph: Its nodes are the rows of x.

        Raises:
            ShapeError: Not one row for every node.
        """
        return graph.propagate(x @ self.weight) + self.bias


class GraphEncoder(nn.Module):
    """Graph convolutions with rectifiers between them.

        H_1 = relu(Â X W_1 + b_1),  ...,  Z = Â H_(L-1) W_L + b_L,   Â = D^(-1/2) (A + I) D^(-1/2)

    Renumbering the nodes renumbers the rows of Z.

    Args:
        widths: Columns of X, of every hidden layer, of Z: L + 1 numbers, L >= 1.

    Raises:
        ConventionError: There are fewer than two widths, or one is not positive.

    Example:
        >>> graph = Graph.nearest(torch.randn(20, 3), 4)
        >>> GraphEncoder((3, 16, 8))(torch.randn(20, 3), graph).shape
        torch.Size([20, 8])

    Source: Kipf, Welling 2017.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ConventionError(
                expected="two positive widths or more", got=str(tuple(widths)), argument="widths",
                advice="(inputs, hidden, outputs) is the usual encoder of two layers.",
            )  # fmt: skip
        self.layers = nn.ModuleList(GraphConvolution(a, b) for a, b in pairwise(widths))

    def forward(self, x: Float[Tensor, "n d"], graph: Graph) -> Float[Tensor, "n e"]:
        """Z, shape (n, outputs).

        Args:
            x: Shape (n, inputs).
            graph: Its nodes are the rows of x.

        Raises:
            ShapeError: Not one row for every node.
        """
        for number, layer in enumerate(self.layers):
            x = layer(x.relu() if number else x, graph)
        return x
