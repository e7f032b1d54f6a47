"""Contrast of the nodes of one graph, with margins that no left-out edges undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.losses import Loss, Side
from equivariant.nn.graphs.certified_margin import (
    certified_margin,
    certified_margin_loss,
    margin_directions,
)
from equivariant.nn.graphs.encoder import GraphEncoder
from equivariant.nn.graphs.graph import Graph
from equivariant.training.learners.pairs import Learner


@runtime_checkable
class GraphView(Protocol):
    """Another view of a graph and its features, drawn from the generator."""

    def __call__(
        self, graph: Graph, x: Tensor, *, generator: torch.Generator
    ) -> tuple[Graph, Tensor]:
        """The view."""


class NodeContrastLearner(Learner):
    """Compares two views of the nodes of one graph.

        L = (1 - κ) loss(head(z_a), head(z_b)) + κ/2 Σ_views mean_i log(1 + exp(-G_i))

    z are the encoder's rows for the nodes of a batch on two drawn views; G is the certified margin
    of :func:`equivariant.nn.certified_margin` on the whole graph. The batch has the field ``row``:
    ``RowStream({"x": x})`` draws it.

    Args:
        model: Features (n, d) and a graph to rows (n, e).
        graph: The graph.
        x: Features of the nodes, shape (n, d).
        loss: Of sides ``a`` and ``b``, as ``preset("nt_xent").build()``.
        view: Draws a view of graph and features, for each side anew; None shows them as they are.
        other: Without arguments to the second view's rows (n, e), instead of the model on a drawn
            view; if it is a module it is trained too.
        head: What rows pass before they are compared; None is nothing.
        knows: What the sides' rows know, one entry for each node, by name: strength, clusters.
        certificate: κ, in [0, 1); above 0 the model is a GraphEncoder of two layers.
        budget: Edges that each node may lose in what is certified, shape (n,); with κ > 0.

    Raises:
        ConventionError: κ is out of range, or above 0 without a budget or a GraphEncoder.

    Source: Zhu et al. 2020 (GRACE); Yu et al. 2023 (POT), κ 0.5.
    """

    x: Tensor
    edges: Tensor

    def __init__(
        self,
        model: nn.Module,
        graph: Graph,
        x: Tensor,
        loss: Loss,
        *,
        view: GraphView | None = None,
        other: Callable[[], Tensor] | None = None,
        head: nn.Module | None = None,
        knows: Mapping[str, Tensor] | None = None,
        certificate: float = 0.0,
        budget: Tensor | None = None,
    ) -> None:
        super().__init__(model)
        sound = certificate == 0.0 or (budget is not None and isinstance(model, GraphEncoder))
        if not 0.0 <= certificate < 1.0 or not sound:
            raise ConventionError(
                expected="a share in [0, 1); above 0 with budget= and a GraphEncoder",
                got=str(certificate), argument="certificate", advice="The paper's share is 0.5.",
            )  # fmt: skip
        self.loss, self.view, self.other, self.head = loss, view, other, head
        self.certificate = certificate
        self.register_buffer("x", x, persistent=False)
        self.register_buffer("edges", graph.edges, persistent=False)
        self.register_buffer("budget", budget, persistent=False)
        self._knows = tuple(knows or {})
        for name in self._knows:
            self.register_buffer(f"knows_{name}", (knows or {})[name], persistent=False)

    def forward(self, row: Tensor, **unused: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of nodes ``row``, shape (batch,), int64."""
        graph = Graph(self.edges, len(self.x))
        z = self._drawn(graph), self._drawn(graph) if self.other is None else self.other()
        a, b = (self._side(rows[row], row) for rows in z)
        value = self.loss(a=a, b=b, generator=self.generator)
        total, terms = value.total, dict(value.terms)
        if self.certificate:
            certain = 0.5 * (self._certified(graph, z[1], row) + self._certified(graph, z[0], row))
            total = (1.0 - self.certificate) * total + self.certificate * certain
            terms["certificate"] = certain.detach()
        return total, terms

    def _drawn(self, graph: Graph) -> Tensor:
        x = self.x
        if self.view is not None:
            generator = torch.Generator() if self.generator is None else self.generator
            graph, x = self.view(graph, x, generator=generator)
        rows: Tensor = self.model(x, graph)
        return rows

    def _side(self, z: Tensor, row: Tensor) -> Side:
        known = {name: getattr(self, f"knows_{name}")[row] for name in self._knows}
        return Side.of(z if self.head is None else self.head(z), id=row, **known)

    def _certified(self, graph: Graph, other: Tensor, row: Tensor) -> Tensor:
        bound = certified_margin(
            self.model, self.x, graph, margin_directions(other)[row],  # type: ignore[arg-type]
            budget=self.budget, nodes=row,  # type: ignore[arg-type]
        )  # fmt: skip
        return certified_margin_loss(bound)
