"""e3nn's networks on graphs of points: what they take, and how it moves."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from equivariant.actions import Action, IrrepsAction, Points
from equivariant.groups import E3
from equivariant.measure.motions.graph_motion import GraphMotion

_NODES = (2, 8)  # of a random graph, where the network expects fewer or more


@dataclass(frozen=True)
class GraphNetwork:
    """A network that takes ``{"pos", "batch", ...}``, with its declaration.

    Args:
        f: The network, whose output stands beside ``"batch"`` under ``"output"``.
        nodes: Irreps of node arrays by key.
        edges: Irreps of edge arrays by key; the network then takes ``"edge_index"`` too.
        output: Irreps of the output.
        pooled: Whether the output has one row per graph, else one per node.
        max_radius: Length of the longest edge.
        num_nodes: Typical number of nodes of a graph.
    """

    f: nn.Module
    nodes: dict[str, Irreps]
    edges: dict[str, Irreps]
    output: Irreps
    pooled: bool
    max_radius: float
    num_nodes: float
    group: E3 = field(default_factory=E3)

    @property
    def act_in(self) -> GraphMotion:
        """Positions move as points, arrays by their irreps."""
        nodes: dict[str, Action] = {"pos": Points(self.group)}
        nodes.update({key: IrrepsAction(irreps, self.group) for key, irreps in self.nodes.items()})
        edges = {key: IrrepsAction(irreps, self.group) for key, irreps in self.edges.items()}
        return GraphMotion(nodes=nodes, edges=edges)

    @property
    def act_out(self) -> GraphMotion:
        """The output moves by its irreps."""
        action = {"output": IrrepsAction(self.output, self.group)}
        return GraphMotion(graphs=action) if self.pooled else GraphMotion(nodes=action)

    def draw(self, items: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random graphs whose nodes lie within about one radius, float64.

        Args:
            items: Number of graphs.
            generator: Of positions and features, which are normal numbers.
        """
        count = min(max(round(self.num_nodes), _NODES[0]), _NODES[1])
        rows = items * count

        def normal(n: int, dim: int) -> Tensor:
            return torch.randn(n, dim, generator=generator, dtype=torch.float64)

        batch = torch.arange(items).repeat_interleave(count)
        x = {"pos": self.max_radius / 3 * normal(rows, 3), "batch": batch}
        x.update({key: normal(rows, irreps.dim) for key, irreps in self.nodes.items()})
        if self.edges:
            same = (batch[:, None] == batch) & ~torch.eye(rows, dtype=torch.bool)
            x["edge_index"] = same.nonzero().T.contiguous()
            number = x["edge_index"].shape[1]
            x.update({key: normal(number, irreps.dim) for key, irreps in self.edges.items()})
        return x


def graph_network(module: Any) -> GraphNetwork | None:
    """e3nn's ``Network`` (2101, 2102), ``SimpleNetwork`` and ``NetworkForAGraphWithAttributes``.

    They are known by what they have: ``forward(data)``, ``max_radius``, ``num_nodes`` and irreps.

    Args:
        module: Any module.

    Returns:
        What it takes; None for another kind of module.

    Example:
        >>> graph_network(nn.Linear(3, 3)) is None
        True
    """
    known = all(hasattr(module, name) for name in ("max_radius", "num_nodes"))
    if not isinstance(module, nn.Module) or not known or not _takes_data(module.forward):
        return None
    facts: dict[str, Any] = {
        "f": _Beside(module), "max_radius": float(module.max_radius),  # type: ignore[arg-type]
        "num_nodes": float(module.num_nodes),  # type: ignore[arg-type]
        "pooled": bool(getattr(module, "pool_nodes", getattr(module, "reduce_output", True))),
    }  # fmt: skip
    if hasattr(module, "irreps_node_input") and hasattr(module, "irreps_node_output"):
        nodes = {"node_input": module.irreps_node_input, "node_attr": module.irreps_node_attr}
        edges = {"edge_attr": module.irreps_edge_attr}
        return GraphNetwork(
            nodes=_present(nodes), edges=_present(edges), output=Irreps(module.irreps_node_output),
            **facts,
        )  # fmt: skip
    if not hasattr(module, "irreps_in") or not hasattr(module, "irreps_out"):
        return None
    nodes = {"x": module.irreps_in}
    if getattr(module, "input_has_node_attr", False):
        nodes["z"] = module.irreps_node_attr
    return GraphNetwork(nodes=_present(nodes), edges={}, output=Irreps(module.irreps_out), **facts)


class _Beside(nn.Module):
    """A network whose output comes with the graph of each node."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, data: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"output": self.network(data), "batch": data["batch"]}


def _takes_data(forward: Callable[..., Any]) -> bool:
    return list(inspect.signature(forward).parameters) == ["data"]


def _present(irreps: dict[str, Any]) -> dict[str, Irreps]:
    return {key: Irreps(value) for key, value in irreps.items() if value is not None}
