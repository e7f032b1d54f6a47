"""Invented motions of a person, on a skeleton with the names of CMU's bones."""

from __future__ import annotations

import pytest
import torch

from datasets3d import RecordedMotion, Skeleton
from equivariant.groups import SO3

TREE = {
    "root": ("", (0.0, 0.0, 0.0)),
    **{
        f"{s}{bone}": (f"{s}{parent}" if parent != "root" else parent, (sign * x, y, z))
        for s, sign in (("l", 1.0), ("r", -1.0))
        for bone, parent, (x, y, z) in (
            ("hipjoint", "root", (0.1, -0.1, 0.03)), ("femur", "hipjoint", (0.14, -0.4, 0.0)),
            ("tibia", "femur", (0.14, -0.41, 0.0)), ("foot", "tibia", (0.01, -0.03, 0.12)),
            ("toes", "foot", (0.0, 0.0, 0.06)),
        )
    },
    "lowerback": ("root", (0.0, 0.11, 0.0)), "upperback": ("lowerback", (0.0, 0.12, 0.0)),
    "thorax": ("upperback", (0.0, 0.12, 0.0)), "lowerneck": ("thorax", (0.0, 0.1, 0.01)),
    "upperneck": ("lowerneck", (0.0, 0.1, 0.0)), "head": ("upperneck", (0.0, 0.1, 0.0)),
    **{
        f"{s}{bone}": (f"{s}{parent}" if parent != "thorax" else parent, (sign * x, y, z))
        for s, sign in (("l", 1.0), ("r", -1.0))
        for bone, parent, (x, y, z) in (
            ("clavicle", "thorax", (0.19, 0.06, -0.02)), ("humerus", "clavicle", (0.28, 0.0, 0.0)),
            ("radius", "humerus", (0.2, 0.0, 0.0)), ("wrist", "radius", (0.1, 0.0, 0.0)),
            ("hand", "wrist", (0.04, 0.0, 0.0)), ("fingers", "hand", (0.03, 0.0, 0.0)),
            ("thumb", "wrist", (0.03, 0.0, 0.03)),
        )
    },
}  # fmt: skip


def invented(seed, frames):
    """Every bone turned at random, by about half a radian."""
    generator = torch.Generator().manual_seed(seed)
    skeleton = Skeleton.of_bones(TREE)
    angles = 0.5 * torch.randn(frames, len(TREE), 3, generator=generator, dtype=torch.float64)
    root = torch.randn(frames, 3, generator=generator, dtype=torch.float64)
    return RecordedMotion(skeleton, skeleton.compose(SO3().exp(angles)), root)


@pytest.fixture(scope="session")
def motions():
    return {name: invented(k, 30 + k) for k, name in enumerate(("a_1", "a_2", "b_1", "b_2"))}
