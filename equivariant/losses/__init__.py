"""One core for invariant and equivariant objectives; papers are settings of it."""

from equivariant.losses.augmenter_terms import kernel_discrepancy, triviality
from equivariant.losses.columns.inverse_roots import (
    inverse_root,
    newton_root,
)
from equivariant.losses.columns.terms import (
    alignment,
    covariance,
    cross_correlation,
    cross_uniformity,
    mean_squared_difference,
    uniformity,
    variance,
)
from equivariant.losses.columns.whitening import (
    Whitening,
    shuffled_whitenings,
    w_mse,
    whiten,
)
from equivariant.losses.contrast.affinities import (
    Agreement,
    Kernel,
    Labels,
    Near,
    Nearest,
    Separations,
    Soft,
)
from equivariant.losses.contrast.anchor_candidates import (
    Own,
    attracting,
    repelling,
)
from equivariant.losses.contrast.bank import (
    Bank,
    BankRows,
)
from equivariant.losses.contrast.core import (
    Contrast,
    contrast,
    contrast_both,
)
from equivariant.losses.contrast.margins import (
    Circle,
    PairMargin,
)
from equivariant.losses.contrast.pairs import (
    NoPositives,
    Pairs,
    Same,
)
from equivariant.losses.contrast.sides import (
    Side,
)
from equivariant.losses.contrast.similarity import (
    Canonical,
    Cosine,
    Dot,
    Gated,
    NegativeDistance,
    NegativeSquaredAngle,
    NegativeSquaredDistance,
    Similarity,
    Sum,
    product,
)
from equivariant.losses.contrast.statistics import (
    Boltzmann,
    Hardest,
    Hinge,
    PairHinge,
    PairSigmoid,
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
from equivariant.losses.distillation import difficulty, embedding_distance, similarity_divergence
from equivariant.losses.objective.objective import (
    Loss,
    Objective,
    ObjectiveValue,
)
from equivariant.losses.objective.plan import (
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
from equivariant.losses.presets.weights import community_strength
from equivariant.losses.prototypes.bag_of_words import (
    BagOfWords,
    bag_of_words,
)
from equivariant.losses.prototypes.centroids import (
    Centroids,
    back_translated_centroids,
    centroids,
    density_temperatures,
)
from equivariant.losses.prototypes.class_vectors import (
    EquiangularBasis,
    equiangular_basis,
    welch_bound,
)
from equivariant.losses.prototypes.k_means import k_means
from equivariant.losses.prototypes.targets import (
    Centre,
    centred_softmax,
    hard_targets,
    sinkhorn,
)
from equivariant.losses.sorting import (
    Sorted,
    group_ordering,
    in_order,
    soft_sort,
)
from equivariant.losses.synthesis.corresponding_crops import corresponding_crops
from equivariant.losses.synthesis.feature_mixtures import (
    ExtrapolatedPairs,
    Hallucinator,
    HardMixtures,
    InterpolatedNegatives,
    extrapolate_positives,
    interpolate_negatives,
    mochi,
)
from equivariant.losses.synthesis.label_distances import (
    absolute_difference,
    angle_difference,
    geodesic_distance,
)
from equivariant.losses.synthesis.label_mixtures import (
    LabelMixtures,
    anchor_exclusive,
    anchor_exclusive_rotations,
    anchor_inclusive,
    nearest_on_geodesic,
    slerp,
)
from equivariant.losses.synthesis.low_frequencies import share_low_frequencies
from equivariant.losses.synthesis.perturbation import (
    Perturbed,
    hard_negative,
    hard_positive,
)
from equivariant.losses.temperatures.temperature import (
    Fixed,
    Learned,
    PerAnchor,
    PerCandidate,
    PerPair,
    Scheduled,
    Temperature,
)
from equivariant.processes import (
    collect,
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
    "Circle",
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
    "Labels",
    "Learned",
    "Loss",
    "ModalityGap",
    "Near",
    "Nearest",
    "NegativeDistance",
    "NegativeSquaredAngle",
    "NegativeSquaredDistance",
    "NoPositives",
    "Objective",
    "ObjectiveValue",
    "Own",
    "PairHinge",
    "PairMargin",
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
    "community_strength",
    "contrast",
    "contrast_both",
    "corresponding_crops",
    "covariance",
    "cross_correlation",
    "cross_uniformity",
    "density_temperatures",
    "difficulty",
    "embedding_distance",
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
    "k_means",
    "kernel_discrepancy",
    "mean_squared_difference",
    "mochi",
    "modality_gap",
    "nearest_on_geodesic",
    "newton_root",
    "preset",
    "product",
    "repelling",
    "score_histogram",
    "share_low_frequencies",
    "shuffled_whitenings",
    "similarity_divergence",
    "sinkhorn",
    "slerp",
    "soft_sort",
    "tolerance",
    "triviality",
    "uniformity",
    "variance",
    "w_mse",
    "welch_bound",
    "whiten",
]
