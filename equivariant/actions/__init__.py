"""Actions of groups on vectors: the one object that losses and measurements share."""

from equivariant.actions.base import Action, DirectSum, Factor
from equivariant.actions.cartesian import CartesianTensors
from equivariant.actions.declaration import Declaration, Declares
from equivariant.actions.equivariant_maps import EquivariantMaps, equivariant_basis
from equivariant.actions.fields import Fields
from equivariant.actions.irreducible_coordinates import (
    IrreducibleCoordinates,
    IrreducibleType,
    SpectralMaps,
)
from equivariant.actions.irreps import IrrepsAction
from equivariant.actions.permute import Permute, PermutePairs
from equivariant.actions.piecewise import Piecewise
from equivariant.actions.points import Points, Vectors
from equivariant.actions.tensors import Dual, TensorProduct, Tensors, uniform_tensors
from equivariant.actions.trivial import Trivial
from equivariant.actions.warps.image_warp import ImageWarp
from equivariant.actions.warps.volume_warp import VolumeWarp
from equivariant.actions.warps.warp import Warp
from equivariant.harmonics.wigner import wigner_d

__all__ = [
    "Action",
    "CartesianTensors",
    "Declaration",
    "Declares",
    "DirectSum",
    "Dual",
    "EquivariantMaps",
    "Factor",
    "Fields",
    "ImageWarp",
    "IrreducibleCoordinates",
    "IrreducibleType",
    "IrrepsAction",
    "Permute",
    "PermutePairs",
    "Piecewise",
    "Points",
    "SpectralMaps",
    "TensorProduct",
    "Tensors",
    "Trivial",
    "Vectors",
    "VolumeWarp",
    "Warp",
    "equivariant_basis",
    "uniform_tensors",
    "wigner_d",
]
