"""One core for invariant and equivariant objectives; papers are settings of it."""

from equivariant.losses.affinities import (
    Agreement,
    Kernel,
    Near,
    Nearest,
    Separations,
    Soft,
)
from equivariant.losses.bank import (
    Bank,
    BankRows,
)
from equivariant.losses.bases import (
    EquiangularBasis,
    equiangular_basis,
    welch_bound,
)
from equivariant.losses.centroids import (
    Centroids,
    back_translated_centroids,
    centroids,
    density_temperatures,
)
from equivariant.losses.collect import (
    collect,
)
from equivariant.losses.contrast import (
    Contrast,
    contrast,
    contrast_both,
)
from equivariant.losses.diagnostics import (
    HardnessProfile,
    Isotropy,
    ModalityGap,
    ScoreHistogram,
    hardness,
    isotropy,
    modality_gap,
    score_histogram,
    tolerance,
)
from equivariant.losses.distances import (
    absolute_difference,
    angle_difference,
    geodesic_distance,
)
from equivariant.losses.inverse_roots import (
    inverse_root,
    newton_root,
)
from equivariant.losses.mixing_labels import (
    LabelMixtures,
    anchor_exclusive,
    anchor_exclusive_rotations,
    anchor_inclusive,
    nearest_on_geodesic,
    slerp,
)
from equivariant.losses.objective import (
    Loss,
    Objective,
    ObjectiveValue,
)
from equivariant.losses.own import (
    Own,
    attracting,
    repelling,
)
from equivariant.losses.pairs import (
    NoPositives,
    Pairs,
    Same,
)
from equivariant.losses.perturbation import (
    Perturbed,
    hard_negative,
    hard_positive,
)
from equivariant.losses.plan import (
    BothWaysTerm,
    ContrastTerm,
    FunctionTerm,
    Step,
    Term,
)
from equivariant.losses.presets import (
    PRESETS,
    Preset,
    preset,
)
from equivariant.losses.sides import (
    Side,
)
from equivariant.losses.similarity import (
    Canonical,
    Cosine,
    Dot,
    Gated,
    NegativeSquaredAngle,
    NegativeSquaredDistance,
    Similarity,
    Sum,
    product,
)
from equivariant.losses.sorting import (
    Sorted,
    group_ordering,
    in_order,
    soft_sort,
)
from equivariant.losses.statistics import (
    Boltzmann,
    Hardest,
    Hinge,
    PairHinge,
    PairSigmoid,
)
from equivariant.losses.synthesis import (
    ExtrapolatedPairs,
    Hallucinator,
    HardMixtures,
    InterpolatedNegatives,
    extrapolate_positives,
    interpolate_negatives,
    mochi,
)
from equivariant.losses.targets import (
    Centre,
    centred_softmax,
    hard_targets,
    sinkhorn,
)
from equivariant.losses.temperature import (
    Fixed,
    Learned,
    PerAnchor,
    PerCandidate,
    PerPair,
    Scheduled,
    Temperature,
)
from equivariant.losses.terms import (
    alignment,
    covariance,
    cross_correlation,
    cross_uniformity,
    mean_squared_difference,
    uniformity,
    variance,
)
from equivariant.losses.whitening import (
    Whitening,
    shuffled_whitenings,
    w_mse,
    whiten,
)
from equivariant.losses.words import (
    BagOfWords,
    bag_of_words,
)

__all__ = [
    "PRESETS",
    "Agreement",
    "BagOfWords",
    "Bank",
    "BankRows",
    "Boltzmann",
    "BothWaysTerm",
    "Canonical",
    "Centre",
    "Centroids",
    "Contrast",
    "ContrastTerm",
    "Cosine",
    "Dot",
    "EquiangularBasis",
    "ExtrapolatedPairs",
    "Fixed",
    "FunctionTerm",
    "Gated",
    "Hallucinator",
    "HardMixtures",
    "Hardest",
    "HardnessProfile",
    "Hinge",
    "InterpolatedNegatives",
    "Isotropy",
    "Kernel",
    "LabelMixtures",
    "Learned",
    "Loss",
    "ModalityGap",
    "Near",
    "Nearest",
    "NegativeSquaredAngle",
    "NegativeSquaredDistance",
    "NoPositives",
    "Objective",
    "ObjectiveValue",
    "Own",
    "PairHinge",
    "PairSigmoid",
    "Pairs",
    "PerAnchor",
    "PerCandidate",
    "PerPair",
    "Perturbed",
    "Preset",
    "Same",
    "Scheduled",
    "ScoreHistogram",
    "Separations",
    "Side",
    "Similarity",
    "Soft",
    "Sorted",
    "Step",
    "Sum",
    "Temperature",
    "Term",
    "Whitening",
    "absolute_difference",
    "alignment",
    "anchor_exclusive",
    "anchor_exclusive_rotations",
    "anchor_inclusive",
    "angle_difference",
    "attracting",
    "back_translated_centroids",
    "bag_of_words",
    "centred_softmax",
    "centroids",
    "collect",
    "contrast",
    "contrast_both",
    "covariance",
    "cross_correlation",
    "cross_uniformity",
    "density_temperatures",
    "equiangular_basis",
    "extrapolate_positives",
    "geodesic_distance",
    "group_ordering",
    "hard_negative",
    "hard_positive",
    "hard_targets",
    "hardness",
    "in_order",
    "interpolate_negatives",
    "inverse_root",
    "isotropy",
    "mean_squared_difference",
    "mochi",
    "modality_gap",
    "nearest_on_geodesic",
    "newton_root",
    "preset",
    "product",
    "repelling",
    "score_histogram",
    "shuffled_whitenings",
    "sinkhorn",
    "slerp",
    "soft_sort",
    "tolerance",
    "uniformity",
    "variance",
    "w_mse",
    "welch_bound",
    "whiten",
]
