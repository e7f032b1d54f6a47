"""Networks equivariant to the motions of parts: partitions, layers on cells, and their error."""

from equivariant.nn.apen.calibration import Calibration
from equivariant.nn.apen.encoder import APENConfig, APENEncoder, Encoding
from equivariant.nn.apen.error_bound import (
    ErrorBound,
    affected_points,
    delta,
    refinement_failure,
)
from equivariant.nn.apen.fixed_point import FixedPointSegmenter
from equivariant.nn.apen.layer_loss import layer_loss
from equivariant.nn.apen.mixture import Mixture, MixtureEnergy
from equivariant.nn.apen.mixture_partition import Coarsening, MixturePartition
from equivariant.nn.apen.network import APENClassifier, APENSegmenter, Prediction
from equivariant.nn.apen.partition import Partition
from equivariant.nn.apen.piecewise_layer import PiecewiseLayer
from equivariant.nn.apen.seeds import (
    close_islands,
    farthest_point_partition,
    voronoi_partition,
)

__all__ = [
    "APENClassifier",
    "APENConfig",
    "APENEncoder",
    "APENSegmenter",
    "Calibration",
    "Coarsening",
    "Encoding",
    "ErrorBound",
    "FixedPointSegmenter",
    "Mixture",
    "MixtureEnergy",
    "MixturePartition",
    "Partition",
    "PiecewiseLayer",
    "Prediction",
    "affected_points",
    "close_islands",
    "delta",
    "farthest_point_partition",
    "layer_loss",
    "refinement_failure",
    "voronoi_partition",
]
