"""Group convolutions over samples of a linear group, for images and clouds of points.

Samples carry the weights of Haar measure, and travel with the field that lives on them.
"""

from equivariant.nn.lie.coordinates import LieCoordinates
from equivariant.nn.lie.dense_convolution import DenseGroupConv
from equivariant.nn.lie.fields import CloudPlaces, LieField, PlaneGrid
from equivariant.nn.lie.group_convolution import GroupConv
from equivariant.nn.lie.kernels import KernelNetwork, PlaceKernel
from equivariant.nn.lie.lifting import LiftConv
from equivariant.nn.lie.network import LieNetwork, LieNetworkConfig
from equivariant.nn.lie.pooling import GroupPool, ProjectConv, VectorPool
from equivariant.nn.lie.samples import LieSamples, RelativeSamples
from equivariant.nn.lie.sampling import sampler_by_name

__all__ = [
    "CloudPlaces",
    "DenseGroupConv",
    "GroupConv",
    "GroupPool",
    "KernelNetwork",
    "LieCoordinates",
    "LieField",
    "LieNetwork",
    "LieNetworkConfig",
    "LieSamples",
    "LiftConv",
    "PlaceKernel",
    "PlaneGrid",
    "ProjectConv",
    "RelativeSamples",
    "VectorPool",
    "sampler_by_name",
]
