"""Networks on representations of any matrix group: exact, free, or between."""

from equivariant.nn.emlp.linear import DeclaredLinear, EquivariantLinear, ResidualLinear
from equivariant.nn.emlp.network import PlainNetwork, TensorFrameAverage, TensorNetwork
from equivariant.nn.emlp.tensor_blocks import TensorBilinear, TensorGate

__all__ = [
    "DeclaredLinear",
    "EquivariantLinear",
    "PlainNetwork",
    "ResidualLinear",
    "TensorBilinear",
    "TensorFrameAverage",
    "TensorGate",
    "TensorNetwork",
]
