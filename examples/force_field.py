"""A force field in a minute: molecules, a Gaunt message-passing network, forces, equivariance.

    python examples/force_field.py

The molecules are three atoms on springs, so that nothing has to be downloaded. For files of yours:
``datasets3d.read_molecules``, and ``equivariant train force-field`` from the command line.
"""

from pathlib import Path
from tempfile import mkdtemp

import torch

from datasets3d import MoleculeGraphs, Molecules
from equivariant.actions import Points, Trivial, Vectors
from equivariant.groups import E3
from equivariant.measure import GraphMotion, equivariance_error
from equivariant.nn.force_field import Calibration, ForceFieldConfig
from equivariant.runs import RunFolder
from equivariant.training import FitConfig, PotentialLearner, fit


def springs(count: int, *, seed: int = 0) -> Molecules:
    """Bent molecules H-O-H in many shapes, with the energy of two springs, in eV and Å."""
    generator = torch.Generator().manual_seed(seed)
    rest = torch.tensor([[0.96, 0.0, 0.0], [0.0, 0.0, 0.0], [-0.24, 0.93, 0.0]]).double()
    noise = 0.05 * torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    positions = (rest + noise).requires_grad_()
    bonds = (positions[:, [0, 2]] - positions[:, [1, 1]]).norm(dim=-1)
    energies = 20.0 * (bonds - 0.96).square().sum(1)
    (gradient,) = torch.autograd.grad(energies.sum(), positions)
    numbers, sizes = torch.tensor([1, 8, 1]).repeat(count), torch.full((count,), 3)
    flat = positions.detach().reshape(-1, 3)
    return Molecules(numbers, flat, sizes, energies.detach(), -gradient.reshape(-1, 3))


def main(steps: int = 400) -> tuple[float, float, float]:
    graphs = MoleculeGraphs(springs(400), cutoff_angstrom=3.0)
    torch.manual_seed(0)
    network = ForceFieldConfig("gaunt", channels=8, correlation=1, cutoff_angstrom=3.0)
    model = network.build(Calibration((1, 8), (0.0, 0.0), scale_eV=2.0, mean_neighbors=2.0))
    learner = PotentialLearner(model, energy_weight=1.0, force_weight=100.0)
    config = FitConfig(steps, batch_size=20, learning_rate=5e-3, schedule="cosine")
    fit(learner, graphs, config, run=RunFolder.create(Path(mkdtemp()), "springs", config={}))

    unseen = MoleculeGraphs(springs(50, seed=1), cutoff_angstrom=3.0, dtype=torch.float64)
    batch, name = unseen.batch(range(50)).tensors(), "forces_eV_per_angstrom"
    error = (model.double()(batch)[name] - batch[name]).square().mean().sqrt()
    moved = GraphMotion(nodes={"positions_angstrom": Points(E3())}, index="graph_index")
    energies, index = {"energies_eV": Trivial(1)}, batch["graph_index"]
    claim = GraphMotion(nodes={name: Vectors(E3())}, graphs=energies, index=index)
    report = equivariance_error(model, batch, act_in=moved, act_out=claim, differentiates=True)
    broken = max(report.value("worst", output=output) for output in report.outputs)
    return float(error), float(batch[name].square().mean().sqrt()), broken


if __name__ == "__main__":
    error, size, broken = main()
    print(f"forces: error {error:.2f} eV/Å of {size:.2f}; equivariance, at worst: {broken:.0e}")
