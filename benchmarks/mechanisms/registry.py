"""All experiments by name."""

from __future__ import annotations

from benchmarks.mechanisms import (
    canonical,
    cluster_weights,
    collapse,
    decoupled,
    diverse_views,
    few_shot,
    foreground,
    gap,
    geodesic,
    hard_negatives,
    inner_sum,
    kernel,
    label_distance,
    look,
    mismatched,
    noisy_head,
    predicted,
    prototypes,
    redundant_views,
    rocket,
    salient,
    soft_targets,
    supervised,
    symile,
    taught_equivariance,
    varieties,
)
from benchmarks.mechanisms.augmenters import (
    learned_masks,
    learned_positives,
    learned_turns,
    other_bias,
    shared_light,
)
from benchmarks.mechanisms.correspondences import (
    balanced_codes,
    described_clouds,
    gated_subspaces,
    hallucinated,
    ordered_groups,
    points_of_views,
)
from benchmarks.mechanisms.experiment import Experiment
from benchmarks.mechanisms.graphs import certified_nodes, communities_of_nodes, faces_of_nodes
from benchmarks.mechanisms.negatives import (
    far_positives,
    long_tail,
    mixed_hardest,
    moved_features,
    perturbed_targets,
)
from benchmarks.mechanisms.spaces import (
    fixed_classes,
    hard_examples,
    kinds_of_views,
    suppressed_features,
    whitened_groups,
)
from benchmarks.mechanisms.stages import (
    episodes_of_clusters,
    online_words,
    stages_of_learning,
)
from benchmarks.mechanisms.tokens import (
    messages_of_views,
    regions_of_objects,
    rules_of_bodies,
    subjects_at_scales,
)

MODULES = (
    decoupled,
    predicted,
    canonical,
    soft_targets,
    kernel,
    label_distance,
    look,
    inner_sum,
    supervised,
    cluster_weights,
    geodesic,
    foreground,
    hard_negatives,
    prototypes,
    symile,
    salient,
    gap,
    few_shot,
    redundant_views,
    diverse_views,
    noisy_head,
    taught_equivariance,
    mismatched,
    certified_nodes,
    communities_of_nodes,
    faces_of_nodes,
    stages_of_learning,
    episodes_of_clusters,
    online_words,
    messages_of_views,
    rules_of_bodies,
    regions_of_objects,
    subjects_at_scales,
    learned_turns,
    learned_positives,
    learned_masks,
    other_bias,
    shared_light,
    fixed_classes,
    whitened_groups,
    kinds_of_views,
    hard_examples,
    suppressed_features,
    far_positives,
    mixed_hardest,
    moved_features,
    perturbed_targets,
    gated_subspaces,
    balanced_codes,
    hallucinated,
    ordered_groups,
    described_clouds,
    points_of_views,
)
EXPERIMENTS: dict[str, Experiment] = {
    made.name: made
    for made in (
        *collapse.experiments(),
        *(module.experiment() for module in MODULES),
        *rocket.experiments(),
        *varieties.experiments(),
        *long_tail.experiments(),
    )
}
