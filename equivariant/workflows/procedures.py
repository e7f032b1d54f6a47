"""What papers on losses propose beside a loss: heads, selection, teachers, graphs, stages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Procedure:
    """A procedure of the catalogue.

    Args:
        names: Public names that make it up, from ``room``.
        room: Where they are imported from.
        purpose: What it is for, one sentence.
        source: Where it comes from.
    """

    names: tuple[str, ...]
    room: str
    purpose: str
    source: str


_NN, _LOSSES, _TRAINING, _MEASURE = (
    f"equivariant.{room}" for room in ("nn", "losses", "training", "measure")
)

PROCEDURES: tuple[Procedure, ...] = (
    Procedure(
        ("GaussianClassifier", "choose_weight", "ensembled"), _NN,
        "A classifier in closed form, beside zero-shot logits.",
        "Wang et al. 2024 (GDA)",
    ),
    Procedure(
        ("FixedReweighting",), _NN,
        "A projection head without weights.",
        "After Xue et al. 2024; definition ours",
    ),
    Procedure(
        ("prune", "farthest_first", "information_distance", "hash_distance"), _MEASURE,
        "Leaves redundant views out of a training set.",
        "Less is More 2024",
    ),
    Procedure(
        ("select_diverse", "contrastive_choice"), _MEASURE,
        "Chooses by confidence and unlikeness to what is chosen.",
        "Su, Xu 2023 (contrastive search)",
    ),
    Procedure(
        ("shapley_interaction",), _MEASURE,
        "What two parts are worth together, exact or sampled.",
        "Li et al. 2023 (G2L)",
    ),
    Procedure(
        ("DistillationLearner",), _TRAINING,
        "A student learns from a frozen teacher or its own average, rows weighed by difficulty.",
        "DCD 2023; HARD 2023",
    ),
    Procedure(
        ("AveragedTeacherLearner",), _TRAINING,
        "Predicts what an average of the network says of the other view.",
        "Grill et al. 2020 (BYOL)",
    ),
    Procedure(
        ("NoisyHeadLearner", "EmbeddingNoise"), _TRAINING,
        "A head learned from one modality, used on another.",
        "Gu et al. 2023 (CLOSE)",
    ),
    Procedure(
        ("HarmonizedLearner", "conflict", "harmonized"), _TRAINING,
        "Projects conflicting gradients, and finds examples whose losses disagree.",
        "Wu et al. 2022",
    ),
    Procedure(
        ("NodeContrastLearner",), _TRAINING,
        "Contrasts the nodes of a mesh or of a graph of neighbours on drawn views.",
        "Zhu et al. 2020 (GRACE)",
    ),
    Procedure(
        ("certified_margin", "certified_margin_loss", "margin_directions"), _NN,
        "A margin of nodes that holds whichever edges are left out.",
        "Yu et al. 2023 (POT)",
    ),
    Procedure(
        ("communities", "community_drop_probabilities", "community_mask_probabilities"), _NN,
        "Views of a graph that spare strong communities.",
        "Chen et al. 2023 (CSGCL)",
    ),
    Procedure(
        ("MetaPath", "MetaPathEncoder", "mesh_relations"), _NN,
        "What paths over nodes of other kinds join, and what they pass.",
        "Yu et al. 2023 (MEOW)",
    ),
    Procedure(
        ("EpisodeLearner",), _TRAINING,
        "Looks at all data anew at the start of each episode, and learns from what it found.",
        "Chen et al. 2023 (ProtoCLIP)",
    ),
    Procedure(
        ("BagOfWordsLearner",), _TRAINING,
        "Names the words that an average of the network sees, over a vocabulary that is a queue.",
        "Gidaris et al. 2021 (OBoW)",
    ),
    Procedure(
        ("fit_stages", "StagedModel", "composed", "RowStream"), _TRAINING,
        "One model after the other, each contrasting what those before find alike.",
        "Zhang et al. 2024 (MCL)",
    ),
    Procedure(
        ("MessageEncoder", "MessageLayer", "CrossAttention"), _NN,
        "Tokens of several views exchange one message each; prompts read what is seen.",
        "Ni et al. 2022 (X-CLIP)",
    ),
    Procedure(
        ("ProductionSystem",), _NN,
        "A few rules, each of which changes one slot as another one asks.",
        "Goyal et al. 2021 (neural production systems)",
    ),
    Procedure(
        ("corresponding_crops",), _LOSSES,
        "Crops of one region in different objects, which are positives.",
        "Jiang et al. 2023 (Alice)",
    ),
    Procedure(
        ("AlternatingLearner",), _TRAINING,
        "A model and its augmenter in turns, first-order or through one step of the model.",
        "Qin et al. 2023 (MCLRec); HARD 2023; Zheng et al. 2024 (AutoTCL)",
    ),
    Procedure(
        ("GroupAugmenter", "MaskAndScale"), _NN,
        "Augmentations that are trained: elements of a group; masks and scales over times.",
        "HARD 2023; Zheng et al. 2024 (AutoTCL)",
    ),
    Procedure(
        ("triviality", "kernel_discrepancy", "share_low_frequencies"), _LOSSES,
        "What trained views are held by; the light of one picture for a batch.",
        "Qin et al. 2023 (MCLRec); Zheng et al. 2024 (AutoTCL); BSS 2024",
    ),
)  # fmt: skip
