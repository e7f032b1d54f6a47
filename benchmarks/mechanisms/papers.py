"""The 53 papers that the package goes back to: what was asked of each, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student

CONFIDENCE = 0.95
HEAD = (
    "",
    "paper",
    "built as",
    "experiment",
    "planted",
    "control",
    "seeds",
    "number",
    "gain where planted",
    "gain in the control",
    "verdict",
)
MISSING = "**no experiment**"
Record = dict[str, Any]


@dataclass(frozen=True)
class Paper:
    """One row of the list.

    Args:
        number: Its place.
        name: The paper, by the name of its method where it has one.
        built: Presets, or public names, that it is built as here.
        experiments: Names among the experiments; none is said in the table.
        elsewhere: Heading or title in the results where a core system is measured.
    """

    number: int
    name: str
    built: tuple[str, ...]
    experiments: tuple[str, ...] = ()
    elsewhere: str = ""


PAPERS: tuple[Paper, ...] = (
    Paper(
        1, "SIE", ("sie", "equivariant_nce", "SplitModel", "Hypernetwork"),
        ("predicted", "canonical"), "What the demo shows, over five seeds",
    ),
    Paper(2, "Hydra (SimLAP)", ("hydra",), ("gated_subspaces",)),
    Paper(3, "SupReMix", ("supremix", "anchor_exclusive_rotations"), ("label_distance", "kernel")),
    Paper(4, "CDvG (Fighting Fire with Fire)", ("nt_xent",), ("other_bias",)),
    Paper(5, "GenView", ("genview",), ("foreground",)),
    Paper(6, "SepCLR", ("sepclr",), ("salient",)),
    Paper(
        7, "Understanding the Behaviour of Contrastive Loss",
        ("hard_contrastive", "hardness", "uniformity", "tolerance"), ("hard_negatives",),
    ),
    Paper(8, "CACR", ("cacr",), ("far_positives",)),
    Paper(9, "Soft equivariance (PER)", ("soften", "SoftEquivariance"), (), "Soft equivariance"),
    Paper(10, "EBV", ("ebv", "equiangular_basis"), ("fixed_classes",)),
    Paper(11, "SwAV", ("swav", "sinkhorn"), ("balanced_codes",)),
    Paper(12, "MCLRec", ("AlternatingLearner", "triviality"), ("learned_positives",)),
    Paper(
        13, "Gradient harmonization", ("HarmonizedLearner", "conflict", "harmonized"),
        ("mismatched",),
    ),
    Paper(14, "WhitenedCSE", ("sgw", "shuffled_whitenings"), ("whitened_groups",)),
    Paper(15, "Hallucinator", ("hallucinator", "Hallucinator"), ("hallucinated",)),
    Paper(16, "GroCo", ("groco", "group_ordering"), ("ordered_groups",)),
    Paper(17, "AMCL", ("amcl",), ("kinds_of_views",)),
    Paper(
        18, "CLIP-rocket", ("barlip", "clip", "simsiam", "swav"),
        ("rocket_improved", "rocket_barlip", "rocket_siamlip", "rocket_swalip"),
    ),
    Paper(19, "CustomContrast", ("nt_xent", "clip"), ("subjects_at_scales",)),
    Paper(20, "ConVIRT", ("convirt",), ("described_clouds",)),
    Paper(21, "MoCHi", ("mochi", "HardMixtures"), ("mixed_hardest",)),
    Paper(22, "X-CLIP (video)", ("MessageEncoder", "CrossAttention"), ("messages_of_views",)),
    Paper(23, "Less is More", ("prune", "farthest_first"), ("redundant_views",)),
    Paper(24, "DCD", ("DistillationLearner", "difficulty"), ("hard_examples",)),
    Paper(
        25, "Feature transformation", ("feature_transformation", "score_histogram"),
        ("moved_features",),
    ),
    Paper(26, "MCL (Learning the Unlearned)", ("fit_stages", "composed"), ("stages_of_learning",)),
    Paper(27, "APEN", ("APENSegmenter", "PiecewiseLayer"), (), "Networks on parts"),
    Paper(
        28, "Supervised contrast for varieties of speech", ("supcon_out", "supcon_in", "triplet"),
        (
            "varieties_pretraining_supcon_out", "varieties_term_supcon_out",
            "varieties_pretraining_supcon_in", "varieties_term_supcon_in",
            "varieties_pretraining_triplet", "varieties_term_triplet",
        ),
    ),
    Paper(29, "DCL", ("dcl", "dclw"), ("decoupled",)),
    Paper(30, "Neural Production Systems", ("ProductionSystem",), ("rules_of_bodies",)),
    Paper(
        31, "Benefits of a projection head", ("FixedReweighting",), ("suppressed_features",),
    ),
    Paper(32, "Symile", ("symile", "symile_all"), ("symile",)),
    Paper(33, "OBoW", ("obow", "BagOfWordsLearner"), ("online_words",)),
    Paper(
        34, "ProtoCLIP", ("protoclip_pbt", "protoclip", "EpisodeLearner"),
        ("prototypes", "episodes_of_clusters"),
    ),
    Paper(35, "PixPro", ("pixpro",), ("points_of_views",)),
    Paper(36, "GDA", ("GaussianClassifier", "ensembled"), ("few_shot",)),
    Paper(37, "POT", ("certified_margin", "certified_margin_loss"), ("certified_nodes",)),
    Paper(38, "CWCL", ("cwcl",), ("soft_targets",)),
    Paper(
        39, "HARD", ("GroupAugmenter", "AlternatingLearner", "DistillationLearner"),
        ("taught_equivariance", "learned_turns"),
    ),
    Paper(
        40, "Lie group decompositions", ("LieNetwork", "GroupConv"), (),
        "Lie group decompositions",
    ),
    Paper(
        41, "CSGCL", ("csgcl", "community_drop_probabilities", "community_mask_probabilities"),
        ("communities_of_nodes",),
    ),
    Paper(42, "BSS", ("share_low_frequencies",), ("shared_light",)),
    Paper(43, "AutoTCL", ("MaskAndScale", "kernel_discrepancy"), ("learned_masks",)),
    Paper(44, "G2L", ("geodesic_distance", "shapley_interaction"), ("geodesic",)),
    Paper(45, "CLOSE", ("NoisyHeadLearner", "EmbeddingNoise"), ("noisy_head",)),
    Paper(
        46, "Gaunt tensor product", ("GauntTensorProduct", "GauntConvolution"), (),
        "Products on the sphere beside e3nn",
    ),
    Paper(47, "Contrastive gap", ("contrastive_gap", "modality_gap"), ("gap",)),
    Paper(
        48, "Contrastive search", ("contrastive_choice", "select_diverse", "simctg"),
        ("diverse_views",),
    ),
    Paper(
        49, "iSogCLR, TempNet", ("isogclr", "tempnet"),
        ("long_tail_isogclr", "long_tail_tempnet"),
    ),
    Paper(50, "LOOK", ("look",), ("look",)),
    Paper(51, "MEOW", ("meow", "MetaPathEncoder"), ("cluster_weights", "faces_of_nodes")),
    Paper(52, "Alice", ("corresponding_crops", "dino"), ("regions_of_objects",)),
    Paper(53, "CLAPS", ("claps", "hard_negative", "hard_positive"), ("perturbed_targets",)),
)  # fmt: skip


def papers_table(records: dict[str, Record], first_trials: dict[str, Record]) -> str:
    """A row for every trial of every paper, and what they come to.

    Args:
        records: Name to record, as written to JSON.
        first_trials: The same for experiments whose design was changed.
    """
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for paper in PAPERS:
        found = [
            cells for name in paper.experiments for cells in _trials(name, records, first_trials)
        ]
        if paper.elsewhere:
            found.append([f"*{paper.elsewhere}*, on this page", *[""] * 6, "see there"])
        for cells in found or [[MISSING, *["–"] * 6, "not measured"]]:
            built = ", ".join(f"`{name}`" for name in paper.built)
            lines.append("| " + " | ".join([str(paper.number), paper.name, built, *cells]) + " |")
    return "\n".join([*lines, "", summary(records)])


def summary(records: dict[str, Record]) -> str:
    """How many rows have which verdict, in one paragraph.

    A row with several experiments counts by its best.

    Args:
        records: Name to record, as written to JSON.
    """
    order = ("helps", "control violated", "no gain")
    best, elsewhere, missing = Counter[str](), [], []
    for paper in PAPERS:
        verdicts = [records[name]["verdict"] for name in paper.experiments if name in records]
        if verdicts:
            best[min(verdicts, key=order.index)] += 1
        else:
            (elsewhere if paper.elsewhere else missing).append(str(paper.number))
    counts = ", ".join(f"{best[verdict]} {verdict}" for verdict in order)
    return (
        f"Of {len(PAPERS)} rows {sum(best.values())} have an experiment; by the last trial of the "
        f"best of a row's experiments: {counts}. {len(elsewhere)} are core systems, measured in "
        f"tables of their own ({', '.join(elsewhere)}). {len(missing)} have no experiment"
        + (
            f" ({', '.join(missing)}): their formulas are tested, their use is not."
            if missing
            else "."
        )
    )


def _trials(
    name: str, records: dict[str, Record], first_trials: dict[str, Record]
) -> list[list[str]]:
    """Cells of the last trial and, where there were two, of the first."""
    if name not in records:
        return [[f"`{name}`", *["–"] * 6, "not measured"]]
    if name not in first_trials:
        return [_cells(name, records[name])]
    return [
        _cells(f"{name}, second trial", records[name]),
        _cells(f"{name}, first trial", first_trials[name]),
    ]


def _cells(name: str, record: Record) -> list[str]:
    arrow = "↑" if record["higher_is_better"] else "↓"
    word, _, trial = name.partition(",")
    planted, control = (
        _interval(record["conditions"][condition]["difference"], len(record["seeds"]))
        for condition in ("planted", "control")
    )
    return [
        f"`{word}`{',' if trial else ''}{trial}: {record['title']}",
        record["planted"],
        record["control"],
        str(len(record["seeds"])),
        f"{record['metric']} {arrow}",
        planted,
        control,
        record["verdict"],
    ]


def _interval(difference: Record, seeds: int) -> str:
    """Mean and, from two seeds on, Student's interval of the paired gains."""
    mean, error = difference["mean"], difference["standard_error"]
    if seeds < 2:
        return f"{mean:.3f}"
    half = float(student.ppf((1 + CONFIDENCE) / 2, seeds - 1)) * error
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"
