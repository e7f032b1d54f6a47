"""A bounded start: fresh weights of a force field are scaled down where powers would run away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from equivariant.nn.force_field.layer import MessageLayer
from equivariant.nn.force_field.radial_basis import RadialBasis
from equivariant.shapes import Float

LARGEST_FEATURE = 4.0

_ATOMS = 20  # of a cluster
_DENSITIES = (0.05, 0.2)  # atoms per Å³; organic matter has about 0.1
_CLOSEST_ANGSTROM = 0.74  # the bond of H₂, the shortest there is


class Probe(NamedTuple):
    """What fresh layers are tried on: atoms, and pairs of them within the cutoff.

    ``element`` (atoms,) int64, ``edge_vectors`` (edges, 3) in Å from receiver to sender,
    ``edge_index`` (2, edges) int64.
    """

    element: Tensor
    edge_vectors: Tensor
    edge_index: Tensor


def random_clusters(elements: int, cutoff_angstrom: float, like: Tensor) -> Probe:
    """Clusters of 20 atoms, thin and dense, of each element and of all; the same in every call.

    Args:
        elements: Number of elements.
        cutoff_angstrom: Largest distance of a pair.
        like: For dtype and device.

    Returns:
        The clusters as one set of atoms.
    """
    generator = torch.Generator(device="cpu").manual_seed(0)
    kinds = [torch.full((_ATOMS,), n, device="cpu") for n in range(elements)]
    kinds.append(torch.randint(elements, (_ATOMS,), generator=generator, device="cpu"))
    atoms: list[Tensor] = []
    vectors: list[Tensor] = []
    edges: list[Tensor] = []
    for density in _DENSITIES:
        for kind in kinds:
            positions = _cluster(density, generator)
            near = (torch.cdist(positions, positions) < cutoff_angstrom).fill_diagonal_(False)
            index = near.nonzero().T
            edges.append(index + _ATOMS * len(atoms))
            vectors.append(positions[index[0]] - positions[index[1]])
            atoms.append(kind)
    element, edge_index = torch.cat(atoms), torch.cat(edges, 1)
    return Probe(element.to(like.device), torch.cat(vectors).to(like), edge_index.to(like.device))


def _cluster(density: float, generator: torch.Generator) -> Tensor:
    """Positions in a ball, drawn one by one, none too close to one before, shape (20, 3)."""
    radius = (3 * _ATOMS / (4 * torch.pi * density)) ** (1 / 3)
    positions: list[Tensor] = []
    while len(positions) < _ATOMS:
        drawn = radius * (2 * torch.rand(3, generator=generator, device="cpu") - 1)
        apart = min((float((p - drawn).norm()) for p in positions), default=radius)
        if drawn.norm() <= radius and apart >= _CLOSEST_ANGSTROM:
            positions.append(drawn)
    return torch.stack(positions)


@torch.no_grad()
def bound_features(
    layers: Iterable[MessageLayer],
    features: Float[Tensor, "elements scalars"],
    basis: RadialBasis,
    probe: Probe,
) -> None:
    """Scale the weights of every layer so that its features are at most 4 in size.

    Features are polynomials of degree ``correlation`` in the features before: with three layers
    and correlation 3, one that is 30 times too large in the first makes the last 30⁹ times
    too large, and a random draw of weights has such features every few seeds. Layer by layer,
    weights that enter the result linearly are divided by what the largest feature exceeds 4 by;
    draws within the bound stay as they are.

    Args:
        layers: In their order; changed in place.
        features: Of each element before the first layer.
        basis: Functions of distance.
        probe: Atoms on which the bound is to hold.
    """
    radial_basis = basis(probe.edge_vectors.norm(dim=1))
    h = features[probe.element]
    for layer in layers:
        after = layer(
            h, probe.element, edge_vectors=probe.edge_vectors, edge_index=probe.edge_index,
            radial_basis=radial_basis,
        )  # fmt: skip
        excess = float(after.abs().max()) / LARGEST_FEATURE if len(after) else 0.0
        if excess > 1:
            layer.divide(excess)
            after = after / excess
        h = after
