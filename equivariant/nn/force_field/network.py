"""A compact force field: energies of molecules by message passing, forces as their gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from equivariant.errors import ConventionError, ShapeError
from equivariant.nn.derived_buffers import DerivedBuffers
from equivariant.nn.force_field.calibration import Calibration
from equivariant.nn.force_field.clebsch_gordan_products import ClebschGordanProducts
from equivariant.nn.force_field.gaunt_products import GauntProducts
from equivariant.nn.force_field.layer import LinearReadout, MessageLayer, NetworkReadout
from equivariant.nn.force_field.products import Products
from equivariant.nn.force_field.radial_basis import RadialBasis
from equivariant.nn.force_field.start import bound_features, random_clusters
from equivariant.shapes import Float

ProductName = Literal["gaunt", "gaunt_full", "clebsch_gordan", "clebsch_gordan_natural"]


@dataclass(frozen=True)
class ForceFieldConfig:
    """A force field's network.

    Args:
        product: How features are coupled. "gaunt": products of functions on the sphere, with
            features of natural parity. "gaunt_full": with brackets and both parities as well.
            "clebsch_gordan": every path with weights of its own, both parities.
            "clebsch_gordan_natural": the same with natural parity only, the couplings of "gaunt".
        channels: Copies of each irrep.
        lmax: Highest degree of harmonics, messages and features.
        layers: Of message passing.
        cutoff_angstrom: Atoms farther apart do not exchange messages.
        correlation: Highest power of a node's messages: 1 two-body, 2 three-body, 3 four-body
            terms within a layer.
        radial_size: Bessel functions of the distance.
        radial_hidden: Hidden widths of the network that makes radial weights from them.
    """

    product: ProductName = "gaunt"
    channels: int = 16
    lmax: int = 2
    layers: int = 2
    cutoff_angstrom: float = 5.0
    correlation: int = 2
    radial_size: int = 8
    radial_hidden: tuple[int, ...] = (32, 32)

    def __post_init__(self) -> None:
        names = ("channels", "layers", "correlation", "radial_size")
        wrong = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name) < 1]
        if wrong or self.lmax < 0 or not self.cutoff_angstrom > 0:
            raise ConventionError(
                expected=f"{', '.join(names)} of at least 1, lmax of at least 0, a positive cutoff",
                got=", ".join(wrong) or f"lmax={self.lmax}, cutoff={self.cutoff_angstrom}",
                argument="config", advice="See the documentation of ForceFieldConfig.",
            )  # fmt: skip
        if self.product not in _PRODUCTS:
            raise ConventionError(
                expected=" or ".join(_PRODUCTS), got=repr(self.product), argument="product",
                advice="See the documentation of ForceFieldConfig.",
            )  # fmt: skip

    def build(self, calibration: Calibration) -> ForceField:
        """The network, with fresh weights from the global generator.

        Args:
            calibration: Elements, their energies, and scales.
        """
        return ForceField(self, calibration)


class ForceField(DerivedBuffers):
    """Energies of molecules and the forces on their atoms.

        E = Σ_i (E0_element(i) + scale Σ_t readout_t(h_i^t)),    F = −∂E/∂positions

    With ``trained_atoms`` the correction scale/10 · s_element is added to E0, with s learned; in
    its own parameter it follows energies even where the loss is mostly about forces.

    Energies are invariant under rotations, reflections, translations and permutations of like
    atoms, and forces move with the atoms, by construction. Every term ends smoothly at the
    cutoff. An atom without neighbors has exactly the energy E0. In training mode forces can be
    differentiated again. E0 is summed in float64 whatever the weights are: in float32 a total
    energy of thousands of eV would have steps of about 1 meV.

    Args:
        config: Network.
        calibration: Elements, their energies, and scales.

    Example:
        >>> field = ForceFieldConfig("clebsch_gordan", channels=2, lmax=1).build(
        ...     Calibration((1, 8), (-13.6, -2041.0))
        ... ).eval()
        >>> lone = {
        ...     "atomic_numbers": torch.tensor([8]), "positions_angstrom": torch.zeros(1, 3),
        ...     "edge_index": torch.empty(2, 0, dtype=torch.int64),
        ...     "graph_index": torch.tensor([0]),
        ... }
        >>> field(lone)["energies_eV"].tolist()
        [-2041.0]

    Source: the arrangement is that of Batatia et al. 2022, arXiv 2206.07697; products of
    functions on the sphere in it are those of Luo et al. 2024, arXiv 2401.10216.
    """

    def __init__(self, config: ForceFieldConfig, calibration: Calibration) -> None:
        super().__init__()
        _check_device()
        self.config, self.calibration = config, calibration
        products = _PRODUCTS[config.product]
        count, scalars = len(calibration.atomic_numbers), Irreps(f"{config.channels}x0e")
        self.embedding = nn.Parameter(torch.randn(count, config.channels))
        self.shift = nn.Parameter(torch.zeros(count)) if calibration.trained_atoms else None
        self.basis = RadialBasis(config.radial_size, cutoff_angstrom=config.cutoff_angstrom)
        self.layers, self.readouts = nn.ModuleList(), nn.ModuleList()
        irreps = scalars
        for index in range(config.layers):
            last = index == config.layers - 1
            irreps_out = scalars if last else products.irreps(config.channels, config.lmax)
            layer = MessageLayer(
                products, irreps, irreps_out, lmax=config.lmax, radial_size=config.radial_size,
                radial_hidden=config.radial_hidden, correlation=config.correlation, elements=count,
                mean_neighbors=calibration.mean_neighbors, residual=index > 0,
            )  # fmt: skip
            self.layers.append(layer)
            self.readouts.append(
                NetworkReadout(config.channels) if last else LinearReadout(irreps_out)
            )
            irreps = irreps_out
        rows = torch.full((max(calibration.atomic_numbers) + 1,), -1, device="cpu")
        rows[list(calibration.atomic_numbers)] = torch.arange(count, device="cpu")
        self.element_of_number: Tensor
        self.derive("element_of_number", rows)
        clusters = random_clusters(count, config.cutoff_angstrom, self.embedding)
        layers = [layer for layer in self.layers if isinstance(layer, MessageLayer)]
        bound_features(layers, self.embedding, self.basis, clusters)

    def forward(self, graph: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Energies and forces of a batch of molecules.

        Args:
            graph: ``atomic_numbers`` (atoms,) int64, ``positions_angstrom`` (atoms, 3),
                ``edge_index`` (2, edges) int64, sender first, all pairs within the cutoff both
                ways round, and ``graph_index`` (atoms,) int64; other entries are not looked at.

        Returns:
            ``energies_eV`` (molecules,) float64; ``interaction_energies_eV`` (molecules,), what
            of them depends on positions, and ``forces_eV_per_angstrom`` (atoms, 3), in the dtype
            of the positions; ``graph_index`` as it came.

        Raises:
            ShapeError: An entry is missing or of the wrong shape.
            ConventionError: An element is unknown, two neighbors are at the same place, or the
                positions are of another dtype than the weights.
        """
        _check_graph(graph)
        self._check_dtype(graph["positions_angstrom"].dtype)
        # Forces need autograd inside of torch.inference_mode too.
        with torch.inference_mode(False), torch.enable_grad():
            return self._evaluated({key: _recordable(graph[key]) for key in _KEYS})

    def _evaluated(self, graph: Mapping[str, Tensor]) -> dict[str, Tensor]:
        numbers, index = graph["atomic_numbers"], graph["graph_index"]
        element = self._element(numbers)
        molecules = int(index.max()) + 1 if len(index) else 0
        positions = graph["positions_angstrom"]
        if not positions.requires_grad:
            positions = positions.detach().requires_grad_()
        atoms = self._atom_energies(element, positions, graph["edge_index"])
        interaction = atoms.new_zeros(molecules).index_add(0, index, atoms)
        (gradient,) = torch.autograd.grad(
            interaction.sum() + 0 * positions.sum(),  # also where there is no edge
            positions,
            create_graph=self.training,
        )
        e0 = torch.tensor(
            self.calibration.atom_energies_eV, dtype=torch.float64, device=numbers.device
        )
        isolated = e0.new_zeros(molecules).index_add(0, index, e0[element])
        if not self.training:
            interaction = interaction.detach()
        return {
            "energies_eV": isolated + interaction.double(),
            "interaction_energies_eV": interaction,
            "forces_eV_per_angstrom": -gradient,
            "graph_index": index,
        }

    def _atom_energies(
        self, element: Tensor, positions: Float[Tensor, "atoms 3"], edge_index: Tensor
    ) -> Float[Tensor, " atoms"]:
        sender, receiver = edge_index
        vectors = positions[sender] - positions[receiver]
        squares = vectors.square().sum(-1)
        if bool((squares == 0).any()):
            i, j = edge_index[:, squares == 0][:, 0].tolist()
            raise ConventionError(
                expected="neighbors at different places", got=f"atoms {i} and {j} at the same one",
                argument="positions_angstrom", advice="There is no direction between them.",
            )  # fmt: skip
        basis = self.basis(squares.sqrt())
        h = self.embedding[element]
        energies = positions.new_zeros(len(positions))
        if self.shift is not None:
            energies = energies + 0.1 * self.shift[element]
        for layer, readout in zip(self.layers, self.readouts, strict=True):
            h = layer(h, element, edge_vectors=vectors, edge_index=edge_index, radial_basis=basis)
            energies = energies + readout(h)
        return self.calibration.scale_eV * energies

    def _check_dtype(self, given: torch.dtype) -> None:
        if self.embedding.is_inference():
            raise ConventionError(
                expected="weights that autograd can follow", got="weights of an inference tensor",
                argument="model",
                advice="Build or load the model outside of torch.inference_mode; calls may be "
                "inside.",
            )  # fmt: skip
        own = self.embedding.dtype
        if given != own:
            raise ConventionError(
                expected=f"positions in {own}, the dtype of the weights", got=str(given),
                argument="positions_angstrom",
                advice="Convert the model, model.double(), for more digits in forces, or the "
                "positions.",
            )  # fmt: skip

    def _element(self, numbers: Tensor) -> Tensor:
        known = numbers.clamp(0, len(self.element_of_number) - 1)
        element: Tensor = self.element_of_number[known]
        unknown = (element < 0) | (known != numbers)
        if bool(unknown.any()):
            raise ConventionError(
                expected=f"elements {self.calibration.atomic_numbers}",
                got=str(sorted(set(numbers[unknown].tolist()))), argument="atomic_numbers",
                advice="Train on a set that holds them.",
            )  # fmt: skip
        return element


def _check_device() -> None:
    if torch.empty(0).is_meta:
        raise ConventionError(
            expected="a device with memory", got="the meta device as default", argument="device",
            advice="Build the force field on the CPU and move it: its start is scaled on a "
            "sample of atoms, and e3nn measures its activations. Products and convolutions can "
            "be built on meta.",
        )  # fmt: skip


_KEYS = ("atomic_numbers", "positions_angstrom", "edge_index", "graph_index")


def _recordable(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one from ``torch.inference_mode``, which autograd cannot save."""
    return tensor.clone() if tensor.is_inference() else tensor


def _check_graph(graph: Mapping[str, Tensor]) -> None:
    missing = [key for key in _KEYS if key not in graph]
    wrong = []
    if not missing:
        atoms = len(graph["atomic_numbers"])
        edges = graph["edge_index"].shape[-1]
        shapes = dict(zip(_KEYS, ((atoms,), (atoms, 3), (2, edges), (atoms,)), strict=True))
        wrong = [f"{k} {tuple(graph[k].shape)}" for k in _KEYS if graph[k].shape != shapes[k]]
    if missing or wrong:
        raise ShapeError(
            expected="atomic_numbers (atoms,), positions_angstrom (atoms, 3), edge_index "
            "(2, edges), graph_index (atoms,)",
            got=", ".join(wrong) or f"no {', '.join(missing)}", argument="graph",
            advice="datasets3d.MoleculeGraphs makes such graphs.",
        )  # fmt: skip


_PRODUCTS: dict[str, Products] = {
    "gaunt": GauntProducts("even"),
    "gaunt_full": GauntProducts("full"),
    "clebsch_gordan": ClebschGordanProducts(pseudo=True),
    "clebsch_gordan_natural": ClebschGordanProducts(pseudo=False),
}
