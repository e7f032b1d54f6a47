"""Molecules as flat graphs within a cutoff, in batches without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from datasets3d.molecules.molecules import Molecules
from equivariant.errors import ConventionError, DataFormatError

COINCIDENT_ANGSTROM = 1e-4
"""Atoms closer than this have no direction from one to the other."""


@dataclass(frozen=True)
class MolecularGraph:
    """Molecules of a batch as one graph.

    Args:
        atomic_numbers: Shape (atoms,), int64.
        positions_angstrom: Shape (atoms, 3).
        edge_index: Pairs of atoms within the cutoff, both ways round, shape (2, edges), int64:
            first the sender, then the receiver.
        graph_index: Which molecule each atom belongs to, ascending, shape (atoms,), int64.
        energies_eV: Shape (molecules,), float64: total energies of thousands of eV have no room
            in float32.
        forces_eV_per_angstrom: Shape (atoms, 3); None if unknown.
    """

    atomic_numbers: Tensor
    positions_angstrom: Tensor
    edge_index: Tensor
    graph_index: Tensor
    energies_eV: Tensor
    forces_eV_per_angstrom: Tensor | None = None

    def __len__(self) -> int:
        return len(self.energies_eV)

    def to(self, device: torch.device | str | None = None) -> MolecularGraph:
        """The same graph elsewhere."""
        return replace(self, **{name: x.to(device) for name, x in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """What is known, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


class MoleculeGraphs:
    """Molecules whose neighbors are found once and for all.

    Args:
        molecules: The set.
        cutoff_angstrom: Atoms are neighbors when their distance is below it; positive.
        seed: Of the order that :meth:`stream` draws.
        dtype: Of positions and forces in batches.

    Raises:
        ConventionError: The cutoff is not positive.
        DataFormatError: Two atoms of a molecule coincide; the message names the molecule.

    Example:
        >>> triple = Molecules(
        ...     torch.tensor([8, 1, 1]),
        ...     torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [0, 5.0, 0]]).double(),
        ...     torch.tensor([3]), torch.tensor([-2000.0]).double(),
        ... )
        >>> MoleculeGraphs(triple, cutoff_angstrom=3.0).batch([0]).edge_index.tolist()
        [[1, 0], [0, 1]]
    """

    def __init__(
        self,
        molecules: Molecules,
        *,
        cutoff_angstrom: float,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not cutoff_angstrom > 0:
            raise ConventionError(
                expected="a positive distance", got=str(cutoff_angstrom),
                argument="cutoff_angstrom", advice="Usually 4 to 6 Å.",
            )  # fmt: skip
        self.molecules, self.seed, self.dtype = molecules, seed, dtype
        self.cutoff_angstrom = cutoff_angstrom
        self._counts: list[int] = molecules.counts.tolist()
        firsts = (molecules.counts.cumsum(0) - molecules.counts).tolist()
        self._edges = [
            _edges(
                molecules.positions_angstrom[first : first + count],
                cutoff_angstrom,
                f"molecule {index}",
            )
            for index, (first, count) in enumerate(zip(firsts, self._counts, strict=True))
        ]

    def __len__(self) -> int:
        return len(self.molecules)

    @property
    def mean_neighbors(self) -> float:
        """Edges per atom over the whole set."""
        edges: int = sum(edges.shape[1] for edges in self._edges)
        return edges / max(1, sum(self._counts))

    def batch(self, rows: Sequence[int]) -> MolecularGraph:
        """Some molecules as one graph.

        Args:
            rows: Indices into the set, in the order wanted.
        """
        chosen = self.molecules[torch.tensor(list(rows), dtype=torch.int64)]
        edges, atoms = [torch.empty(2, 0, dtype=torch.int64)], 0
        for row in rows:
            edges.append(self._edges[row] + atoms)
            atoms += self._counts[row]
        forces = chosen.forces_eV_per_angstrom
        return MolecularGraph(
            chosen.atomic_numbers,
            chosen.positions_angstrom.to(self.dtype),
            torch.cat(edges, 1),
            chosen.molecule_of_atom,
            chosen.energies_eV,
            None if forces is None else forces.to(self.dtype),
        )

    def batches(self, batch_size: int) -> Iterator[MolecularGraph]:
        """The whole set once, in its order; the last batch may be smaller."""
        for first in range(0, len(self), batch_size):
            yield self.batch(range(first, min(first + batch_size, len(self))))

    def stream(
        self, batch_size: int, *, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[MolecularGraph]:
        """Batches of steps start, start + 1, ..., without end.

        Every pass takes the set in a new order, drawn from the seed and the number of the pass;
        a batch that a pass cannot fill goes on with the next one, so every molecule is seen
        equally often. Process ``rank`` of ``world`` gets every world-th molecule of a batch.

        Raises:
            ConventionError: The set is empty.
        """
        if not len(self):
            raise ConventionError(
                expected="at least one molecule", got="none", argument="molecules",
                advice="Train on a set with molecules.",
            )  # fmt: skip
        size, step = len(self), start
        orders: dict[int, list[int]] = {}
        while True:
            places = range(step * batch_size + rank, (step + 1) * batch_size, world)
            rows = []
            for place in places:
                epoch, within = divmod(place, size)
                if epoch not in orders:
                    orders = {k: v for k, v in orders.items() if k >= epoch - 1}
                    orders[epoch] = self._order(epoch)
                rows.append(orders[epoch][within])
            yield self.batch(rows)
            step += 1

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed((self.seed << 20) + epoch)
        order: list[int] = torch.randperm(len(self), generator=generator).tolist()
        return order


def _edges(positions_angstrom: Tensor, cutoff_angstrom: float, name: str) -> Tensor:
    difference = positions_angstrom[:, None] - positions_angstrom[None, :]
    distance = difference.norm(dim=-1)
    distance.fill_diagonal_(float("inf"))
    if bool((distance < COINCIDENT_ANGSTROM).any()):
        i, j = (distance < COINCIDENT_ANGSTROM).nonzero()[0].tolist()
        raise DataFormatError(
            expected=f"atoms at least {COINCIDENT_ANGSTROM} Å apart",
            got=f"atoms {i} and {j} of {name} at the same place", argument="positions_angstrom",
            advice="Coincident atoms have no direction between them; remove the molecule.",
        )  # fmt: skip
    receiver, sender = (distance < cutoff_angstrom).nonzero().T
    return torch.stack([sender, receiver])
