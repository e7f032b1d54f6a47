"""Measuring: equivariance errors, retrieval by the action, probes, collapse."""

from equivariant.measure.collapse import Collapse, collapse
from equivariant.measure.declared import Declared, declared
from equivariant.measure.diagnosis import Diagnosis, Finding, Verdict, diagnose
from equivariant.measure.equivariance_report import Comparison, Curve, EquivarianceReport
from equivariant.measure.error import equivariance_error
from equivariant.measure.floor import Floor, PrecisionSplit, numerical_floor, split_precision
from equivariant.measure.metrics import METRICS, Metric
from equivariant.measure.motion import FunctionMotion, GraphMotion, Motion, TreeMotion
from equivariant.measure.online import online_probe
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

__all__ = [
    "METRICS",
    "ClassificationScore",
    "Collapse",
    "Comparison",
    "Curve",
    "Declared",
    "Diagnosis",
    "EquivarianceReport",
    "Estimate",
    "Features",
    "Finding",
    "Floor",
    "FunctionMotion",
    "GraphMotion",
    "Metric",
    "Motion",
    "PairError",
    "PairTarget",
    "PrecisionSplit",
    "PredictionError",
    "ProbeConfig",
    "RegressionScore",
    "Retrieval",
    "RotationProbe",
    "TreeMotion",
    "Verdict",
    "classification_score",
    "collapse",
    "color_probe",
    "declared",
    "diagnose",
    "equivariance_error",
    "estimate_mean",
    "holm",
    "linear_probe",
    "numerical_floor",
    "online_probe",
    "pair_error",
    "prediction_retrieval_error",
    "quaternion_angle_deg",
    "regression_score",
    "retrieval",
    "rotation_probe",
    "split_precision",
]
