"""Terms of a loss that pull a model towards symmetries, and what they find out about it."""

from equivariant.regularizers.chain_bound import chain_bound
from equivariant.regularizers.feature_tap import FeatureTap
from equivariant.regularizers.graded_maps import GradedMaps, Softened, soften
from equivariant.regularizers.layer_relaxation import LayerRelaxation
from equivariant.regularizers.levels import Level, Levels
from equivariant.regularizers.penalties import Penalty
from equivariant.regularizers.soft_equivariance import SoftEquivariance, discovered_levels
from equivariant.regularizers.strengths import (
    Fixed,
    OneShot,
    PrimalDual,
    Smooth,
    Strengths,
    ValidationDriven,
)

__all__ = [
    "FeatureTap",
    "Fixed",
    "GradedMaps",
    "LayerRelaxation",
    "Level",
    "Levels",
    "OneShot",
    "Penalty",
    "PrimalDual",
    "Smooth",
    "SoftEquivariance",
    "Softened",
    "Strengths",
    "ValidationDriven",
    "chain_bound",
    "discovered_levels",
    "soften",
]
