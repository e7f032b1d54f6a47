"""Synthetic subjects: bones of other proportions, and thicker or thinner parts."""

from __future__ import annotations

import math
from collections.abc import Mapping

from datasets3d.bodies.body import HUMAN, Body
from datasets3d.motion.skeleton import Skeleton
from datasets3d.views.latents import generator
from equivariant.errors import ConventionError

BONE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "hips": ("lhipjoint", "rhipjoint"),
    "thighs": ("lfemur", "rfemur"),
    "shins": ("ltibia", "rtibia"),
    "feet": ("lfoot", "ltoes", "rfoot", "rtoes"),
    "trunk": ("lowerback", "upperback", "thorax"),
    "neck and head": ("lowerneck", "upperneck", "head"),
    "shoulders": ("lclavicle", "rclavicle"),
    "upper arms": ("lhumerus", "rhumerus"),
    "forearms": tuple(
        f"{side}{bone}" for side in "lr" for bone in ("radius", "wrist", "hand", "fingers", "thumb")
    ),
}
"""Bones that grow together, of CMU's skeleton: left and right alike."""


def synthetic_subjects(
    skeleton: Skeleton,
    *,
    count: int = 10,
    spread: float = 0.2,
    girth_spread: float = 0.0,
    equally_tall: bool = True,
    seed: int = 0,
) -> list[Body]:
    """Bodies of different proportions on one skeleton's bones.

    The length of each of nine groups of bones is multiplied by exp(s u), u uniform in [-1, 1] and
    s = ``spread``; the radii of all parts by exp(w u) with w = ``girth_spread``. With
    ``equally_tall`` all lengths are then multiplied by one number, so that thigh, shin, trunk,
    neck and head together are as long as in the original: proportions tell subjects apart, size
    does not.

    Args:
        skeleton: The original, with the names of CMU's bones.
        count: Subjects, at least 1. Subject k depends on (seed, k) and the skeleton alone.
        spread: At least 0.
        girth_spread: At least 0; radii are equal by default, so that bones alone differ.
        equally_tall: Whether to undo differences of height.
        seed: At least 0.

    Returns:
        The bodies, of fourteen parts each.

    Raises:
        ConventionError: A number is out of its range, or the skeleton lacks a bone.
    """
    if count < 1 or seed < 0 or not 0.0 <= spread <= 1.0 or not 0.0 <= girth_spread <= 1.0:
        raise ConventionError(
            expected="a count of at least 1, spreads in [0, 1] and a seed of at least 0",
            got=f"count {count}, spread {spread}, girth_spread {girth_spread}, seed {seed}",
            argument="count", advice="The defaults make ten subjects.",
        )  # fmt: skip
    bodies = []
    for k in range(count):
        u = 2.0 * generator(seed, "subject", k).random(len(BONE_GROUPS) + 1) - 1.0
        factors = {
            bone: math.exp(spread * float(value))
            for value, bones in zip(u, BONE_GROUPS.values(), strict=False)
            for bone in bones
        }
        changed = skeleton.scaled(factors)
        if equally_tall:
            share = stature(skeleton) / stature(changed)
            changed = skeleton.scaled({bone: f * share for bone, f in factors.items()})
        girth = math.exp(girth_spread * float(u[-1]))
        bodies.append(Body(changed, girths=dict.fromkeys(HUMAN, girth)))
    return bodies


def stature(skeleton: Skeleton) -> float:
    """Length of the left thigh and shin, trunk, neck and head, metres."""
    names = (*BONE_GROUPS["trunk"], *BONE_GROUPS["neck and head"], "lfemur", "ltibia")
    return float(sum(skeleton.lengths_m[skeleton.index(name)] for name in names))
