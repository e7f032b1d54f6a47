"""What a force field takes from data before it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.errors import ConventionError
from equivariant.shapes import Bool, Float


@dataclass(frozen=True)
class Calibration:
    """What a force field takes from data before it is trained.

    Args:
        atomic_numbers: Elements it knows, ascending.
        atom_energies_eV: Energy of an atom of each without neighbors, in that order.
        trained_atoms: Whether training may correct these energies. Then they are constants of fit,
            and no longer energies of isolated atoms.
        scale_eV: Energy that an output of 1 means: about the size of forces times 1 Å.
        mean_neighbors: Edges per atom.
        fitted_compositions: Linearly independent compositions that atom_energies_eV were fitted
            to: atoms of each element in a molecule, in the order of atomic_numbers. Empty where
            they were not fitted but are energies of isolated atoms.
    """

    atomic_numbers: tuple[int, ...]
    atom_energies_eV: tuple[float, ...]
    trained_atoms: bool = False
    scale_eV: float = 1.0
    mean_neighbors: float = 1.0
    fitted_compositions: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        ordered = list(self.atomic_numbers) == sorted(set(self.atomic_numbers))
        if not ordered or len(self.atomic_numbers) != len(self.atom_energies_eV):
            raise ConventionError(
                expected="distinct atomic numbers, ascending, and one energy for each",
                got=f"{self.atomic_numbers}, {self.atom_energies_eV}",
                argument="atomic_numbers", advice="Sort them.",
            )  # fmt: skip
        if not (self.atomic_numbers and self.scale_eV > 0 and self.mean_neighbors > 0):
            raise ConventionError(
                expected="at least one element, a positive scale_eV and mean_neighbors",
                got=f"{self.atomic_numbers}, {self.scale_eV}, {self.mean_neighbors}",
                argument="calibration", advice="Fit them to a set in which atoms have neighbors.",
            )  # fmt: skip

    def determines(self, composition: Float[Tensor, "molecules elements"]) -> Bool[Tensor, " m"]:
        """Whether the summed energies of atoms are known for molecules of some compositions.

        A fit to molecules n_1, n_2, ... determines n·E0 for combinations of them only. For
        others any number fits the training set as well: trained on ethanol alone, C₂H₆O, nothing
        says what a carbon atom contributes.

        Args:
            composition: Atoms of each element, shape (molecules, elements), float64, in the
                order of atomic_numbers.

        Returns:
            Shape (molecules,), bool; all True where nothing was fitted.

        Example:
            >>> ethanol = Calibration((1, 6, 8), (0.0, 0.0, 0.0), fitted_compositions=((6, 2, 1),))
            >>> ethanol.determines(torch.tensor([[12.0, 4, 2], [4.0, 3, 2]]).double())
            tensor([ True, False])
        """
        if not self.fitted_compositions:
            return torch.ones(len(composition), dtype=torch.bool, device=composition.device)
        known = composition.new_tensor(self.fitted_compositions)
        span = torch.linalg.svd(known, full_matrices=False)[2]
        outside = composition - composition @ span.mT @ span
        within: Tensor = outside.norm(dim=1) <= 1e-6 * composition.norm(dim=1)
        return within
