"""Networks equivariant to the motions of parts: partitions, layers on cells, and their error."""

from equivariant.nn.apen.partition import Partition
from equivariant.nn.apen.piecewise_layer import PiecewiseLayer
from equivariant.nn.apen.seeds import (
    close_islands,
    farthest_point_partition,
    voronoi_partition,
)

__all__ = [
    "Partition",
    "PiecewiseLayer",
    "close_islands",
    "farthest_point_partition",
    "voronoi_partition",
]
