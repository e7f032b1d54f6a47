"""A force field in a minute: molecules, a Gaunt message-passing network, forces, equivariance.

    python examples/force_field.py

The molecules are three atoms on springs, so that nothing has to be downloaded. For files of yours:
``datasets3d.read_molecules``, and ``equivariant train force-field`` from the command line.
"""

from pathlib import Path
from tempfile import mkdtemp

import torch

from datasets3d import MoleculeGraphs, Molecules
from equivariant.groups import E3
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
    calibration = Calibration((1, 8), (0.0, 0.0), scale_eV=2.0, mean_neighbors=2.0)
    torch.manual_seed(0)
    network = ForceFieldConfig("gaunt", channels=8, correlation=1, cutoff_angstrom=3.0)
    model = network.build(calibration)
    learner = PotentialLearner(model, energy_weight=1.0, force_weight=100.0)
    config = FitConfig(steps=steps, batch_size=20, learning_rate=2e-2, schedule="cosine")
    fit(learner, graphs, config, run=RunFolder.create(Path(mkdtemp()), "springs", config={}))

    model = learner.model.double()
    unseen = MoleculeGraphs(springs(20, seed=1), cutoff_angstrom=3.0, dtype=torch.float64)
    batch = unseen.batch(range(20)).tensors()
    known, found = batch["forces_eV_per_angstrom"], model(batch)["forces_eV_per_angstrom"]
    g = E3().sample(generator=torch.Generator().manual_seed(0))  # a motion, or one with a mirror
    moved = {**batch, "positions_angstrom": batch["positions_angstrom"] @ g[:3, :3].T + g[:3, 3]}
    turned = model(moved)["forces_eV_per_angstrom"]
    gap = float((turned - found @ g[:3, :3].T).abs().max())
    return float((found - known).square().mean().sqrt()), float(known.square().mean().sqrt()), gap


if __name__ == "__main__":
    error, size, gap = main()
    print(f"forces: error {error:.3f} eV/Å of {size:.3f}; moved molecules differ by {gap:.0e}")
