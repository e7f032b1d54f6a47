"""Measuring: equivariance errors and their causes, symmetries, retrieval, probes, collapse."""

from equivariant.measure.actions.fitted import (
    FittedAction,
    LinearFit,
    fit_action,
    fit_representation,
)
from equivariant.measure.actions.group_law import GroupLawError, group_law_error
from equivariant.measure.actions.pair_error import PairError, pair_error
from equivariant.measure.diagnosis.causes import Finding
from equivariant.measure.diagnosis.diagnosis import Diagnosis, Verdict, diagnose
from equivariant.measure.error.caveats import Caveat, Concern
from equivariant.measure.error.equivariance_error import equivariance_error
from equivariant.measure.error.floor import Floor, PrecisionSplit, numerical_floor, split_precision
from equivariant.measure.error.metrics import METRICS, Metric
from equivariant.measure.error.orbits import (
    OrbitDistance,
    canonicalization_residual,
    orbit_distance,
)
from equivariant.measure.error.report import Comparison, Curve, EquivarianceReport
from equivariant.measure.error.statistics import Estimate, estimate_mean, holm
from equivariant.measure.error.worst_case import WorstCase, worst_case
from equivariant.measure.layers.attribution import Attribution, attribute
from equivariant.measure.layers.hutchinson import LayerEstimate, hutchinson
from equivariant.measure.layers.substitution import substituted
from equivariant.measure.layers.weight_defect import WeightDefect, weight_defect
from equivariant.measure.local.local_error import LocalPart, LocalReport, local_equivariance_error
from equivariant.measure.local.symmetries import Symmetries, discover_symmetries
from equivariant.measure.motions.declared import Declared, declared
from equivariant.measure.motions.graph_motion import GraphMotion
from equivariant.measure.motions.motion import FunctionMotion, Motion, TreeMotion
from equivariant.measure.representations.collapse import Collapse, collapse
from equivariant.measure.representations.online_probe import online_probe
from equivariant.measure.representations.probes import (
    Features,
    PairTarget,
    ProbeConfig,
    RotationProbe,
    color_probe,
    linear_probe,
    rotation_probe,
)
from equivariant.measure.representations.retrieval import (
    PredictionError,
    Retrieval,
    prediction_retrieval_error,
    retrieval,
)
from equivariant.measure.representations.scores import (
    ClassificationScore,
    Proportion,
    RegressionScore,
    classification_score,
    estimate_proportion,
    quaternion_angle_deg,
    regression_score,
)
from equivariant.measure.selection.diverse import contrastive_choice, select_diverse
from equivariant.measure.selection.redundancy import (
    cosine_distance,
    farthest_first,
    hash_distance,
    information_distance,
    prune,
)
from equivariant.measure.selection.shapley import shapley_interaction
from equivariant.measure.symmetrized.irrep_spectrum import (
    IrrepSpectrum,
    irrep_spectra,
    irrep_spectrum,
)
from equivariant.measure.symmetrized.loss_share import LossShare, symmetry_loss_share

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
    "IrrepSpectrum",
    "LayerEstimate",
    "LinearFit",
    "LocalPart",
    "LocalReport",
    "LossShare",
    "Metric",
    "Motion",
    "OrbitDistance",
    "PairError",
    "PairTarget",
    "PrecisionSplit",
    "PredictionError",
    "ProbeConfig",
    "Proportion",
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
    "contrastive_choice",
    "cosine_distance",
    "declared",
    "diagnose",
    "discover_symmetries",
    "equivariance_error",
    "estimate_mean",
    "estimate_proportion",
    "farthest_first",
    "fit_action",
    "fit_representation",
    "group_law_error",
    "hash_distance",
    "holm",
    "hutchinson",
    "information_distance",
    "irrep_spectra",
    "irrep_spectrum",
    "linear_probe",
    "local_equivariance_error",
    "numerical_floor",
    "online_probe",
    "orbit_distance",
    "pair_error",
    "prediction_retrieval_error",
    "prune",
    "quaternion_angle_deg",
    "regression_score",
    "retrieval",
    "rotation_probe",
    "select_diverse",
    "shapley_interaction",
    "split_precision",
    "substituted",
    "symmetry_loss_share",
    "weight_defect",
    "worst_case",
]
