"""What a user's own module may hold: a model as MACE's and one as PyTorch Geometric's."""

import torch
from force_fields import PairForceField, Record, graphs
from torch import nn


class Mace(nn.Module):
    """A dictionary in, energy, forces and stress out; edges reach across the cell."""

    def __init__(self):
        super().__init__()
        self.pairs = PairForceField()

    def forward(self, data):
        cell = data["cell"].reshape(-1, 3, 3)
        volume = torch.linalg.det(cell).abs()
        found = self.pairs(data)
        return {**found, "stress": found["stress"] / volume[:, None, None]}


class SchNet(nn.Module):
    """Takes a ``Batch`` by its attributes, returns energies and forces."""

    def __init__(self):
        super().__init__()
        self.charges = nn.Parameter(torch.linspace(1, 2, 9, dtype=torch.float64))

    def forward(self, batch):
        pos = batch.pos.requires_grad_()
        sender, receiver = batch.edge_index
        charge = self.charges[batch.z]
        pair = charge[sender] * charge[receiver] / (pos[sender] - pos[receiver]).norm(dim=1)
        energy = torch.zeros(len(batch.ptr) - 1, dtype=pos.dtype)
        energy = energy.index_add(0, batch.batch[sender], pair)
        return energy, -torch.autograd.grad(energy.sum(), pos)[0]


x = {**graphs(), "cell": 4 * torch.eye(3, dtype=torch.float64).repeat(3, 1)}  # stacked
batch = Record(
    pos=x["positions"], z=torch.arange(9) % 4, batch=x["batch"], edge_index=x["edge_index"],
    ptr=torch.tensor([0, 3, 6, 9]), name=["a", "b", "c"],
)  # fmt: skip
mace, schnet = Mace(), SchNet()
