"""Bodies of capsules in the poses of recorded motions."""

from datasets3d.bodies.body import HUMAN, Body, BodyPart
from datasets3d.bodies.body_clouds import body_clouds
from datasets3d.bodies.capsules import capsule, inside_capsule
from datasets3d.bodies.splits import CMU_ACTIONS, split_frames
from datasets3d.bodies.subjects import BONE_GROUPS, synthetic_subjects

__all__ = [
    "BONE_GROUPS",
    "CMU_ACTIONS",
    "HUMAN",
    "Body",
    "BodyPart",
    "body_clouds",
    "capsule",
    "inside_capsule",
    "split_frames",
    "synthetic_subjects",
]
