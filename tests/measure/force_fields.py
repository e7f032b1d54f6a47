"""Small stand-ins for force fields of other packages: forces are gradients of an energy."""

import torch
from torch import nn


class Record:
    """Values under keys and as attributes, in a store of their own, as ``Data`` keeps them."""

    def __init__(self, **values):
        self.__dict__["_store"] = dict(values)

    def keys(self):
        return list(self._store)

    def __getitem__(self, key):
        return self._store[key]

    def __setitem__(self, key, value):
        self._store[key] = value

    def __getattr__(self, key):
        if key.startswith("__") or key == "_store" or key not in self._store:
            raise AttributeError(key)
        return self._store[key]


class PairForceField(nn.Module):
    """Energy, forces and stress of distances over edges with shifts, in flat arrays.

    ``broken`` adds a preferred axis; ``detach`` cuts positions from what moved them.
    """

    def __init__(self, *, broken=False, detach=False):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.rates = nn.Parameter(torch.rand(8, generator=generator, dtype=torch.float64))
        self.broken, self.detach = broken, detach

    def forward(self, data):
        positions = data["positions"]
        positions = (positions.detach() if self.detach else positions).requires_grad_()
        sender, receiver = data["edge_index"]
        edge = positions[receiver] - positions[sender] + data["shifts"]
        of_edge = torch.exp(-self.rates * edge.norm(dim=1, keepdim=True)).sum(1)
        if self.broken:
            of_edge = of_edge * (1 + edge[:, 0].square())
        graph = data["batch"][sender]
        graphs = int(data["batch"].max()) + 1
        energy = torch.zeros(graphs, dtype=edge.dtype).index_add(0, graph, of_edge)
        slope, along = torch.autograd.grad(energy.sum(), (positions, edge))
        outer = edge.unsqueeze(2) * along.unsqueeze(1)
        stress = torch.zeros(graphs, 3, 3, dtype=edge.dtype).index_add(0, graph, outer)
        return {"energy": energy, "forces": -slope, "stress": stress}


def graphs(count=3, nodes=3, *, dtype=torch.float64):
    """Graphs of a few nodes, all edges within each, with shifts."""
    generator = torch.Generator().manual_seed(1)
    rows = count * nodes
    ends = [(i, j) for i in range(rows) for j in range(rows) if i != j and i // nodes == j // nodes]
    return {
        "positions": torch.randn(rows, 3, generator=generator, dtype=torch.float64).to(dtype),
        "shifts": 0.1
        * torch.randn(len(ends), 3, generator=generator, dtype=torch.float64).to(dtype),
        "edge_index": torch.tensor(ends).T,
        "batch": torch.arange(count).repeat_interleave(nodes),
    }
