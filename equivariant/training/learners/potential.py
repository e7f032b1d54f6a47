"""Training a potential: its energies, and its gradient against known forces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from equivariant.errors import ConventionError
from equivariant.training.learners.pairs import Learner


class PotentialLearner(Learner):
    """Weighted squared errors of energies per atom and of forces.

        L = w_E mean_graphs ((E − Ê) / atoms)² + w_F mean_components (F − F̂)²

    Args:
        model: A mapping of tensors in; out ``energies_eV`` (graphs,) and
            ``forces_eV_per_angstrom`` (atoms, 3), which can be differentiated again.
        energy_weight: w_E, in 1/eV², not negative.
        force_weight: w_F, in Å²/eV², not negative.

    Raises:
        ConventionError: A weight is negative, or both are 0; in a step, a batch without forces.

    Source: the weighting of Batatia et al. 2022, arXiv 2206.07697.
    """

    def __init__(self, model: nn.Module, *, energy_weight: float, force_weight: float) -> None:
        super().__init__(model)
        if min(energy_weight, force_weight) < 0 or not energy_weight + force_weight > 0:
            raise ConventionError(
                expected="weights of at least 0, not both 0",
                got=f"{energy_weight}, {force_weight}", argument="energy_weight, force_weight",
                advice="Forces carry most of the information: give them the larger weight.",
            )  # fmt: skip
        self.energy_weight, self.force_weight = energy_weight, force_weight

    def forward(self, **graph: Any) -> tuple[Tensor, dict[str, Tensor]]:
        missing = {"energies_eV", "forces_eV_per_angstrom"} - graph.keys()
        if missing:
            raise ConventionError(
                expected="molecules with energies and forces",
                got=f"none of {', '.join(sorted(missing))}", argument="batch",
                advice="Read the forces of the training set.",
            )  # fmt: skip
        found = self.model(graph)
        index, known = graph["graph_index"], graph["energies_eV"]
        atoms = torch.bincount(index, minlength=len(known)).clamp(min=1)
        # Energies meet in float64, where thousands of eV leave room for a fraction of a meV.
        error = ((found["energies_eV"] - known) / atoms).to(found["forces_eV_per_angstrom"].dtype)
        energy = error.square().mean()
        difference = found["forces_eV_per_angstrom"] - graph["forces_eV_per_angstrom"]
        forces = difference.square().mean()
        total = self.energy_weight * energy + self.force_weight * forces
        terms = {
            "rmse_energy_meV_per_atom": 1000 * energy.detach().sqrt(),
            "rmse_forces_meV_per_angstrom": 1000 * forces.detach().sqrt(),
        }
        return total, terms
