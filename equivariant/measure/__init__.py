"""Measuring: equivariance errors, retrieval by the action, probes, collapse."""

from equivariant.measure.attribution import Attribution, attribute
from equivariant.measure.collapse import Collapse, collapse
from equivariant.measure.discovery import Symmetries, discover_symmetries
from equivariant.measure.error import (
    EquivarianceReport,
    PairError,
    equivariance_error,
    pair_error,
)
from equivariant.measure.fitted import FittedAction, LinearFit, fit_action, fit_representation
from equivariant.measure.hutchinson import LayerEstimate, hutchinson
from equivariant.measure.law import GroupLawError, group_law_error
from equivariant.measure.local import LocalPart, LocalReport, local_equivariance_error
from equivariant.measure.online import online_probe
from equivariant.measure.orbits import OrbitDistance, canonicalization_residual, orbit_distance
from equivariant.measure.probes import (
    Features,
    PairTarget,
    ProbeConfig,
    RotationProbe,
    color_probe,
    linear_probe,
    rotation_probe,
)
from equivariant.measure.retrieval import (
    PredictionError,
    Retrieval,
    prediction_retrieval_error,
    retrieval,
)
from equivariant.measure.scores import (
    ClassificationScore,
    RegressionScore,
    classification_score,
    quaternion_angle_deg,
    regression_score,
)
from equivariant.measure.substitution import substituted
from equivariant.measure.weights import WeightDefect, weight_defect
from equivariant.measure.worst import WorstCase, worst_case

__all__ = [
    "Attribution",
    "ClassificationScore",
    "Collapse",
    "EquivarianceReport",
    "Features",
    "FittedAction",
    "GroupLawError",
    "LayerEstimate",
    "LinearFit",
    "LocalPart",
    "LocalReport",
    "OrbitDistance",
    "PairError",
    "PairTarget",
    "PredictionError",
    "ProbeConfig",
    "RegressionScore",
    "Retrieval",
    "RotationProbe",
    "Symmetries",
    "WeightDefect",
    "WorstCase",
    "attribute",
    "canonicalization_residual",
    "classification_score",
    "collapse",
    "color_probe",
    "discover_symmetries",
    "equivariance_error",
    "fit_action",
    "fit_representation",
    "group_law_error",
    "hutchinson",
    "linear_probe",
    "local_equivariance_error",
    "online_probe",
    "orbit_distance",
    "pair_error",
    "prediction_retrieval_error",
    "quaternion_angle_deg",
    "regression_score",
    "retrieval",
    "rotation_probe",
    "substituted",
    "weight_defect",
    "worst_case",
]
