"""Measuring: equivariance errors and their causes, symmetries, retrieval, probes, collapse."""

from equivariant.measure.attribution import Attribution, attribute
from equivariant.measure.causes import Finding
from equivariant.measure.caveats import Caveat, Concern
from equivariant.measure.collapse import Collapse, collapse
from equivariant.measure.declared import Declared, declared
from equivariant.measure.diagnosis import Diagnosis, Verdict, diagnose
from equivariant.measure.discovery import Symmetries, discover_symmetries
from equivariant.measure.equivariance_report import Comparison, Curve, EquivarianceReport
from equivariant.measure.error import equivariance_error
from equivariant.measure.fitted import FittedAction, LinearFit, fit_action, fit_representation
from equivariant.measure.floor import Floor, PrecisionSplit, numerical_floor, split_precision
from equivariant.measure.graph_motion import GraphMotion
from equivariant.measure.hutchinson import LayerEstimate, hutchinson
from equivariant.measure.law import GroupLawError, group_law_error
from equivariant.measure.local import LocalPart, LocalReport, local_equivariance_error
from equivariant.measure.metrics import METRICS, Metric
from equivariant.measure.motion import FunctionMotion, Motion, TreeMotion
from equivariant.measure.online import online_probe
from equivariant.measure.orbits import OrbitDistance, canonicalization_residual, orbit_distance
from equivariant.measure.pair_error import PairError, pair_error
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
from equivariant.measure.statistics import Estimate, estimate_mean, holm
from equivariant.measure.substitution import substituted
from equivariant.measure.weights import WeightDefect, weight_defect
from equivariant.measure.worst import WorstCase, worst_case

__all__ = [
    "METRICS",
    "Attribution",
    "Caveat",
    "ClassificationScore",
    "Collapse",
    "Comparison",
    "Concern",
    "Curve",
    "Declared",
    "Diagnosis",
    "EquivarianceReport",
    "Estimate",
    "Features",
    "Finding",
    "FittedAction",
    "Floor",
    "FunctionMotion",
    "GraphMotion",
    "GroupLawError",
    "LayerEstimate",
    "LinearFit",
    "LocalPart",
    "LocalReport",
    "Metric",
    "Motion",
    "OrbitDistance",
    "PairError",
    "PairTarget",
    "PrecisionSplit",
    "PredictionError",
    "ProbeConfig",
    "RegressionScore",
    "Retrieval",
    "RotationProbe",
    "Symmetries",
    "TreeMotion",
    "Verdict",
    "WeightDefect",
    "WorstCase",
    "attribute",
    "canonicalization_residual",
    "classification_score",
    "collapse",
    "color_probe",
    "declared",
    "diagnose",
    "discover_symmetries",
    "equivariance_error",
    "estimate_mean",
    "fit_action",
    "fit_representation",
    "group_law_error",
    "holm",
    "hutchinson",
    "linear_probe",
    "local_equivariance_error",
    "numerical_floor",
    "online_probe",
    "orbit_distance",
    "pair_error",
    "prediction_retrieval_error",
    "quaternion_angle_deg",
    "regression_score",
    "retrieval",
    "rotation_probe",
    "split_precision",
    "substituted",
    "weight_defect",
    "worst_case",
]
